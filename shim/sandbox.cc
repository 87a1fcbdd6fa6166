#include "shim/sandbox.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"
#include "shim/disk_image.h"
#include "shim/guest_link.h"
#include "shim/isolation.h"
#include "shim/jail.h"
#include "shim/kernel_command_line.h"
#include "shim/machine.h"
#include "shim/machine_plan.h"
#include "shim/options.h"
#include "shim/pod_directory.h"
#include "vmm/host/kernel_cache.h"

namespace pepita::shim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kConnectDeadline = seconds(30);
constexpr milliseconds kPowerOffDeadline = seconds(10);
// How long the machine's own reason is waited for once its link is gone.
constexpr milliseconds kReasonDeadline = seconds(2);

constexpr const char* kPacking = "pack the root file system";
constexpr const char* kFormatting = "make the scratch disk";

// Up to three connections on their way. It lives in their callbacks, and outlives a sandbox that
// ends meanwhile.
struct Connecting {
    std::array<std::unique_ptr<GuestConnect>, 3> connects;
    std::array<Fd, 3> fds;
    std::optional<Error> error;
    int left = 0;
    runtime::OnResult<Sandbox::Connected> done;
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
        Sandbox::Connected{.in = std::move(in), .out = std::move(out), .err = std::move(err)});
}

}  // namespace

Sandbox::Sandbox(EventLoop& loop, const Options& options, const PodDirectory& directory,
                 Isolation isolation, Callbacks callbacks)
    : loop_(loop),
      options_(options),
      directory_(directory),
      isolation_(isolation),
      callbacks_(std::move(callbacks)) {}

Sandbox::~Sandbox() {
    if (channel_) {
        channel_->close();
    }
}

Result<std::unique_ptr<Sandbox>> Sandbox::start(EventLoop& loop, const Options& options,
                                                const PodDirectory& directory, const Disks& disks,
                                                const ChosenIsolation& isolation,
                                                Callbacks callbacks) {
    std::unique_ptr<Sandbox> sandbox(
        new Sandbox(loop, options, directory, isolation.isolation, std::move(callbacks)));
    TRY(sandbox->make_images(disks));
    return sandbox;
}

Result<void> Sandbox::make_images(const Disks& disks) {
    const std::string place = options_.data + "/tmp";
    TRY(make_directory(place, 0700));
    packing_ = TRY(DiskImage::pack(loop_, disks.root_path, place,
                                   [this](Result<Fd> image) {
                                       on_image(root_image_, kPacking, std::move(image));
                                   }),
                   kPacking);
    scratch_size_ = disks.scratch;
    if (disks.scratch) {
        formatting_ =
            TRY(DiskImage::format(loop_, *disks.scratch, place,
                                  [this](Result<Fd> image) {
                                      on_image(scratch_image_, kFormatting, std::move(image));
                                  }),
                kFormatting);
    }
    return {};
}

void Sandbox::on_image(Fd& place, const char* doing, Result<Fd> image) {
    if (!image) {
        return give_up(std::string(doing) + ": " + image.error().message());
    }
    place = *std::move(image);
    const bool has_all = root_image_ && (scratch_image_ || !scratch_size_);
    if (!has_all || !blame_.empty()) {
        return;
    }
    if (const Result<void> started = start_machine(); !started) {
        give_up("start the microVM: " + started.error().message());
    }
}

Result<void> Sandbox::start_machine() {
    const std::string guest = options_.data + "/guest";
    const std::string kernels = options_.data + "/kernels";
    TRY(make_directory(kernels, 0700));
    MachineFiles files;
    files.kernel = TRY(vmm::open_vmlinux(guest + "/vmlinuz", kernels), "guest kernel");
    files.initrd = TRY(open_file((guest + "/initramfs.cpio").c_str(), O_RDONLY));
    files.root_disk = std::move(root_image_);
    files.scratch_base = std::move(scratch_image_);
    const JailUser user = jail_user(::getpid());
    files.vsock_listener = TRY(directory_.listen_in_machine(kVsockName, user));
    const std::string ready_name =
        std::string(kVsockName) + "_" + std::to_string(runtime::kHostReadyPort);
    ready_ = TRY(ReadyListener::create(loop_, TRY(directory_.listen_in_machine(ready_name, user)),
                                       [this] { on_ready(); }));
    if (isolation_ == Isolation::Kvm) {
        files.kvm = TRY(open_file("/dev/kvm", O_RDWR));
    }
    if (!options_.guest_console.empty()) {
        files.console = TRY(open_file(options_.guest_console.c_str(), O_WRONLY | O_APPEND));
    }
    const MachinePlan plan =
        plan_machine({.isolation = isolation_,
                      .memory = options_.memory,
                      .vcpus = options_.vcpus,
                      .has_console = static_cast<bool>(files.console),
                      .kernel_words = TRY(read_guest_words(guest + "/command-line")),
                      .scratch = scratch_size_});
    machine_ = TRY(Machine::start(
        loop_, plan, std::move(files),
        {.vmm = options_.vmm, .qemu = options_.qemu, .directory = directory_.machine_path()},
        [this](const MachineEnd& end) { on_machine_end(end); }));
    deadline_ = loop_.after(options_.boot_deadline, [this] {
        give_up("the guest did not answer within " +
                std::to_string(options_.boot_deadline.count()) + " s");
    });
    return {};
}

void Sandbox::on_ready() {
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

Result<void> Sandbox::on_api(Fd socket) {
    channel_ = TRY(runtime::Channel::create(
        loop_, std::move(socket),
        {.on_call = {}, .on_closed = [this](const Error& error) { on_link_lost(error); }}));
    guest_ = std::make_unique<runtime::GuestClient>(channel_);
    guest_->describe(kConnectDeadline, [this](const Result<runtime::GuestDescription>& guest) {
        on_described(guest);
    });
    return {};
}

void Sandbox::on_described(const Result<runtime::GuestDescription>& guest) {
    if (!guest) {
        return on_link_lost(guest.error());
    }
    deadline_.cancel();
    log::info("guest is up", {{"kernel", guest->kernel_release}, {"init", guest->version}});
    if (auto on_up = std::exchange(callbacks_.on_up, nullptr)) {
        on_up({});
    }
}

void Sandbox::on_link_lost(const Error& error) {
    deadline_ = loop_.after(kReasonDeadline, [this, message = error.message()] {
        give_up("guest link lost: " + message);
    });
}

void Sandbox::give_up(const std::string& reason) {
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
    deadline_ = loop_.after(seconds(0), [this] { on_machine_end({}); });
}

void Sandbox::on_machine_end(const MachineEnd& end) {
    is_over_ = true;
    deadline_.cancel();
    const std::string reason = blame_.empty() ? end.reason : blame_;
    if (auto on_up = std::exchange(callbacks_.on_up, nullptr)) {
        on_up(Error(Code::Aborted, reason));
    }
    // The callback gives this object up.
    auto on_down = std::move(callbacks_.on_down);
    on_down(reason);
}

void Sandbox::shut_down() {
    if (!guest_) {
        return give_up("shut down");
    }
    deadline_ = loop_.after(kPowerOffDeadline, [this] { give_up("the guest did not power off"); });
    // Whatever the answer, what counts is that the machine ends.
    guest_->shutdown(kPowerOffDeadline, [](const Result<void>&) {});
}

void Sandbox::connect_streams(const runtime::StreamNumbers& numbers,
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

}  // namespace pepita::shim
