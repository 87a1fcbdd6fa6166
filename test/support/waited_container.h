#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"

namespace pepita::test {

/// The result that `ask` gives to its callback; runs the loop until it is there.
template <typename T, typename Ask>
Result<T> wait_for(EventLoop& loop, Ask ask) {
    auto got = std::make_shared<std::optional<Result<T>>>();
    ask([got](Result<T> result) { got->emplace(std::move(result)); });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!*got && std::chrono::steady_clock::now() < deadline) {
        (void)loop.run_once(std::chrono::milliseconds(100)).has_value();
    }
    return *got ? std::move(**got) : Result<T>(Error(Code::DeadlineExceeded, "no answer"));
}

/// The engine's calls, each waited for.
class WaitedProcess {
public:
    WaitedProcess(EventLoop& loop, runtime::container::Process& process)
        : loop_(&loop), process_(&process) {}
    WaitedProcess(EventLoop& loop, std::unique_ptr<runtime::container::Process> process)
        : loop_(&loop), owned_(std::move(process)), process_(owned_.get()) {}

    pid_t pid() const { return process_->pid(); }
    FdRef pidfd() const { return process_->pidfd(); }
    std::optional<Fd> take_terminal() { return process_->take_terminal(); }
    void abandon() { process_->abandon(); }
    const runtime::UserIds& user() const { return process_->user(); }
    Result<std::uint32_t> start() {
        return wait_for<std::uint32_t>(*loop_,
                                       [this](auto done) { process_->start(std::move(done)); });
    }

private:
    EventLoop* loop_;
    std::unique_ptr<runtime::container::Process> owned_;
    runtime::container::Process* process_;
};

class WaitedContainer {
public:
    /// What fails is removed, and its process reaped.
    static Result<std::unique_ptr<WaitedContainer>> create(
        EventLoop& loop, const runtime::ContainerSpec& spec,
        const runtime::container::Container::Options& options, runtime::container::Stdio stdio);

    WaitedProcess& process() { return own_; }
    Result<WaitedProcess> exec(const runtime::ProcessSpec& spec, runtime::container::Stdio stdio);
    Result<runtime::ContainerStats> stats() const { return container_->stats(); }
    Result<void> signal_all(int signal) { return container_->signal_all(signal); }
    Result<void> remove() {
        return wait_for<void>(*loop_, [this](auto done) { container_->remove(std::move(done)); });
    }

private:
    WaitedContainer(EventLoop& loop, std::unique_ptr<runtime::container::Container> container)
        : loop_(&loop), container_(std::move(container)), own_(loop, container_->process()) {}

    EventLoop* loop_;
    std::unique_ptr<runtime::container::Container> container_;
    WaitedProcess own_;
};

}  // namespace pepita::test
