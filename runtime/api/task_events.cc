#include "runtime/task_events.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/api/events.pb.h"
#include "runtime/container.h"
#include "runtime/rpc/channel.h"
#include "runtime/task_api.h"

namespace pepita::runtime {
namespace {

namespace pb = ::pepita::events::v1;

constexpr std::string_view kService = "containerd.services.events.ttrpc.v1.Events";
constexpr std::chrono::seconds kDeadline{5};
constexpr std::chrono::milliseconds kPause{200};
constexpr std::int64_t kNanoseconds = 1'000'000'000;

void put_time(std::int64_t time_ns, pb::Timestamp& message) {
    message.set_seconds(time_ns / kNanoseconds);
    message.set_nanos(static_cast<std::int32_t>(time_ns % kNanoseconds));
}

struct Told {
    const char* topic;
    const char* type;
    std::string value;
};

Told create(const TaskEvent& event) {
    const ProcessId& id = event.process;
    if (!id.exec.empty()) {
        pb::TaskExecAdded message;
        message.set_container_id(id.container);
        message.set_exec_id(id.exec);
        return {.topic = "/tasks/exec-added",
                .type = "containerd.events.TaskExecAdded",
                .value = message.SerializeAsString()};
    }
    pb::TaskCreate message;
    message.set_container_id(id.container);
    message.set_bundle(event.task.bundle);
    message.mutable_io()->set_stdin(event.task.in);
    message.mutable_io()->set_stdout(event.task.out);
    message.mutable_io()->set_stderr(event.task.err);
    message.mutable_io()->set_terminal(event.task.terminal == Terminal::Yes);
    message.set_pid(event.task.pid);
    return {.topic = "/tasks/create",
            .type = "containerd.events.TaskCreate",
            .value = message.SerializeAsString()};
}

Told start(const TaskEvent& event) {
    const ProcessId& id = event.process;
    if (!id.exec.empty()) {
        pb::TaskExecStarted message;
        message.set_container_id(id.container);
        message.set_exec_id(id.exec);
        message.set_pid(event.task.pid);
        return {.topic = "/tasks/exec-started",
                .type = "containerd.events.TaskExecStarted",
                .value = message.SerializeAsString()};
    }
    pb::TaskStart message;
    message.set_container_id(id.container);
    message.set_pid(event.task.pid);
    return {.topic = "/tasks/start",
            .type = "containerd.events.TaskStart",
            .value = message.SerializeAsString()};
}

Told exit(const TaskEvent& event) {
    pb::TaskExit message;
    message.set_container_id(event.process.container);
    // The container's own process has its container's id.
    message.set_id(event.process.exec.empty() ? event.process.container : event.process.exec);
    message.set_pid(event.task.pid);
    message.set_exit_status(event.task.exit_status);
    put_time(event.task.exited_at_ns, *message.mutable_exited_at());
    return {.topic = "/tasks/exit",
            .type = "containerd.events.TaskExit",
            .value = message.SerializeAsString()};
}

Told remove(const TaskEvent& event) {
    pb::TaskDelete message;
    message.set_container_id(event.process.container);
    message.set_id(event.process.exec);
    message.set_pid(event.task.pid);
    message.set_exit_status(event.task.exit_status);
    put_time(event.task.exited_at_ns, *message.mutable_exited_at());
    return {.topic = "/tasks/delete",
            .type = "containerd.events.TaskDelete",
            .value = message.SerializeAsString()};
}

std::string container_of(const TaskEvent& event) {
    pb::TaskContainer message;
    message.set_container_id(event.process.container);
    return message.SerializeAsString();
}

Told told(const TaskEvent& event) {
    switch (event.kind) {
        case TaskEvent::Kind::Create:
            return create(event);
        case TaskEvent::Kind::Start:
            return start(event);
        case TaskEvent::Kind::Exit:
            return exit(event);
        case TaskEvent::Kind::Delete:
            return remove(event);
        case TaskEvent::Kind::Oom:
            return {.topic = "/tasks/oom",
                    .type = "containerd.events.TaskOOM",
                    .value = container_of(event)};
        case TaskEvent::Kind::Paused:
            return {.topic = "/tasks/paused",
                    .type = "containerd.events.TaskPaused",
                    .value = container_of(event)};
        case TaskEvent::Kind::Resumed:
            return {.topic = "/tasks/resumed",
                    .type = "containerd.events.TaskResumed",
                    .value = container_of(event)};
    }
    std::unreachable();
}

}  // namespace

ForwardedEvent forwarded(const TaskEvent& event, const std::string& name_space,
                         std::int64_t time_ns) {
    Told said = told(event);
    pb::ForwardRequest request;
    pb::Envelope& envelope = *request.mutable_envelope();
    put_time(time_ns, *envelope.mutable_timestamp());
    envelope.set_namespace_(name_space);
    envelope.set_topic(said.topic);
    envelope.mutable_event()->set_type_url(said.type);
    envelope.mutable_event()->set_value(std::move(said.value));
    return {.topic = said.topic, .payload = request.SerializeAsString()};
}

EventPublisher::~EventPublisher() {
    waiting_.clear();
    if (channel_) {
        channel_->close();
    }
}

void EventPublisher::publish(const TaskEvent& event) {
    if (options_.address.empty()) {
        return;
    }
    if (waiting_.size() == kWaitingMax) {
        log::warn("an event is dropped: too many wait", {{"container", event.process.container}});
        return;
    }
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    waiting_.push_back(
        forwarded(event, options_.name_space,
                  std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()));
    if (waiting_.size() == 1) {
        send_next();
    }
}

Result<void> EventPublisher::connect() {
    if (channel_) {
        return {};
    }
    constexpr std::string_view scheme = "unix://";
    std::string_view path = options_.address;
    if (path.starts_with(scheme)) {
        path.remove_prefix(scheme.size());
    }
    channel_ =
        TRY(Channel::create(loop_, TRY(connect_unix(path)), {.on_call = {}, .on_closed = {}}));
    return {};
}

void EventPublisher::send_next() {
    if (waiting_.empty()) {
        return;
    }
    ++attempts_;
    if (Result<void> connected = connect(); !connected) {
        return on_answer(std::move(connected).error());
    }
    channel_->call(kService, "Forward", waiting_.front().payload,
                   {.deadline = kDeadline, .fds = {}},
                   [this](Result<std::string> answer) { on_answer(std::move(answer)); });
}

void EventPublisher::on_answer(Result<std::string> answer) {
    if (waiting_.empty()) {
        return;  // it goes
    }
    const bool is_given_up = attempts_ == kAttemptsMax;
    if (!answer && is_given_up) {
        log::warn("an event is dropped",
                  {{"topic", waiting_.front().topic}, {"error", answer.error().message()}});
    }
    if (!answer && channel_) {
        // Not in its own call.
        loop_.post([gone = std::exchange(channel_, nullptr)] { gone->close(); });
    }
    if (answer || is_given_up) {
        waiting_.pop_front();
        attempts_ = 0;
    }
    pause_ = loop_.after(answer ? std::chrono::milliseconds(0) : kPause, [this] { send_next(); });
}

}  // namespace pepita::runtime
