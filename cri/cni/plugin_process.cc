#include "cri/cni/plugin_process.h"

#include <spawn.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
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
namespace {

/// The child's side of its three streams.
struct Streams {
    FdRef in;
    FdRef out;
    FdRef err;
};

// In a group of its own, with default signals.
Result<pid_t> spawn_group(const PluginProcess::Options& options, const Streams& streams) {
    std::string name = options.path;
    std::array<char*, 2> arguments = {name.data(), nullptr};
    std::vector<std::string> variables = options.environment;
    std::vector<char*> environment;
    std::ranges::transform(variables, std::back_inserter(environment),
                           [](std::string& variable) { return variable.data(); });
    environment.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    CHECK(::posix_spawn_file_actions_init(&actions) == 0);
    CHECK(::posix_spawnattr_init(&attributes) == 0);
    ::posix_spawn_file_actions_adddup2(&actions, streams.in.number(), 0);
    ::posix_spawn_file_actions_adddup2(&actions, streams.out.number(), 1);
    ::posix_spawn_file_actions_adddup2(&actions, streams.err.number(), 2);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes, &all);
    ::posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t pid = 0;
    const int failed = ::posix_spawn(&pid, options.path.c_str(), &actions, &attributes,
                                     arguments.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (failed != 0) {
        return Error::from_errno(failed, "start '" + options.path + "'");
    }
    return pid;
}

}  // namespace

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
    group_ = TRY(spawn_group(
        options, {.in = in.read.ref(), .out = out.write.ref(), .err = err.write.ref()}));
    // Nobody else reaps it, so the number is still its own.
    Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, group_, 0)));
    const int failed = errno;
    const bool is_open = static_cast<bool>(pidfd);
    child_.emplace(group_, std::move(pidfd));
    if (!is_open) {
        return Error::from_errno(failed, "pidfd_open");
    }
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
        ::kill(-group_, SIGKILL);
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
