#include "cri/cni/plugin_process.h"

#include <sys/epoll.h>
#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cri/streaming/fd_ends.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

PluginProcess::PluginProcess(EventLoop& loop, OnDone on_done)
    : loop_(loop), on_done_(std::move(on_done)), in_(loop, [] {}) {}

Result<std::unique_ptr<PluginProcess>> PluginProcess::start(EventLoop& loop, Options options,
                                                            OnDone on_done) {
    std::unique_ptr<PluginProcess> process(new PluginProcess(loop, std::move(on_done)));
    TRY(process->launch(std::move(options)));
    return process;
}

PluginProcess::~PluginProcess() { kill_group(); }

Result<void> PluginProcess::launch(Options options) {
    Pipe in = TRY(make_pipe());
    Pipe out = TRY(make_pipe());
    Pipe err = TRY(make_pipe());
    child_.emplace(TRY(start_program({.path = options.path,
                                      .arguments = {options.path},
                                      .environment = std::move(options.environment),
                                      .fds = {{.fd = in.read.ref(), .number = STDIN_FILENO},
                                              {.fd = out.write.ref(), .number = STDOUT_FILENO},
                                              {.fd = err.write.ref(), .number = STDERR_FILENO}}})));
    in_.write(std::as_bytes(std::span(options.input)));
    in_.finish();
    TRY(in_.connect(std::move(in.write)));
    out_ = TRY(collect(std::move(out.read), outcome_.output));
    err_ = TRY(collect(std::move(err.read), outcome_.errors));
    exit_watch_ = TRY(loop_.watch(child_->pidfd(), EPOLLIN, [this](std::uint32_t) { on_exit(); }));
    timer_ = loop_.after(options.timeout, [this, limit = options.timeout] {
        fail(
            Error(Code::DeadlineExceeded, "killed after " + std::to_string(limit.count()) + " ms"));
    });
    return {};
}

Result<std::unique_ptr<Inlet>> PluginProcess::collect(Fd source, std::string& into) {
    return Inlet::create(
        loop_, std::move(source),
        // Or a child that left the group could keep drain() busy for ever.
        {.has_room = [this] { return !failure_; },
         .on_bytes =
             [this, &into](std::span<const std::byte> bytes) {
                 if (into.size() + bytes.size() > kOutputMax) {
                     fail(Error(Code::ResourceExhausted, "killed after it wrote more than 1 MiB"));
                     return;
                 }
                 // SAFETY: bytes of a pipe are text to std::string.
                 into.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
             },
         .on_end = [] {}});
}

// The end follows, by the child's.
void PluginProcess::fail(Error error) {
    if (!failure_) {
        failure_ = std::move(error);
        kill_group();
    }
}

void PluginProcess::kill_group() {
    if (child_) {
        ::kill(-child_->pid(), SIGKILL);
    }
}

void PluginProcess::on_exit() {
    exit_watch_.cancel();
    timer_.cancel();
    // What it wrote is in the pipes, which a child that it left behind may hold open for ever.
    out_->drain();
    err_->drain();
    CHECK(child_.has_value());
    kill_group();
    outcome_.exit = child_->reap();
    child_.reset();
    OnDone on_done = std::move(on_done_);  // outlives us
    if (failure_) {
        return on_done(std::move(*failure_));
    }
    on_done(std::move(outcome_));
}

}  // namespace pepita::cri
