#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime {

/// What clients ask of pepita-shim (containerd's task API v2 and v3), without a word of protobuf.
/// Clients: pepita-run, later pepita-cri and containerd.

/// The descriptor that pepita-shim inherits: a connected socket of its first client.
inline constexpr int kShimSocketNumber = 3;

/// Where a standard stream comes from or goes to: a descriptor that was sent along, or a path (a
/// FIFO, as containerd makes them). Neither: no stream.
struct StreamEnd {
    std::optional<Fd> fd;
    std::string path;
};

struct TaskIo {
    Terminal terminal = Terminal::No;
    StreamEnd in;
    StreamEnd out;
    StreamEnd err;
    /// A connected AF_UNIX socket that gets the pty master by SCM_RIGHTS (OCI --console-socket).
    /// With terminal and without this, in and out are the client's own terminal.
    std::optional<Fd> console_socket;
    /// A connected socket of the process that stands for this one on the host, see
    /// runtime/proxy.h, and its pid.
    std::optional<Fd> proxy;
    std::uint32_t proxy_pid = 0;
};

enum class TaskStatus : std::uint8_t { Unknown, Created, Running, Stopped, Paused };

struct TaskState {
    std::string id;
    std::string bundle;
    std::uint32_t pid = 0;  // the proxy's, on the host
    TaskStatus status = TaskStatus::Unknown;
    std::uint32_t exit_status = 0;
    Terminal terminal = Terminal::No;
    std::int64_t exited_at_ns = 0;  // since 1970; 0: it has not
    // The streams' paths, where they were given by path.
    std::string in;
    std::string out;
    std::string err;
};

struct TaskExit {
    std::uint32_t exit_status = 0;
    std::int64_t exited_at_ns = 0;  // since 1970
    std::uint32_t pid = 0;          // the proxy's
};

/// A process that runs, as the host sees it.
struct TaskProcess {
    std::uint32_t pid = 0;  // the proxy's
    std::string exec;       // "": the container's own

    friend bool operator==(const TaskProcess&, const TaskProcess&) = default;
};

struct TaskConnection {
    std::uint32_t shim_pid = 0;
    std::uint32_t pid = 0;  // the proxy's
};

struct TaskStarted {
    std::uint32_t pid = 0;
    std::uint32_t exec_errno = 0;
};

/// An image of the host's image store, as a container's root.
struct ImageRoot {
    std::string store;  // the store's directory; absolute
    std::string id;     // "sha256:" and 64 digits

    friend auto operator<=>(const ImageRoot&, const ImageRoot&) = default;
};

/// A mount of a client's that makes a container's root: mount(2)'s arguments in its words.
struct RootMount {
    std::string type;
    std::string source;
    std::vector<std::string> options;

    friend bool operator==(const RootMount&, const RootMount&) = default;
};

struct TaskCreate {
    std::string id;
    std::string bundle;  // absolute
    TaskIo io;
    /// Directories of the host's cgroup file systems that its stand-in is in; for its state.
    // NOLINTNEXTLINE(readability-redundant-member-init): may be left out.
    std::vector<std::string> cgroups = {};
    std::optional<PodSpec> pod;  // to begin with this container; ignored where there is one
    /// The root, in place of the bundle's, whose directory has to exist all the same.
    std::optional<ImageRoot> image = std::nullopt;
    // NOLINTBEGIN(readability-redundant-member-init): may be left out.
    /// To be mounted on the bundle's root, one on the other.
    std::vector<RootMount> mounts = {};
    std::string config_path = {};  // containerd's runtime option ConfigPath
    // NOLINTEND(readability-redundant-member-init)
};

struct TaskExec {
    ProcessId id;
    ProcessSpec process;
    TaskIo io;
};

/// The client's end. Every method answers once, on the channel's thread.
class TaskClient {
public:
    explicit TaskClient(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}

    void create(TaskCreate request, OnResult<std::uint32_t> done);
    void start(const ProcessId& process, OnResult<TaskStarted> done);
    void exec(TaskExec request, OnResult<void> done);
    void state(const ProcessId& process, OnResult<TaskState> done);
    void kill(const ProcessId& process, std::uint32_t signal, bool all, OnResult<void> done);
    /// Answers when the process is over and its output has been written out.
    void wait(const ProcessId& process, OnResult<TaskExit> done);
    void resize(const ProcessId& process, WindowSize size, OnResult<void> done);
    void close_stdin(const ProcessId& process, OnResult<void> done);
    /// Takes a stopped process away; FailedPrecondition while it runs.
    void remove(const ProcessId& process, OnResult<TaskExit> done);
    /// The processes that have a proxy. What they have forked in the guest has none.
    void pids(const std::string& container, OnResult<std::vector<TaskProcess>> done);
    void pause(const std::string& container, OnResult<void> done);
    void resume(const std::string& container, OnResult<void> done);
    /// `resources`: OCI's `linux.resources` as JSON; what it does not name stays as it is.
    void update(const std::string& container, const std::string& resources, OnResult<void> done);
    void stats(const std::string& container, OnResult<ContainerStats> done);
    /// Ends the shim unless it has containers; `now` with all that it has. Gives whether it stays.
    void shutdown(bool now, OnResult<bool> done);

private:
    std::shared_ptr<Channel> channel_;
};

/// The shim's end.
class TaskService {
public:
    TaskService() = default;
    TaskService(const TaskService&) = delete;
    TaskService& operator=(const TaskService&) = delete;
    TaskService(TaskService&&) = delete;
    TaskService& operator=(TaskService&&) = delete;
    virtual ~TaskService() = default;
    virtual void create(TaskCreate request, OnResult<std::uint32_t> done) = 0;
    virtual void start(ProcessId process, OnResult<TaskStarted> done) = 0;
    virtual void exec(TaskExec request, OnResult<void> done) = 0;
    virtual void state(ProcessId process, OnResult<TaskState> done) = 0;
    virtual void kill(ProcessId process, std::uint32_t signal, bool all, OnResult<void> done) = 0;
    virtual void wait(ProcessId process, OnResult<TaskExit> done) = 0;
    virtual void resize(ProcessId process, WindowSize size, OnResult<void> done) = 0;
    virtual void close_stdin(ProcessId process, OnResult<void> done) = 0;
    virtual void remove(ProcessId process, OnResult<TaskExit> done) = 0;
    virtual void pids(std::string container, OnResult<std::vector<TaskProcess>> done) = 0;
    virtual void pause(std::string container, OnResult<void> done) = 0;
    virtual void resume(std::string container, OnResult<void> done) = 0;
    virtual void update(std::string container, ResourcesSpec resources, OnResult<void> done) = 0;
    virtual void stats(std::string container, OnResult<ContainerStats> done) = 0;
    virtual void connect(std::string container, OnResult<TaskConnection> done) = 0;
    virtual void shutdown(bool now, OnResult<bool> done) = 0;
};

/// As the guest API's. Descriptors named by "fd:N" and not sent are InvalidArgument.
void dispatch(TaskService& service, Channel::Call call);

}  // namespace pepita::runtime
