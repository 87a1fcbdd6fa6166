#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/channel.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::cli {

/// A conversation with the daemon, one question at a time.
class Link {
public:
    /// Errors: Unavailable where no daemon answers at `socket`.
    static Result<Link> connect(const std::string& socket);

    /// Calls `question(client, on_result)` and waits for the result, however long it takes.
    template <typename T, typename Question>
    Result<T> ask(Question question) {
        // Shared: the channel may keep the callback for longer than this frame.
        auto answer = std::make_shared<Answer<T>>();
        question(client_, [answer](Result<T> result) {
            answer->has_come = true;
            answer->result = std::move(result);
        });
        while (!answer->has_come) {
            TRY(loop_->run_once(kRound));
        }
        return std::move(answer->result);
    }

    EventLoop& loop() { return *loop_; }

private:
    static constexpr std::chrono::hours kRound{
        1};  // an answer, or the connection's end, comes first

    template <typename T>
    struct Answer {
        bool has_come = false;
        Result<T> result = Error(Code::Unavailable, "no answer");
    };

    Link(std::unique_ptr<EventLoop> loop, std::shared_ptr<runtime::Channel> channel)
        : loop_(std::move(loop)), client_(std::move(channel)) {}

    std::unique_ptr<EventLoop> loop_;
    api::StorageClient client_;
};

}  // namespace pepita::storage::cli
