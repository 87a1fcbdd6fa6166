#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/conversation.h"

namespace pepita::runtime::container {

/// The standard streams a process gets. Not used where it has a terminal. A missing one is
/// /dev/null.
struct Stdio {
    Fd in;
    Fd out;
    Fd err;
};

/// A child of the caller: set up in its namespaces, then waiting for start(), then the program
/// itself. The caller reaps it: this never waits for a pid.
class Process {
public:
    /// `on_ready` is called once, later. Errors: what kept the child from being set up, in its own
    /// words; then the child is killed. NotFound or PermissionDenied, "exec 'NAME': ...", where the
    /// container has no such program.
    static Result<std::unique_ptr<Process>> create(EventLoop& loop, pid_t pid, Fd pidfd, Fd control,
                                                   std::string program, OnDone<void> on_ready);
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    Process(Process&&) = delete;
    Process& operator=(Process&&) = delete;
    ~Process() { abandon(); }

    pid_t pid() const { return pid_; }
    FdRef pidfd() const { return pidfd_.ref(); }
    bool is_ready() const { return is_ready_; }
    bool has_claimed() const { return has_claimed_; }  // the directory on the scratch disk

    /// Ends a process that is not started; one that runs goes on.
    void abandon();

    /// Of a container's own process that is ready.
    const UserIds& user() const { return user_; }

    /// The pty master, for a process with a terminal; once.
    std::optional<Fd> take_terminal() { return std::exchange(terminal_, std::nullopt); }

    /// Lets it call execve(2). Gives 0, or the errno with which the search for args[0] in PATH or
    /// execve(2) itself failed; then the process has exited, with status 127 (ENOENT, ENOTDIR) or
    /// 126. `done` is called once, and not before start() returns unless it fails at once.
    /// Errors: FailedPrecondition where it was started before, is not ready or has exited; what
    /// else kept it from reaching execve(2) (cwd, user, capabilities), in the child's own words.
    void start(OnDone<std::uint32_t> done);

private:
    Process(EventLoop& loop, pid_t pid, Fd pidfd, Fd control, std::string program)
        : pid_(pid),
          pidfd_(std::move(pidfd)),
          conversation_(loop, std::move(control)),
          program_(std::move(program)) {}
    Result<void> expect_ready();
    Result<void> add_id(std::uint32_t id);
    Result<void> expect_start();
    Result<void> on_set_up(Result<ControlMessage> message);
    Result<std::uint32_t> on_started(Result<ControlMessage> message);

    pid_t pid_;
    Fd pidfd_;  // a pid is another's once it is reaped
    Conversation conversation_;
    std::string program_;
    OnDone<void> on_ready_;
    OnDone<std::uint32_t> on_start_;
    bool is_ready_ = false;
    bool has_claimed_ = false;
    std::size_t ids_ = 0;  // how many have come of user_
    UserIds user_;
    std::optional<Fd> terminal_;
};

/// How the trees of a container's specification (TreePath), which are directories, got there.
enum class Trees : bool {
    VirtioFs,     // from the host: what is mounted below them stays there
    Directories,  // they are this kernel's: a bind may bring mounts along, and share them
};

/// One container: namespaces, root file system, cgroup. It knows nothing of microVMs: the trees of
/// its specification (TreePath) are directories. No call waits for a child. Its mounts are in its
/// own mount namespace and are released with its last process.
/// Thread: the process that uses this has one thread, because it forks and goes on in the child.
class Container {
public:
    struct Options {
        std::string root_device;        // of spec.root.disk: with an EROFS image
        std::string scratch_device;     // of spec.root.scratch_disk: with an ext4
        std::string staging_directory;  // each container mounts its root over it, unseen by others
        std::string cgroup_directory;   // a cgroup v2 directory; <dir>/<id> is made in it
        Trees trees = Trees::VirtioFs;
        // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
        /// With Trees::Directories: the mount namespace in which a tree is that shares its mounts
        /// with the container's, by its path in /proc; "": there are none.
        std::string shared_mounts = {};
        /// A process of each container whose namespaces spec.namespaces joins, by its id; or a
        /// namespace, by its path.
        std::map<std::string, FdRef> joined = {};
        std::map<std::string, std::string> image_devices = {};  // of mounts, by serial: EROFS
        // NOLINTEND(readability-redundant-member-init)
    };

    /// Makes the cgroup and starts the container's process, which mounts the root and sets itself
    /// up to the point before execve(2); then `on_ready` is called, once and later, as
    /// Process::create() says. When it has failed, the caller calls remove().
    static Result<std::unique_ptr<Container>> create(EventLoop& loop, const ContainerSpec& spec,
                                                     const Options& options, Stdio stdio,
                                                     OnDone<void> on_ready);
    Container(const Container&) = delete;
    Container& operator=(const Container&) = delete;
    Container(Container&&) = delete;
    Container& operator=(Container&&) = delete;
    ~Container();  // kills what is left, and waits for nothing

    /// The container's own process.
    Process& process();

    /// One more process in the container, waiting for start(); a child of the caller.
    /// Errors: FailedPrecondition unless the container's own process is ready and has not exited.
    Result<std::unique_ptr<Process>> exec(const ProcessSpec& spec, Stdio stdio,
                                          OnDone<void> on_ready);

    /// What it has used. Errors: Unsupported without a cgroup.
    Result<ContainerStats> stats() const;

    /// Stops all its processes, or has them go on. Errors: Unsupported without a cgroup; else as
    /// Freezer::set().
    void set_frozen(bool frozen, OnDone<void> done);

    /// Errors: as Cgroup::update(); Unsupported without a cgroup.
    Result<void> update(const ResourcesSpec& resources);

    /// Sends `signal` to every process of the container.
    Result<void> signal_all(int signal);

    /// Ends what is left, removes the cgroup and the directory on the scratch disk. Calls `done`
    /// once, perhaps before it returns.
    /// Errors: DeadlineExceeded where a process does not end within five seconds; then it may be
    /// called again.
    void remove(OnDone<void> done);

private:
    struct State;
    explicit Container(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace pepita::runtime::container
