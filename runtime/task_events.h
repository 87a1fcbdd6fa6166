#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/channel.h"
#include "runtime/task_api.h"

namespace pepita::runtime {

/// What happened to a container, or to a process that was exec'ed into it (Create, Start, Exit and
/// Delete). For one process in this order, each at most once: Create, Start, Exit, Delete.
struct TaskEvent {
    enum class Kind : std::uint8_t { Create, Start, Oom, Exit, Delete, Paused, Resumed };
    Kind kind = Kind::Create;
    ProcessId process;
    TaskState task;  // as far as the kind tells of it
};

/// The event as containerd wants it told: its topic, and the payload of a ForwardRequest.
struct ForwardedEvent {
    std::string topic;
    std::string payload;
};
/// `time_ns`: when it happened, since 1970.
ForwardedEvent forwarded(const TaskEvent& event, const std::string& name_space,
                         std::int64_t time_ns);

/// Tells containerd of events, one after the other, over its ttrpc socket. What cannot be told in
/// kAttemptsMax attempts is dropped, and the log says so. Thread: that of the loop.
class EventPublisher {
public:
    static constexpr int kAttemptsMax = 5;
    static constexpr std::size_t kWaitingMax = 1024;

    struct Options {
        std::string address;  // of a unix socket; "": nobody is told
        std::string name_space;
    };
    EventPublisher(EventLoop& loop, Options options) : loop_(loop), options_(std::move(options)) {}
    EventPublisher(const EventPublisher&) = delete;
    EventPublisher& operator=(const EventPublisher&) = delete;
    EventPublisher(EventPublisher&&) = delete;
    EventPublisher& operator=(EventPublisher&&) = delete;
    ~EventPublisher();

    void publish(const TaskEvent& event);
    /// Whether all is told that will be.
    bool is_idle() const { return waiting_.empty(); }

private:
    void send_next();
    Result<void> connect();
    void on_answer(Result<std::string> answer);

    EventLoop& loop_;
    Options options_;
    std::deque<ForwardedEvent> waiting_;  // the first is being told
    int attempts_ = 0;                    // of the first
    std::shared_ptr<Channel> channel_;
    EventLoop::Timer pause_;
};

}  // namespace pepita::runtime
