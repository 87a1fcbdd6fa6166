#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {

using Deadline = std::optional<std::chrono::milliseconds>;

/// A conversation with a shim, one question at a time. The loop turns while an answer is awaited,
/// so signals and all else on it are served meanwhile.
class ShimLink {
public:
    static Result<std::unique_ptr<ShimLink>> create(EventLoop& loop, Fd socket);

    TaskClient& client() { return client_; }
    bool is_closed() const { return *is_closed_; }

    /// Calls `question(client, on_result)` and waits for the result.
    /// Errors: the shim's; DeadlineExceeded; Cancelled where interrupt() came.
    template <typename T, typename Question>
    Result<T> ask(Question question, Deadline deadline = std::nullopt) {
        // Shared: an answer may come after we have given up waiting for it.
        auto answer = std::make_shared<Answer<T>>();
        question(client_, OnResult<T>([answer](Result<T> result) {
                     answer->has_come = true;
                     answer->result = std::move(result);
                 }));
        TRY(run_until([&] { return answer->has_come; }, deadline));
        return std::move(answer->result);
    }

    /// The question in progress, or the next one, ends with Cancelled and this reason.
    void interrupt(std::string reason) { interrupted_ = std::move(reason); }

    /// Whether the shim has closed the connection, at the latest when `limit` is over.
    bool wait_closed(std::chrono::milliseconds limit);

private:
    template <typename T>
    struct Answer {
        bool has_come = false;
        Result<T> result = Error(Code::Unavailable, "no answer");
    };

    ShimLink(EventLoop& loop, std::shared_ptr<Channel> channel, std::shared_ptr<bool> is_closed);
    Result<void> run_until(std::move_only_function<bool()> is_done, Deadline deadline);

    EventLoop& loop_;
    std::shared_ptr<Channel> channel_;
    TaskClient client_;
    std::shared_ptr<bool> is_closed_;  // shared with the channel's callback
    std::optional<std::string> interrupted_;
};

}  // namespace pepita::runtime::cli
