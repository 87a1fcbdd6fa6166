#include <signal.h>
#include <sys/reboot.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <memory>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/netlink.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/guest/clock.h"
#include "runtime/guest/guest_server.h"
#include "runtime/guest/machine_setup.h"
#include "runtime/guest/pci_devices.h"
#include "runtime/guest/pod_limits.h"
#include "runtime/guest/reaper.h"
#include "runtime/guest/stream_server.h"
#include "runtime/guest/vsock.h"
#include "runtime/guest_api.h"
#include "runtime/network.h"
#include "runtime/rpc/channel.h"

namespace {

using pepita::Error;
using pepita::EventLoop;
using pepita::Fd;
using pepita::Listener;
using pepita::Result;
using pepita::runtime::Channel;

namespace guest = pepita::runtime::guest;

// The host needs one.
constexpr std::size_t kChannelsMax = 16;

void power_off() {
    // Without sync(2): nothing that a guest writes outlives its machine.
    (void)::reboot(RB_POWER_OFF);
}

Result<std::unique_ptr<Listener>> listen(EventLoop& loop, std::uint32_t port,
                                         Listener::OnClient on_client) {
    return Listener::create(loop, TRY(guest::listen_vsock(port)), std::move(on_client),
                            {.accept = guest::accept_host, .on_pause = [](const Error& why) {
                                 pepita::log::warn("no client can be accepted for now",
                                                   {{"error", why.message()}});
                             }});
}

Result<void> say_ready() {
    const Fd host = TRY(guest::connect_host(pepita::runtime::kHostReadyPort));
    return pepita::write_all(host.ref(), "ready\n", "the host");
}

Result<void> prepare() {
    (void)::signal(SIGPIPE, SIG_IGN);
    TRY(guest::open_log());
    // A kernel may have all of them built in. One that does not is missed where it is needed.
    if (const auto loaded = guest::load_modules(guest::kModuleList); !loaded) {
        pepita::log::warn("no modules are loaded", {{"error", loaded.error().message()}});
    }
    TRY(guest::mount_file_systems());
    guest::raise_descriptor_limit();
    return guest::prepare_for_containers();
}

Result<void> serve() {
    const auto loop = TRY(EventLoop::create());
    guest::StreamServer streams(*loop);
    guest::GuestServer server(
        *loop, streams,
        {.version = PEPITA_VERSION,
         .staging_directory = guest::kStaging,
         .shared_directory = guest::kShared,
         .cgroup_directory = guest::kCgroup,
         .find_disk =
             [](const pepita::runtime::DiskId& disk) { return guest::find_disk(disk, "/sys"); },
         .rescan = [] { return guest::rescan_bus("/sys"); },
         .release =
             [](const pepita::runtime::DiskId& disk) {
                 return guest::release_device(disk, "/sys");
             },
         .configure_network = [](const pepita::runtime::NetworkConfig& config) -> Result<void> {
             auto netlink = TRY(pepita::Netlink::open());
             return configure_network(netlink, config);
         },
         .limit_pod =
             [](const pepita::runtime::ResourcesSpec& limits) {
                 return guest::limit_pod(limits, guest::kCgroup, "/sys");
             },
         .adjust_clock = guest::step_clock,
         .power_off = power_off});
    const auto reaper = TRY(guest::Reaper::create(
        *loop, [&server](pid_t pid, const pepita::ChildExit& exit) { server.on_exit(pid, exit); }));
    std::list<std::shared_ptr<Channel>> channels;
    const auto serving = TRY(listen(*loop, pepita::runtime::kGuestApiPort, [&](Fd client) {
        if (channels.size() == kChannelsMax) {
            pepita::log::warn("a client was turned away: too many are here", {});
            return;
        }
        const auto place = channels.emplace(channels.end());
        auto channel = Channel::create(
            *loop, std::move(client),
            {.on_call = [&server](Channel::Call call) { dispatch(server, std::move(call)); },
             .on_closed = [&channels, place](const Error&) { channels.erase(place); }});
        if (!channel) {
            channels.erase(place);
            return;
        }
        *place = *std::move(channel);
    }));
    const auto streaming = TRY(listen(*loop, pepita::runtime::kGuestStreamPort,
                                      [&](Fd client) { streams.add(std::move(client)); }));
    TRY(say_ready());
    return loop->run();
}

}  // namespace

int main() {
    Result<void> served = prepare();
    if (served) {
        served = serve();
    }
    if (!served) {
        pepita::log::error("the guest cannot go on", {{"error", served.error().message()}});
    }
    // The host learns it from the machine's end; PID 1 that returns would panic the kernel.
    power_off();
    return EXIT_FAILURE;
}
