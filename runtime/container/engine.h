#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// The standard streams a process gets. Not used where it has a terminal. A missing one is
/// /dev/null.
struct Stdio {
    Fd in;
    Fd out;
    Fd err;
};

/// A process in its namespaces, set up and waiting for start(), then the program itself. The
/// caller, whose child it is, reaps it: this never waits for a pid.
class Process {
public:
    Process(pid_t pid, Fd control, std::optional<Fd> terminal);
    Process(Process&&) noexcept = default;
    Process& operator=(Process&&) noexcept = default;
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() = default;  // a process that waits for start() ends when this goes

    pid_t pid() const { return pid_; }

    /// Ends a process that waits for start(); one that runs goes on.
    void abandon() { control_ = Fd(); }

    /// The pty master, for a process with a terminal; once.
    std::optional<Fd> take_terminal() { return std::exchange(terminal_, std::nullopt); }

    /// Lets it call execve(2). Gives 0, or the errno with which the search for args[0] in PATH or
    /// execve(2) itself failed; then the process is over, with status 127 (ENOENT, ENOTDIR) or 126.
    /// Errors: FailedPrecondition where it was started before or is over; what else kept it from
    /// reaching execve(2) (cwd, user, capabilities), in the child's own words.
    Result<std::uint32_t> start();

private:
    pid_t pid_;
    Fd control_;
    std::optional<Fd> terminal_;
};

/// One container: namespaces, root file system, cgroup. It knows nothing of microVMs.
/// Thread: the process that uses this has one thread, because it forks and goes on in the child.
class Container {
public:
    struct Options {
        std::string root_device;       // block device with the EROFS image
        std::string scratch_device;    // block device with an ext4 of its own; "": a tmpfs
        std::string state_directory;   // ours: <dir>/<id>/{lower,upper,work,root} are made in it
        std::string cgroup_directory;  // a cgroup v2 directory; <dir>/<id> is made in it
    };

    /// Mounts the root (EROFS below, the scratch device or a tmpfs above, or the EROFS alone where
    /// it is read-only), makes the cgroup, and starts the container's process up to the point
    /// before execve(2).
    /// Errors: name the thing ("mount '/proc': ..."); everything made so far is undone.
    static Result<std::unique_ptr<Container>> create(const ContainerSpec& spec,
                                                     const Options& options, Stdio stdio);
    Container(const Container&) = delete;
    Container& operator=(const Container&) = delete;
    Container(Container&&) = delete;
    Container& operator=(Container&&) = delete;
    ~Container();  // as remove(), errors dropped

    /// The container's own process.
    Process& process();

    /// One more process in the running container, waiting for start(); a child of the caller.
    Result<Process> exec(const ProcessSpec& spec, Stdio stdio);

    /// What it has used. Errors: Unsupported without a cgroup.
    Result<ContainerStats> stats() const;

    /// Sends `signal` to every process of the container.
    Result<void> signal_all(int signal);

    /// Ends what is left, unmounts, removes the cgroup and the state directory.
    Result<void> remove();

private:
    struct State;
    explicit Container(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace pepita::runtime::container
