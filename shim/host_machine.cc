#include "shim/host_machine.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/host_agent.h"
#include "runtime/pod_cgroup.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"
#include "shim/attached_roots.h"
#include "shim/clock.h"
#include "shim/disk_image.h"
#include "shim/image_parts.h"
#include "shim/loop_disk.h"
#include "shim/microvm.h"
#include "vmm/device_config.h"

namespace pepita::shim {
namespace {

using runtime::OnResult;
using std::chrono::seconds;

constexpr seconds kAnswerDeadline{10};
// Each agent has a file system of its own there; who is root of a user namespace has to reach it.
constexpr const char* kAgentPlace = "/run/pepita-agent";

/// Takes the limits away that need a controller which `has` says is missing; gives their names.
std::string take_missing_limits(runtime::ResourcesSpec& limits,
                                const std::function<bool(std::string_view)>& has) {
    std::string names;
    const auto take = [&names](std::string_view name, auto& limit) {
        if (limit) {
            names.append(names.empty() ? "" : ", ").append(name);
            limit.reset();
        }
    };
    if (!has("memory")) {
        take("memory.limit", limits.memory_limit_bytes);
        take("memory.swap", limits.memory_swap_bytes);
        take("memory.reservation", limits.memory_reservation_bytes);
    }
    if (!has("pids")) {
        take("pids.limit", limits.pids_limit);
    }
    if (!has("cpu")) {
        take("cpu.shares", limits.cpu_shares);
        take("cpu.quota", limits.cpu_quota_us);
        take("cpu.period", limits.cpu_period_us);
        take("cpu.burst", limits.cpu_burst_us);
        take("cpu.idle", limits.cpu_idle);
    }
    if (!has("io")) {
        take("blockIO.weight", limits.block_io_weight);
    }
    std::erase_if(limits.unified, [&](const runtime::UnifiedLimit& limit) {
        const std::string controller = limit.file.substr(0, limit.file.find('.'));
        const bool is_missing = controller != "cgroup" && !has(controller);
        if (is_missing) {
            names.append(names.empty() ? "" : ", ").append(limit.file);
        }
        return is_missing;
    });
    if (!has("hugetlb") && !limits.hugepage_limits.empty()) {
        names.append(names.empty() ? "" : ", ").append("hugepageLimits");
        limits.hugepage_limits.clear();
    }
    return names;
}

void add_processes(const std::string& group, std::vector<std::uint32_t>& out) {
    const std::string text = read_file(group + "/cgroup.procs").value_or("");
    const char* at = text.data();
    const char* const end = at + text.size();
    std::uint32_t pid = 0;
    for (auto parsed = std::from_chars(at, end, pid); parsed.ec == std::errc();
         parsed = std::from_chars(at, end, pid)) {
        out.push_back(pid);
        at = std::min(parsed.ptr + 1, end);
    }
}

class HostMachine final : public Microvm {
public:
    HostMachine(EventLoop& loop, const MicrovmConfig& config, Callbacks callbacks)
        : loop_(loop),
          image_place_(config.spec.data + "/tmp"),
          network_(config.network),
          callbacks_(std::move(callbacks)) {}
    HostMachine(const HostMachine&) = delete;
    HostMachine& operator=(const HostMachine&) = delete;
    HostMachine(HostMachine&&) = delete;
    HostMachine& operator=(HostMachine&&) = delete;
    ~HostMachine() override {
        if (channel_) {
            channel_->close();
        }
    }

    Result<void> prepare();

    runtime::GuestClient& guest() override { return *guest_; }
    void connect_streams(const runtime::StreamNumbers& numbers, OnResult<Connected> done) override;
    void add_root(const RootSource& root, OnResult<RootDisks> done) override;
    void remove_root(const RootDisks& disks, OnResult<void> done) override;
    void place(runtime::Bundle& bundle, const RootDisks& disks) override;
    std::optional<std::vector<std::uint32_t>> pids(const std::string& container) const override;
    int pid() const override { return agent_ ? agent_->pid() : 0; }
    void shut_down() override;
    void kill(const std::string& reason) override;

private:
    /// A disk on its way, or there. Its parts are in use while they are open.
    struct Disk {
        vmm::Access access;
        std::vector<Fd> parts;
        std::unique_ptr<DiskImage> copying;
        std::optional<LoopDisk> loop;
        OnResult<std::string> done;
    };

    Result<void> start();
    void on_described(const Result<runtime::GuestDescription>& guest);
    void on_agent_end();
    Result<Fd> connect_stream(std::uint64_t number);
    void attach(vmm::DeviceConfig device, OnResult<std::string> done);
    void end_attach(const std::string& id, Result<Fd> image);
    void limit(runtime::Bundle& bundle) const;

    EventLoop& loop_;
    std::string image_place_;
    std::string network_;
    Callbacks callbacks_;
    std::string groups_;  // of the containers
    LoopClock clock_{loop_};
    std::optional<Child> agent_;
    EventLoop::Watch agent_watch_;
    EventLoop::Timer pause_;
    Fd streams_;
    std::shared_ptr<runtime::Channel> channel_;
    std::unique_ptr<runtime::GuestClient> guest_;
    std::map<std::string, Disk> disks_;
    std::unique_ptr<AttachedRoots> roots_;
    bool is_over_ = false;
    std::string blame_;  // why we ended it, where we did
};

Result<void> HostMachine::prepare() {
    TRY(make_directory(image_place_, 0700));
    TRY(make_directory(kAgentPlace, 0755));
    groups_ = TRY(runtime::open_container_groups());
    // Later: the owner does not hold us yet.
    pause_ = loop_.after(seconds(0), [this] {
        if (const Result<void> started = start(); !started) {
            kill("start the container engine: " + started.error().message());
        }
    });
    return {};
}

Result<void> HostMachine::start() {
    if (!network_.empty()) {
        (void)TRY(open_file(network_.c_str(), O_RDONLY), "network namespace");
    }
    auto [api, theirs] = TRY(socket_pair());
    auto [streams, their_streams] = TRY(message_socket_pair());
    SpawnOptions options;
    options.arguments = {"pepita-agent"};
    options.fds = {{.fd = theirs.ref(), .number = runtime::kAgentApiNumber},
                   {.fd = their_streams.ref(), .number = runtime::kAgentStreamNumber},
                   {.fd = FdRef(STDERR_FILENO), .number = STDERR_FILENO}};
    // It notices our end by its sockets, and ends the containers.
    options.lifetime = Lifetime::OutlivesUs;
    options.namespaces = CLONE_NEWNS;
    options.instead_of_exec =
        [agent = runtime::HostAgentOptions{
             .place = kAgentPlace,
             .cgroups = groups_,
             .network = network_,
             .shared_mounts = "/proc/" + std::to_string(::getpid()) + "/ns/mnt"}] {
            if (const Result<void> served = runtime::run_host_agent(agent); !served) {
                log::error("the container engine gave up", {{"error", served.error().message()}});
                ::_exit(1);
            }
        };
    agent_ = TRY(spawn(std::move(options)));
    agent_watch_ =
        TRY(loop_.watch(agent_->pidfd(), EPOLLIN, [this](std::uint32_t) { on_agent_end(); }));
    streams_ = std::move(streams);
    channel_ = TRY(runtime::Channel::create(
        loop_, std::move(api), {.on_call = {}, .on_closed = [](const Error& /*it ends*/) {}}));
    guest_ = std::make_unique<runtime::GuestClient>(channel_);
    callbacks_.on_boot();
    guest_->describe(kAnswerDeadline, [this](const Result<runtime::GuestDescription>& guest) {
        on_described(guest);
    });
    return {};
}

void HostMachine::on_described(const Result<runtime::GuestDescription>& guest) {
    if (is_over_ || !blame_.empty()) {
        return;
    }
    if (!guest) {
        return kill("the container engine: " + guest.error().message());
    }
    roots_ = std::make_unique<AttachedRoots>(
        loop_, clock_,
        AttachedRoots::Ways{.attach =
                                [this](vmm::DeviceConfig device, OnResult<std::string> done) {
                                    attach(std::move(device), std::move(done));
                                },
                            .detach =
                                [this](const std::string& id, OnResult<void> done) {
                                    disks_.erase(id);
                                    done({});
                                },
                            .open_image = open_image_parts,
                            .guest = *guest_},
        AttachedRoots::Options{.place = image_place_});
    callbacks_.on_up();
}

// The disk of an image is several files, and a loop device has one.
void HostMachine::attach(vmm::DeviceConfig device, OnResult<std::string> done) {
    const auto* kind = std::get_if<vmm::DiskConfig>(&device.kind);
    if (kind == nullptr || device.fds.empty()) {
        return done(Error(Code::Unsupported, "a device that is no disk"));
    }
    Disk& disk = disks_[device.id];
    disk.access = kind->access;
    disk.done = std::move(done);
    for (vmm::NumberedFd& part : device.fds) {
        disk.parts.push_back(std::move(part.fd));
    }
    if (disk.parts.size() == 1) {
        return end_attach(device.id, duplicate(disk.parts.front().ref()));
    }
    auto copying = DiskImage::concatenate(
        loop_, disk.parts, image_place_,
        [this, id = device.id](Result<Fd> image) { end_attach(id, std::move(image)); });
    if (!copying) {
        return end_attach(device.id, std::move(copying).error());
    }
    disk.copying = *std::move(copying);
}

void HostMachine::end_attach(const std::string& id, Result<Fd> image) {
    Disk& disk = disks_.at(id);
    // Not in its own call.
    loop_.post([gone = std::shared_ptr<DiskImage>(std::move(disk.copying))] {});
    Result<LoopDisk> loop = image ? LoopDisk::create(image->ref(), disk.access)
                                  : Result<LoopDisk>(std::move(image).error());
    OnResult<std::string> done = std::move(disk.done);
    if (!loop) {
        disks_.erase(id);
        return done(std::move(loop).error());
    }
    disk.loop = *std::move(loop);
    done(disk.loop->path());
}

void HostMachine::add_root(const RootSource& root, OnResult<RootDisks> done) {
    if (!root.is_disk()) {
        return done(RootDisks{.tree = root.path});
    }
    roots_->add(root, std::move(done));
}

void HostMachine::remove_root(const RootDisks& disks, OnResult<void> done) {
    if (disks.root_serial.empty()) {
        return done({});
    }
    roots_->remove(disks, std::move(done));
}

void HostMachine::place(runtime::Bundle& bundle, const RootDisks& disks) {
    runtime::ContainerSpec& container = bundle.container;
    place_root(container, disks);
    const auto device_of = [this](const std::string& serial) {
        const auto found = disks_.find(serial);
        return found != disks_.end() && found->second.loop ? found->second.loop->path() : "";
    };
    if (container.root.disk) {
        container.root.disk->serial = device_of(disks.root_serial);
    }
    if (!disks.scratch_serial.empty()) {
        container.root.scratch_disk.serial = device_of(disks.scratch_serial);
    }
    // A tree of the host's is where it is.
    const auto on_host = [](const std::string& path) {
        return runtime::TreePath{.tag = "/", .path = path};
    };
    if (container.root.tree) {
        container.root.tree = on_host(disks.tree);
    }
    for (runtime::MountSpec& mount : container.mounts) {
        if (mount.type == "bind") {
            mount.tree = on_host(mount.source);
        }
    }
    limit(bundle);
}

// What the host cannot limit is said, and the container runs.
void HostMachine::limit(runtime::Bundle& bundle) const {
    runtime::ResourcesSpec& limits = bundle.container.resources;
    const std::string controllers =
        " " + read_file(groups_ + "/cgroup.subtree_control").value_or("") + " ";
    const auto has = [&controllers](std::string_view name) {
        return controllers.contains(" " + std::string(name) + " ") ||
               controllers.contains(" " + std::string(name) + "\n");
    };
    std::string missing = take_missing_limits(limits, has);
    for (const auto& [file, cpus] : {std::pair("cpuset.cpus", &bundle.cpuset_cpus),
                                     std::pair("cpuset.mems", &bundle.cpuset_mems)}) {
        if (!cpus->empty() && has("cpuset")) {
            limits.unified.insert(limits.unified.begin(), {.file = file, .value = *cpus});
        } else if (!cpus->empty()) {
            missing.append(missing.empty() ? "" : ", ").append(file);
        }
    }
    if (!missing.empty()) {
        log::warn("limits are not set: the host's cgroup v2 has no controller for them",
                  {{"container", bundle.container.id}, {"limits", missing}});
    }
}

std::optional<std::vector<std::uint32_t>> HostMachine::pids(const std::string& container) const {
    std::vector<std::uint32_t> found;
    const std::string group = groups_ + "/" + container;
    add_processes(group, found);
    std::error_code failed;
    for (const auto& below : std::filesystem::recursive_directory_iterator(group, failed)) {
        if (below.is_directory(failed)) {
            add_processes(below.path().string(), found);
        }
    }
    return found;
}

Result<Fd> HostMachine::connect_stream(std::uint64_t number) {
    if (number == 0) {
        return Fd();
    }
    auto [ours, theirs] = TRY(socket_pair());
    const std::array<FdRef, 1> passed{theirs.ref()};
    const std::byte word{0};
    (void)TRY(send_some(streams_.ref(), std::span(&word, 1), passed), "connect a stream");
    // A new connection has room for eight bytes.
    (void)TRY(send_some(ours.ref(), std::as_bytes(std::span(&number, 1))), "connect a stream");
    return std::move(ours);
}

void HostMachine::connect_streams(const runtime::StreamNumbers& numbers, OnResult<Connected> done) {
    Result<Fd> in = connect_stream(numbers.in);
    Result<Fd> out = connect_stream(numbers.out);
    Result<Fd> err = connect_stream(numbers.err);
    for (Result<Fd>* stream : {&in, &out, &err}) {
        if (!*stream) {
            return done(std::move(*stream).error());
        }
    }
    done(Connected{.in = *std::move(in), .out = *std::move(out), .err = *std::move(err)});
}

void HostMachine::shut_down() {
    if (!guest_) {
        return kill("shut down");
    }
    // Whatever the answer, what counts is that the agent ends.
    guest_->shutdown(kAnswerDeadline, [](const Result<void>&) {});
}

void HostMachine::kill(const std::string& reason) {
    if (is_over_) {
        return;
    }
    if (blame_.empty()) {
        blame_ = reason;
    }
    if (agent_) {
        return agent_->send_signal(SIGKILL);
    }
    // Later, because the owner may not hold us yet, or gives us up in the call.
    pause_ = loop_.after(seconds(0), [this] { on_agent_end(); });
}

void HostMachine::on_agent_end() {
    is_over_ = true;
    agent_watch_.cancel();
    pause_.cancel();
    if (agent_) {
        const ChildExit exit = agent_->reap();
        if (blame_.empty()) {
            blame_ = "the container engine ended: " + to_string(exit);
        }
    }
    runtime::end_host_containers(groups_);
    // The callback gives this object up.
    auto on_down = std::move(callbacks_.on_down);
    on_down(blame_);
}

}  // namespace

Result<std::unique_ptr<Microvm>> start_host_machine(EventLoop& loop, const MicrovmConfig& config,
                                                    Microvm::Callbacks callbacks) {
    auto machine = std::make_unique<HostMachine>(loop, config, std::move(callbacks));
    TRY(machine->prepare());
    return machine;
}

}  // namespace pepita::shim
