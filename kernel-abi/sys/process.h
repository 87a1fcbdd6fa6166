#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// How a child ended.
struct ChildExit {
    bool by_signal = false;
    int value = 0;  // exit status, or signal number

    /// As the shell counts: 128 + n where signal n ended it.
    std::uint32_t shell_status() const {
        return static_cast<std::uint32_t>(by_signal ? 128 + value : value);
    }
    friend bool operator==(const ChildExit&, const ChildExit&) = default;
};

/// "exit status 3" or "killed by signal 9".
std::string to_string(const ChildExit& exit);

/// A child process, held by its pidfd. One that still runs is killed and reaped when this goes.
class Child {
public:
    Child(pid_t pid, Fd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
    Child(Child&& other) noexcept;
    Child& operator=(Child&& other) noexcept;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    pid_t pid() const { return pid_; }
    /// Readable once the child is over; for EventLoop::watch().
    FdRef pidfd() const { return pidfd_.ref(); }
    /// A child that is over already is no error.
    void send_signal(int signal) const;
    /// Waits for the end and reaps. Once.
    ChildExit reap();
    /// Lets it live on: it is no longer ours to kill or to reap.
    void release() { pid_ = 0; }

private:
    pid_t pid_;
    Fd pidfd_;
};

enum class Lifetime : std::uint8_t {
    EndsWithUs,  // PR_SET_PDEATHSIG
    OutlivesUs,
};

/// A descriptor for the child, and the number it will have there.
struct PassedFd {
    FdRef fd;
    int number;
};

struct SpawnOptions {
    /// Path of the program, or "" where `executable` has it open.
    std::string path;
    FdRef executable{-1};
    std::vector<std::string> arguments;    // the program's name first
    std::vector<std::string> environment;  // KEY=VALUE; nothing is inherited
    /// What the child has open besides /dev/null as 0, 1 and 2, which entries here may replace.
    std::vector<PassedFd> fds;
    Lifetime lifetime = Lifetime::EndsWithUs;
    std::uint64_t namespaces = 0;  // CLONE_NEW* for clone3(2)
    /// Runs in the child before execve(2), with the descriptors in place.
    std::move_only_function<Result<void>()> prepare;
    /// Runs in the child in place of execve(2), for a helper too small for a program of its own;
    /// the child ends when it returns.
    std::move_only_function<void()> instead_of_exec;
};

struct ProgramOptions {
    std::string path;
    std::vector<std::string> arguments;    // the program's name first
    std::vector<std::string> environment;  // KEY=VALUE; nothing is inherited
    /// As of SpawnOptions. No entry's descriptor is the number of an earlier one.
    std::vector<PassedFd> fds;
    /// A session of its own, with the root as its directory; else only a process group.
    bool has_session = false;
};

/// Default dispositions and an empty mask. For a daemon, at its start, and in every child.
void reset_signals();

/// Raises the limits that a caller's shell may have lowered, as far as we may. For a daemon, at its
/// start. A file size limit that stays ends a write with EFBIG if SIGXFSZ is ignored.
void reset_limits();

/// Starts a child. Returns once execve(2) has succeeded.
/// Thread: the calling process has one thread, because the child runs our code before execve(2).
/// Errors: whatever kept it from execve(2), in the child's words.
Result<Child> spawn(SpawnOptions options);

/// Starts a program, with default signals. Thread: any, of any number: the child runs none of our
/// code, so it needs none of the locks that other threads may hold. What is open without CLOEXEC
/// is the child's, too. Errors: posix_spawn(3)'s.
Result<Child> start_program(ProgramOptions options);

}  // namespace pepita
