#pragma once

#include <sys/resource.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "compute/task.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute {

/// One process of a task, from its start to its end.
///
/// It borrows this process's memory until it executes, so the cost does not depend on the memory of
/// this process, and leads a process group. When it ends, or when this goes, the rest of the group
/// is killed. Thread: the loop's.
class ProcessRun {
public:
    struct Outcome {
        ChildExit exit;
        std::string output;
        std::string errors;
        bool output_truncated = false;
        bool errors_truncated = false;
        rusage usage{};
    };
    using OnEnd = std::move_only_function<void(Outcome)>;

    /// `on_end` is called once, unless this goes before. This may go in that call.
    /// Errors: what kept the program from starting: NotFound (ENOENT), PermissionDenied (EACCES),
    /// ...
    static Result<std::unique_ptr<ProcessRun>> start(EventLoop& loop, const ProcessWork& work,
                                                     OnEnd on_end);
    ProcessRun(const ProcessRun&) = delete;
    ProcessRun& operator=(const ProcessRun&) = delete;
    ProcessRun(ProcessRun&&) = delete;
    ProcessRun& operator=(ProcessRun&&) = delete;
    ~ProcessRun();

    /// Ends the group. on_end follows.
    void kill() const;

private:
    struct Stream {
        Fd fd;
        EventLoop::Watch watch;
        std::string bytes;
        bool truncated = false;
    };
    /// What the process has as its standard streams.
    struct Ends {
        Fd input;
        Fd output;
        Fd errors;
    };
    ProcessRun(const ProcessWork& work, OnEnd on_end);
    Result<Ends> make_pipes();
    static Result<Ends> inherited();
    Result<void> watch_all(EventLoop& loop);
    /// Reads until the stream would block or ends.
    void read(Stream& stream) const;
    void write_input();
    void finish();

    std::size_t output_max_;
    std::string input_;
    std::size_t input_written_ = 0;
    OnEnd on_end_;
    pid_t pid_ = 0;  // 0 once reaped
    Fd pidfd_;
    Fd stdin_;
    Stream stdout_;
    Stream stderr_;
    EventLoop::Watch stdin_watch_;
    EventLoop::Watch exit_watch_;
};

}  // namespace pepita::compute
