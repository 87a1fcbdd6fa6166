#include "runtime/host_agent.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/engine.h"
#include "runtime/container/namespaces.h"
#include "runtime/guest/guest_server.h"
#include "runtime/guest/reaper.h"
#include "runtime/guest/stream_server.h"
#include "runtime/guest_api.h"
#include "runtime/network.h"
#include "runtime/pod_cgroup.h"
#include "runtime/rpc/channel.h"

namespace pepita::runtime {
namespace {

Error no_machine(const char* what) {
    return {Code::Unsupported, std::string(what) + ": there is no machine of its own"};
}

Result<void> enter_network(const std::string& path) {
    const Fd network = TRY(open_file(path.c_str(), O_RDONLY));
    if (::setns(network.ref().number(), CLONE_NEWNET) != 0) {
        return Error::from_errno(errno, "enter the network namespace '" + path + "'");
    }
    return container::raise_loopback();
}

// Mounts that the host makes later appear here, too, and ours not there.
Result<void> prepare(const HostAgentOptions& options) {
    (void)::signal(SIGPIPE, SIG_IGN);
    (void)::prctl(PR_SET_NAME, "pepita-agent");
    // Orphans of containers without a pid namespace are to be reaped here.
    if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
        return Error::from_errno(errno, "PR_SET_CHILD_SUBREAPER");
    }
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0 ||
        ::mount("pepita", options.place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
                "mode=0711") != 0) {
        return Error::from_errno(errno, "make a place for mounts at '" + options.place + "'");
    }
    TRY(make_directory(options.place + "/staging", 0711));
    return options.network.empty() ? Result<void>() : enter_network(options.network);
}

/// A process that does nothing but keep the namespaces that a pod's containers share; the first of
/// its pid namespace, which inherits orphans there. It ends with this process.
Result<Child> hold_namespaces() {
    SpawnOptions options;
    options.arguments = {"pepita-pause"};
    options.namespaces = CLONE_NEWPID | CLONE_NEWIPC;
    options.instead_of_exec = [] {
        (void)::prctl(PR_SET_NAME, "pepita-pause");
        (void)::signal(SIGCHLD, SIG_IGN);  // the kernel reaps them
        for (;;) {
            (void)::pause();
        }
    };
    return TRY(spawn(std::move(options)), "make the pod's namespaces");
}

class Agent {
public:
    Agent(EventLoop& loop, const HostAgentOptions& options)
        : loop_(loop), streams_(loop), server_(loop, streams_, server_options(options)) {}

    Result<void> serve() {
        reaper_ = TRY(guest::Reaper::create(
            loop_, [this](pid_t pid, const ChildExit& exit) { server_.on_exit(pid, exit); }));
        channel_ = TRY(Channel::create(
            loop_, Fd(kAgentApiNumber),
            {.on_call = [this](Channel::Call call) { dispatch(server_, std::move(call)); },
             .on_closed = [this](const Error&) { loop_.stop(); }}));
        watch_ = TRY(
            loop_.watch(stream_socket_.ref(), EPOLLIN, [this](std::uint32_t) { on_streams(); }));
        return loop_.run();
    }

    /// Once the containers are over. Who is root of a pid namespace waits for all others there to
    /// be reaped, which our own parent might not do.
    void end() {
        if (holder_pid_ != 0) {
            (void)::kill(holder_pid_, SIGKILL);
        }
        constexpr int waits = 500;
        constexpr int pause_ms = 10;
        for (int i = 0; i < waits && ::waitpid(-1, nullptr, WNOHANG) >= 0; ++i) {
            while (::waitpid(-1, nullptr, WNOHANG) > 0) {}
            (void)::poll(nullptr, 0, pause_ms);
        }
    }

private:
    guest::GuestServer::Options server_options(const HostAgentOptions& options) {
        return {.version = "of the host",
                .staging_directory = options.place + "/staging",
                .shared_directory = options.place + "/shared",
                .cgroup_directory = options.cgroups,
                .trees = container::Trees::Directories,
                .shared_mounts = options.shared_mounts,
                .pod_namespaces = [this] { return pod_namespaces(); },
                .find_disk = [](const DiskId& disk) -> Result<std::string> { return disk.serial; },
                .rescan = [] { return Result<void>(); },
                .release = [](const DiskId& /*disk*/) { return Result<void>(); },
                .configure_network = [](const NetworkConfig& /*config*/) -> Result<void> {
                    return no_machine("configure the network");
                },
                .limit_pod = [](const ResourcesSpec& /*limits*/) -> Result<void> {
                    return no_machine("limit the pod");
                },
                .adjust_clock = [](std::chrono::nanoseconds /*offset*/)
                    -> Result<std::chrono::nanoseconds> { return no_machine("adjust the clock"); },
                .power_off = [this] { loop_.stop(); }};
    }

    Result<FdRef> pod_namespaces() {
        if (!holder_) {
            holder_ = TRY(hold_namespaces());
            holder_pid_ = holder_->pid();
            holder_->release();  // reaped as all children are
        }
        return holder_->pidfd();
    }

    void on_streams() {
        std::array<std::byte, 1> byte{};
        while (true) {
            Result<Received> received = receive_some(stream_socket_.ref(), byte);
            if (!received && received.error().sys_errno() == EAGAIN) {
                return;
            }
            if (!received || received->size == 0) {
                watch_.cancel();
                return loop_.stop();
            }
            for (Fd& connection : received->fds) {
                streams_.add(std::move(connection));
            }
        }
    }

    EventLoop& loop_;
    Fd stream_socket_{kAgentStreamNumber};
    EventLoop::Watch watch_;
    guest::StreamServer streams_;
    std::optional<Child> holder_;
    pid_t holder_pid_ = 0;
    guest::GuestServer server_;
    std::unique_ptr<guest::Reaper> reaper_;
    std::shared_ptr<Channel> channel_;
};

}  // namespace

Result<void> run_host_agent(const HostAgentOptions& options) {
    Result<void> served = prepare(options);
    if (served) {
        const auto loop = TRY(EventLoop::create());
        Agent agent(*loop, options);
        served = agent.serve();
        end_host_containers(options.cgroups);
        agent.end();
    }
    return served;
}

void end_host_containers(const std::string& cgroups) {
    std::error_code failed;
    std::vector<std::string> groups;
    for (const auto& entry : std::filesystem::directory_iterator(cgroups, failed)) {
        const std::string path = entry.path().string();
        if (entry.is_directory(failed) && !path.ends_with(kRuntimeGroup)) {
            groups.push_back(path);
        }
    }
    for (const std::string& group : groups) {
        if (const Result<void> ended = container::Cgroup::end(group); !ended) {
            log::warn("a container's cgroup stays",
                      {{"cgroup", group}, {"error", ended.error().message()}});
        }
    }
}

}  // namespace pepita::runtime
