#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cri/streaming/fd_ends.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// One plugin at work: a process of its own group, given its input and bounded in time and output.
/// Where it breaks a bound, or this goes, the whole group is killed.
class PluginProcess {
public:
    static constexpr std::size_t kOutputMax = std::size_t{1} << 20U;

    struct Options {
        std::string path;
        std::vector<std::string> environment;
        std::string input;
        std::chrono::milliseconds timeout;
    };
    struct Outcome {
        ChildExit exit;
        std::string output;
        std::string errors;  // its beginning, if it is long
    };
    /// Errors: DeadlineExceeded, ResourceExhausted for too much output.
    using OnDone = std::move_only_function<void(Result<Outcome>)>;

    /// `on_done` is called once and not from within; it may destroy the process.
    static Result<std::unique_ptr<PluginProcess>> start(EventLoop& loop, Options options,
                                                        OnDone on_done);
    PluginProcess(const PluginProcess&) = delete;
    PluginProcess& operator=(const PluginProcess&) = delete;
    PluginProcess(PluginProcess&&) = delete;
    PluginProcess& operator=(PluginProcess&&) = delete;
    ~PluginProcess();

private:
    PluginProcess(EventLoop& loop, OnDone on_done);
    Result<void> launch(Options options);
    Result<std::unique_ptr<Inlet>> collect(Fd source, std::string& into);
    void fail(Error error);
    void on_exit();
    void kill_group();

    EventLoop& loop_;
    OnDone on_done_;
    std::optional<Child> child_;
    EventLoop::Watch exit_watch_;
    EventLoop::Timer timer_;
    Outlet in_;
    std::unique_ptr<Inlet> out_;
    std::unique_ptr<Inlet> err_;
    std::optional<Error> failure_;
    Outcome outcome_;
};

}  // namespace pepita::cri
