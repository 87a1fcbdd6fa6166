#include "shim/microvm.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/memory_file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/network.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"
#include "runtime/task_api.h"
#include "shim/attached_roots.h"
#include "shim/clock.h"
#include "shim/disk_image.h"
#include "shim/guest_link.h"
#include "shim/host_files.h"
#include "shim/host_machine.h"
#include "shim/image_parts.h"
#include "shim/isolation.h"
#include "shim/jail.h"
#include "shim/kernel_command_line.h"
#include "shim/machine.h"
#include "shim/machine_plan.h"
#include "shim/network.h"
#include "shim/pod_directory.h"
#include "shim/pod_size.h"
#include "shim/submounts.h"
#include "vmm/device_config.h"
#include "vmm/host/kernel_cache.h"
#include "vmm/machine_config.h"

namespace pepita::shim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kConnectDeadline = seconds(30);
// The guest's answer to a shutdown; it powers off after that.
constexpr milliseconds kAnswerDeadline = seconds(10);
// How long the machine's own reason is waited for once its link is gone.
constexpr milliseconds kReasonDeadline = seconds(2);

constexpr const char* kPacking = "pack the root file system";
constexpr const char* kFormatting = "make the scratch disk";
constexpr const char* kRootName = "root";  // in a container's directory of the tree

// The limits of a pod are those of its machine.
static_assert(runtime::PodSpec::kScratchMibMax == vmm::DiskConfig::kStoreMax.value() >> 20U);

/// The pepita-vmm that belongs to the running pepita-shim: beside it, or where the build has it.
Result<std::string> find_vmm() {
    std::array<char, PATH_MAX> self{};
    const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size());
    if (size < 0) {
        return Error::from_errno(errno, "read '/proc/self/exe'");
    }
    const std::string_view path(self.data(), static_cast<std::size_t>(size));
    const std::string directory(path.substr(0, path.rfind('/')));
    for (const char* beside : {"/pepita-vmm", "/../vmm/pepita-vmm"}) {
        if (::access((directory + beside).c_str(), X_OK) == 0) {
            return directory + beside;
        }
    }
    return Error(Code::NotFound, "pepita-vmm is not in '" + directory + "'");
}

Result<Fd> open_console(const std::string& path) {
    Fd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
    if (!file) {
        return Error::from_errno(errno, "open the guest console '" + path + "'");
    }
    return file;
}

/// `user` opens it again, by its path in /proc.
Result<Fd> make_memory(Bytes size, JailUser user) {
    Fd memory = TRY(create_memory_file("guest-memory", size));
    if (::fchown(memory.ref().number(), user.id, user.id) != 0) {
        return Error::from_errno(errno, "give the guest's memory to its user");
    }
    return memory;
}

// Up to three connections on their way. It lives in their callbacks, and outlives a sandbox that
// ends meanwhile.
struct Connecting {
    std::array<std::unique_ptr<GuestConnect>, 3> connects;
    std::array<Fd, 3> fds;
    std::optional<Error> error;
    int left = 0;
    runtime::OnResult<Microvm::Connected> done;
};

void finish_one(Connecting& connecting) {
    if (--connecting.left > 0) {
        return;
    }
    if (connecting.error) {
        return connecting.done(*std::move(connecting.error));
    }
    auto& [in, out, err] = connecting.fds;
    connecting.done(
        Microvm::Connected{.in = std::move(in), .out = std::move(out), .err = std::move(err)});
}

class MachineMicrovm final : public Microvm {
public:
    MachineMicrovm(EventLoop& loop, const MicrovmConfig& config, Callbacks callbacks)
        : loop_(loop),
          spec_(config.spec),
          directory_(config.directory),
          isolation_(config.isolation),
          network_path_(config.network),
          callbacks_(std::move(callbacks)) {}
    MachineMicrovm(const MachineMicrovm&) = delete;
    MachineMicrovm& operator=(const MachineMicrovm&) = delete;
    MachineMicrovm(MachineMicrovm&&) = delete;
    MachineMicrovm& operator=(MachineMicrovm&&) = delete;
    ~MachineMicrovm() override {
        if (channel_) {
            channel_->close();
        }
    }

    Result<void> prepare(const std::optional<RootSource>& root);

    runtime::GuestClient& guest() override { return *guest_; }
    void connect_streams(const runtime::StreamNumbers& numbers,
                         runtime::OnResult<Connected> done) override;
    void add_root(const RootSource& root, runtime::OnResult<RootDisks> done) override;
    void remove_root(const RootDisks& disks, runtime::OnResult<void> done) override;
    int pid() const override { return machine_ ? machine_->pid() : 0; }
    void shut_down() override;
    void kill(const std::string& reason) override;

private:
    Result<void> make_images(const std::optional<RootSource>& root);
    Result<void> share_files(const std::optional<RootSource>& root);
    void start();
    void add_disks(const RootSource& root, runtime::OnResult<RootDisks> done);
    void on_image(const char* doing, Result<Fd> image, const std::function<void(Fd)>& keep);
    void on_shared(const Result<void>& shared);
    void on_files_end(bool is_orderly, const std::string& reason);
    void start_if_ready();
    Result<void> start_machine();
    void on_ready();
    Result<void> on_api(Fd socket);
    void on_link_lost(const Error& error);
    Result<void> join_network(MachineWish& wish);
    void update_network();
    void attach_networks(std::vector<vmm::DeviceConfig> devices);
    void configure_network(runtime::OnResult<void> done);
    void on_described(const Result<runtime::GuestDescription>& guest);
    void on_machine_end(const MachineEnd& end);
    std::string image_place() const { return spec_.data + "/tmp"; }

    EventLoop& loop_;
    const runtime::PodSpec& spec_;
    const PodDirectory& directory_;
    Isolation isolation_;
    std::string network_path_;
    Callbacks callbacks_;
    std::unique_ptr<DiskImage> packing_;
    std::unique_ptr<DiskImage> formatting_;  // where there is a scratch disk
    std::optional<Bytes> scratch_size_;
    std::vector<Fd> root_parts_;                    // once it is made
    std::optional<runtime::ImageRoot> root_image_;  // that it is, where it is one
    Fd scratch_image_;
    std::unique_ptr<HostFiles> files_;     // where the pod has files of the host
    int preparations_ = 0;                 // that are not done
    std::unique_ptr<PodNetwork> network_;  // where there is one
    runtime::NetworkConfig network_config_;
    bool is_updating_network_ = false;
    bool has_network_changed_ = false;  // while it was being updated
    std::unique_ptr<ReadyListener> ready_;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<GuestConnect> api_connect_;
    std::shared_ptr<runtime::Channel> channel_;
    std::unique_ptr<runtime::GuestClient> guest_;
    LoopClock clock_{loop_};
    std::unique_ptr<AttachedRoots> roots_;  // once the guest answers
    EventLoop::Timer pause_;
    bool is_over_ = false;
    std::string blame_;  // why we ended the machine, where we did
};

Result<void> MachineMicrovm::prepare(const std::optional<RootSource>& root) {
    TRY(make_directory(image_place(), 0700));  // of disks that come later, too
    if (spec_.packs_roots || (root && root->is_disk())) {
        TRY(make_images(root));
    }
    // Containers that come later may have files of the host where the first one has none.
    const bool is_for_more = spec_.end == runtime::PodEnd::WhenStopped;
    if (is_for_more || !root || !root->shared.empty()) {
        TRY(share_files(root), "share the host's files");
    }
    if (preparations_ == 0) {
        // Later: the owner does not hold us yet.
        pause_ = loop_.after(seconds(0), [this] { start(); });
    }
    return {};
}

Result<void> MachineMicrovm::make_images(const std::optional<RootSource>& root) {
    const std::string place = image_place();
    if (root && root->image) {
        root_parts_ = TRY(open_image_parts(*root->image));
        root_image_ = root->image;
    } else if (root) {
        packing_ = TRY(DiskImage::pack(loop_, root->path, place,
                                       [this](Result<Fd> image) {
                                           on_image(kPacking, std::move(image), [this](Fd disk) {
                                               root_parts_.push_back(std::move(disk));
                                           });
                                       }),
                       kPacking);
        ++preparations_;
    }
    if (root) {
        scratch_size_ = root->scratch;
    } else if (spec_.scratch_mib != 0) {
        scratch_size_ = Bytes(spec_.scratch_mib << 20U);
    }
    if (scratch_size_) {
        formatting_ = TRY(
            DiskImage::format(loop_, *scratch_size_, place,
                              [this](Result<Fd> image) {
                                  on_image(kFormatting, std::move(image),
                                           [this](Fd disk) { scratch_image_ = std::move(disk); });
                              }),
            kFormatting);
        ++preparations_;
    }
    return {};
}

Result<void> MachineMicrovm::share_files(const std::optional<RootSource>& root) {
    files_ =
        TRY(HostFiles::start(loop_, directory_, [this](bool is_orderly, const std::string& reason) {
            on_files_end(is_orderly, reason);
        }));
    if (root && !root->shared.empty()) {
        ++preparations_;
        files_->attach(root->container, root->shared,
                       [this](const Result<void>& shared) { on_shared(shared); });
    }
    return {};
}

void MachineMicrovm::on_image(const char* doing, Result<Fd> image,
                              const std::function<void(Fd)>& keep) {
    if (!image) {
        return kill(std::string(doing) + ": " + image.error().message());
    }
    keep(*std::move(image));
    start_if_ready();
}

void MachineMicrovm::on_shared(const Result<void>& shared) {
    if (!shared) {
        return kill("share the host's files: " + shared.error().message());
    }
    start_if_ready();
}

// The machine's own end is the reason where it ended first: then virtiofsd ends, too.
void MachineMicrovm::on_files_end(bool is_orderly, const std::string& reason) {
    if (!is_orderly) {
        return kill(reason);
    }
    pause_ = loop_.after(kReasonDeadline, [this, reason] { kill(reason); });
}

void MachineMicrovm::start_if_ready() {
    if (--preparations_ == 0 && blame_.empty()) {
        start();
    }
}

void MachineMicrovm::start() {
    if (const Result<void> started = start_machine(); !started) {
        kill("start the microVM: " + started.error().message());
    }
}

void MachineMicrovm::add_root(const RootSource& root, runtime::OnResult<RootDisks> done) {
    if (root.shared.empty()) {
        return roots_->add(root, std::move(done));
    }
    if (!files_) {
        return done(Error(Code::Unsupported, "this pod began without files of the host"));
    }
    files_->attach(root.container, root.shared,
                   [this, root, done = std::move(done)](Result<void> shared) mutable {
                       if (!shared) {
                           return done(std::move(shared).error());
                       }
                       if (!root.is_disk()) {
                           return done(RootDisks{.tree = root.container});
                       }
                       add_disks(root, std::move(done));
                   });
}

/// To files that are shared already.
void MachineMicrovm::add_disks(const RootSource& root, runtime::OnResult<RootDisks> done) {
    roots_->add(root, [this, tree = root.container,
                       done = std::move(done)](Result<RootDisks> disks) mutable {
        if (disks) {
            disks->tree = tree;
            return done(std::move(disks));
        }
        files_->detach(tree, [done = std::move(done), why = std::move(disks).error()](
                                 const Result<void>&) mutable { done(std::move(why)); });
    });
}

void MachineMicrovm::remove_root(const RootDisks& disks, runtime::OnResult<void> done) {
    auto detach = [this, tree = disks.tree, done = std::move(done)](Result<void> removed) mutable {
        if (!removed || tree.empty()) {
            return done(std::move(removed));
        }
        files_->detach(tree, std::move(done));
    };
    // The machine's own disks stay.
    if (disks.root_serial.empty()) {
        return detach({});
    }
    roots_->remove(disks, std::move(detach));
}

Result<void> MachineMicrovm::start_machine() {
    const std::string guest = spec_.data + "/guest";
    const std::string kernels = spec_.data + "/kernels";
    TRY(make_directory(kernels, 0700));
    const std::string vmm = spec_.vmm.empty() ? TRY(find_vmm()) : spec_.vmm;
    MachineWish wish;
    wish.isolation = isolation_;
    wish.memory = machine_memory(spec_);
    wish.vcpus = static_cast<std::uint32_t>(largest_size(spec_).cpus);
    wish.vcpus_online = static_cast<std::uint32_t>(spec_.vcpus);
    wish.kernel_words = TRY(read_guest_words(guest + "/command-line"));
    wish.kernel = TRY(vmm::open_vmlinux(guest + "/vmlinuz", kernels), "guest kernel");
    wish.initrd = TRY(open_file((guest + "/initramfs.cpio").c_str(), O_RDONLY));
    if (isolation_ == Isolation::Kvm) {
        wish.kvm = TRY(open_file("/dev/kvm", O_RDWR));
    }
    if (!spec_.guest_console.empty()) {
        wish.console = TRY(open_console(spec_.guest_console));
    }
    wish.memory_file = TRY(make_memory(wish.memory, directory_.machine_user()));
    Fd vsock = TRY(directory_.listen_in_machine(kVsockName));
    if (files_) {
        wish.files = files_->take_socket();
    }
    wish.devices = boot_devices({.root = std::move(root_parts_),
                                 .scratch = std::move(scratch_image_),
                                 .scratch_size = scratch_size_,
                                 .vsock = std::move(vsock)});
    TRY(join_network(wish), "network");
    const std::string ready_name =
        std::string(kVsockName) + "_" + std::to_string(runtime::kHostReadyPort);
    ready_ = TRY(ReadyListener::create(loop_, TRY(directory_.listen_in_machine(ready_name)),
                                       [this] { on_ready(); }));
    machine_ = TRY(Machine::start(
        loop_, plan_machine(std::move(wish)),
        {.vmm = vmm,
         .qemu = spec_.qemu,
         .directory = directory_.machine_path(),
         .user = directory_.machine_user(),
         .listen = [this](const std::string& name) { return directory_.listen_in_machine(name); }},
        [this](const MachineEnd& end) { on_machine_end(end); }));
    callbacks_.on_boot();
    return {};
}

// As late as can be: whoever makes the interfaces has had the time to.
Result<void> MachineMicrovm::join_network(MachineWish& wish) {
    if (network_path_.empty()) {
        return {};
    }
    network_ = TRY(PodNetwork::open(network_path_));
    PodNetwork::Joined joined = TRY(network_->join(wish.vcpus));
    std::ranges::move(joined.devices, std::back_inserter(wish.devices));
    network_config_ = std::move(joined.config);
    return network_->watch(loop_, [this] { update_network(); });
}

void MachineMicrovm::on_ready() {
    api_connect_ = GuestConnect::start(loop_,
                                       {.directory = directory_.machine_fd(),
                                        .name = kVsockName,
                                        .port = runtime::kGuestApiPort,
                                        .deadline = kConnectDeadline},
                                       [this](Result<Fd> socket) {
                                           Result<void> linked =
                                               socket ? on_api(*std::move(socket))
                                                      : Result<void>(std::move(socket).error());
                                           if (!linked) {
                                               on_link_lost(linked.error());
                                           }
                                       });
}

Result<void> MachineMicrovm::on_api(Fd socket) {
    channel_ = TRY(runtime::Channel::create(
        loop_, std::move(socket),
        {.on_call = {}, .on_closed = [this](const Error& error) { on_link_lost(error); }}));
    guest_ = std::make_unique<runtime::GuestClient>(channel_);
    ready_.reset();  // it was init's; what a container says there later is nothing
    guest_->describe(kConnectDeadline, [this](const Result<runtime::GuestDescription>& guest) {
        on_described(guest);
    });
    return {};
}

void MachineMicrovm::on_described(const Result<runtime::GuestDescription>& guest) {
    if (!guest) {
        return on_link_lost(guest.error());
    }
    log::info("guest is up", {{"kernel", guest->kernel_release}, {"init", guest->version}});
    roots_ = std::make_unique<AttachedRoots>(
        loop_, clock_,
        AttachedRoots::Ways{
            .attach =
                [this](vmm::DeviceConfig device, runtime::OnResult<std::string> done) {
                    machine_->attach(std::move(device), std::move(done));
                },
            .detach =
                [this](std::string id, runtime::OnResult<void> done) {
                    machine_->detach(std::move(id), std::move(done));
                },
            .open_image = open_image_parts,
            .guest = *guest_},
        AttachedRoots::Options{.place = image_place(),
                               .has_scratch = scratch_size_.has_value(),
                               .first_image = root_image_});
    if (!network_) {
        return callbacks_.on_up();
    }
    configure_network([this](const Result<void>& configured) {
        if (!configured) {
            return kill("configure the guest's network: " + configured.error().message());
        }
        callbacks_.on_up();
    });
}

void MachineMicrovm::configure_network(runtime::OnResult<void> done) {
    is_updating_network_ = true;
    guest_->configure_network(network_config_,
                              [this, done = std::move(done)](Result<void> configured) mutable {
                                  is_updating_network_ = false;
                                  const bool again = std::exchange(has_network_changed_, false);
                                  done(std::move(configured));
                                  if (again) {
                                      update_network();
                                  }
                              });
}

/// What was added to the network namespace since the guest was last told of it.
void MachineMicrovm::update_network() {
    if (is_over_ || !blame_.empty()) {
        return;
    }
    if (is_updating_network_ || !guest_) {
        has_network_changed_ = true;
        return;
    }
    Result<PodNetwork::Joined> joined = network_->join(static_cast<std::uint32_t>(spec_.vcpus));
    if (!joined) {
        return log::warn("the guest's network is out of date",
                         {{"error", joined.error().message()}});
    }
    if (joined->devices.empty() && joined->config == network_config_) {
        return;
    }
    network_config_ = std::move(joined->config);
    is_updating_network_ = true;
    attach_networks(std::move(joined->devices));
}

/// One after the other, then all are found and configured.
void MachineMicrovm::attach_networks(std::vector<vmm::DeviceConfig> devices) {
    const auto log_failure = [](const Result<void>& configured) {
        if (!configured) {
            log::warn("the guest's network is out of date",
                      {{"error", configured.error().message()}});
        }
    };
    if (devices.empty()) {
        return guest_->rescan([this, log_failure](const Result<void>& found) {
            log_failure(found);
            configure_network(log_failure);
        });
    }
    vmm::DeviceConfig device = std::move(devices.back());
    devices.pop_back();
    const std::string id = device.id;
    machine_->attach(std::move(device), [this, id, devices = std::move(devices)](
                                            const Result<std::string>& attached) mutable {
        if (!attached) {
            log::warn("an interface is not attached",
                      {{"device", id}, {"error", attached.error().message()}});
            network_->leave(id);
        }
        attach_networks(std::move(devices));
    });
}

void MachineMicrovm::on_link_lost(const Error& error) {
    pause_ = loop_.after(kReasonDeadline, [this, message = error.message()] {
        kill("guest link lost: " + message);
    });
}

void MachineMicrovm::kill(const std::string& reason) {
    packing_.reset();  // a program that still runs is ended
    formatting_.reset();
    if (is_over_) {
        return;
    }
    if (blame_.empty()) {
        blame_ = reason;
    }
    if (machine_) {
        return machine_->kill();
    }
    // Later, because the owner may not hold us yet, or gives us up in the call.
    pause_ = loop_.after(seconds(0), [this] { on_machine_end({}); });
}

void MachineMicrovm::on_machine_end(const MachineEnd& end) {
    is_over_ = true;
    pause_.cancel();
    const std::string reason = blame_.empty() ? end.reason : blame_;
    // The callback gives this object up.
    auto on_down = std::move(callbacks_.on_down);
    on_down(reason);
}

void MachineMicrovm::shut_down() {
    if (!guest_) {
        return kill("shut down");
    }
    // Whatever the answer, what counts is that the machine ends.
    guest_->shutdown(kAnswerDeadline, [](const Result<void>&) {});
}

void MachineMicrovm::connect_streams(const runtime::StreamNumbers& numbers,
                                     runtime::OnResult<Connected> done) {
    auto connecting = std::make_shared<Connecting>();
    connecting->done = std::move(done);
    connecting->left = 1;  // this function's own, so that nothing ends before all have begun
    const std::array<std::uint64_t, 3> wanted{numbers.in, numbers.out, numbers.err};
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i] == 0) {
            continue;
        }
        ++connecting->left;
        connecting->connects[i] = GuestConnect::start(
            loop_,
            {.directory = directory_.machine_fd(),
             .name = kVsockName,
             .port = runtime::kGuestStreamPort,
             .deadline = kConnectDeadline},
            // Shared between the three connections and this call; the last of them answers.
            [connecting, i, number = wanted[i]](Result<Fd> socket) {
                if (socket) {
                    // A new connection has room for eight bytes.
                    const auto sent =
                        send_some(socket->ref(), std::as_bytes(std::span(&number, 1)));
                    connecting->fds[i] = *std::move(socket);
                    if (!sent) {
                        connecting->error = Error(sent.error().code(), sent.error().message());
                    }
                } else {
                    connecting->error = std::move(socket).error().within("connect a stream");
                }
                finish_one(*connecting);
            });
    }
    finish_one(*connecting);
}

}  // namespace

namespace {

bool has_option(const runtime::MountSpec& mount, std::string_view option) {
    return std::ranges::find(mount.options, option) != mount.options.end();
}

}  // namespace

std::optional<runtime::ImagePath> image_of(const runtime::MountSpec& mount) {
    return mount.type == runtime::MountSpec::kImage ? runtime::image_path(mount.source)
                                                    : std::nullopt;
}

std::vector<SharedPath> shared_paths(const runtime::Bundle& bundle, bool is_disk) {
    std::vector<SharedPath> paths;
    if (!is_disk) {
        // As runc refuses links there. Read-only it is in the guest, once it has all mount points.
        paths.push_back({.name = kRootName,
                         .source = bundle.root_path,
                         .access = SharedPath::Access::ReadWrite,
                         .links = SharedPath::Links::Refused});
    }
    const std::vector<runtime::MountSpec>& mounts = bundle.container.mounts;
    for (std::size_t i = 0; i < mounts.size(); ++i) {
        if (mounts[i].type != "bind") {
            continue;
        }
        const auto has = [&mount = mounts[i]](std::string_view option) {
            return has_option(mount, option);
        };
        using Access = SharedPath::Access;
        paths.push_back({.name = std::to_string(i),
                         .source = mounts[i].source,
                         .access = has("rro")  ? Access::ReadOnlyBelow
                                   : has("ro") ? Access::ReadOnly
                                               : Access::ReadWrite,
                         .has_submounts = has("rbind"),
                         .follows_host = has("slave") || has("rslave"),
                         .uid_mappings = mounts[i].uid_mappings,
                         .gid_mappings = mounts[i].gid_mappings});
    }
    return paths;
}

void place_root(runtime::ContainerSpec& container, const RootDisks& disks) {
    const auto in_tree = [&disks](const std::string& name) {
        return runtime::TreePath{.tag = kFilesTag, .path = disks.tree + "/" + name};
    };
    runtime::RootSpec& root = container.root;
    if (disks.root_serial.empty()) {
        root.tree = in_tree(kRootName);
        root.written_to = runtime::WrittenTo::InPlace;
    } else {
        root.disk = runtime::DiskId{.serial = disks.root_serial};
    }
    if (!disks.scratch_serial.empty()) {
        root.written_to = runtime::WrittenTo::ScratchDisk;
        root.scratch_disk.serial = disks.scratch_serial;
        root.scratch_directory = container.id;  // the disk is the pod's
    }
    // What the host has mounted below a read-only bind is as it is there, but the guest would make
    // it read-only with the bind. So that is left to the host.
    const std::string mounted = read_file("/proc/self/mountinfo").value_or("");
    for (std::size_t i = 0; i < container.mounts.size(); ++i) {
        runtime::MountSpec& mount = container.mounts[i];
        if (mount.type == "bind") {
            mount.tree = in_tree(std::to_string(i));
            const bool is_deep = has_option(mount, "rro");
            if (!is_deep && (has_submounts(mounted, mount.source) || has_option(mount, "rslave"))) {
                std::erase(mount.options, "ro");
            }
        } else if (const auto image = image_of(mount)) {
            mount.disk = runtime::DiskId{.serial = disks.volumes.at(image->id)};
            mount.source = image->path;
        }
    }
}

RootDisks first_root_disks(const RootSource& root) {
    return {.root_serial = root.is_disk() ? kRootDiskSerial : "",
            .scratch_serial = root.scratch ? kScratchDiskSerial : "",
            .tree = root.shared.empty() ? "" : root.container};
}

Result<std::unique_ptr<Microvm>> start_microvm(EventLoop& loop, const MicrovmConfig& config,
                                               Microvm::Callbacks callbacks) {
    if (config.isolation == Isolation::Process) {
        return start_host_machine(loop, config, std::move(callbacks));
    }
    auto microvm = std::make_unique<MachineMicrovm>(loop, config, std::move(callbacks));
    TRY(microvm->prepare(config.root));
    return microvm;
}

}  // namespace pepita::shim
