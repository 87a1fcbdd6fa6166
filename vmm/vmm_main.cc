#include <signal.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "storage/file_ring.h"
#include "vmm/control.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"
#include "vmm/kvm_guest.h"
#include "vmm/machine_config.h"
#include "vmm/sandbox.h"
#include "vmm/served_devices.h"

namespace pepita::vmm {
namespace {

/// The filter comes last of all that is prepared, and before anything a guest could do.
Result<ExitReason> run(MachineConfig config) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    // One for all disks, also those that are attached later.
    const std::unique_ptr<storage::FileRing> files = TRY(storage::FileRing::create(*loop));
    const DeviceSurroundings around{.loop = *loop, .files = *files};
    ExitReason reason = ExitReason::InternalError;
    const auto on_end = [&](ExitReason why) {
        reason = why;
        loop->stop();
    };
    std::optional<NumberedFd> control_socket = std::move(config.control);
    std::unique_ptr<KvmGuest> guest;
    std::unique_ptr<ServedDevices> served;
    if (config.kvm) {
        guest = TRY(KvmGuest::create(around, std::move(config)));
        TRY(guest->start(on_end));
    } else {
        served = std::make_unique<ServedDevices>(around, on_end);
        for (DeviceConfig& device : config.devices) {
            (void)TRY(served->attach(std::move(device)));
        }
    }
    std::unique_ptr<Control> control;
    if (control_socket) {
        DeviceHost& host = guest ? static_cast<DeviceHost&>(*guest) : *served;
        control = TRY(Control::create(*loop, std::move(control_socket->fd), host), "control");
    }
    TRY(sandbox::enter_device_loop(guest ? sandbox::Duty::Machine : sandbox::Duty::FrontEnds));
    if (guest) {
        guest->boot();
    }
    TRY(loop->run());
    return reason;
}

Result<MachineConfig> read_config(std::span<const std::string> arguments) {
    MachineConfig config = TRY(parse_arguments(arguments));
    TRY(claim_fds(config, [](int number) { return Fd(number); }));
    return config;
}

ExitReason vmm_main(std::span<const std::string> arguments) {
    (void)::signal(SIGPIPE, SIG_IGN);
    Result<MachineConfig> config = read_config(arguments);
    if (!config) {
        log::error("bad command line", {{"error", config.error().message()}});
        return ExitReason::Usage;
    }
    const Result<ExitReason> reason = run(*std::move(config));
    if (!reason) {
        log::error("machine not started", {{"error", reason.error().message()}});
        return ExitReason::InternalError;
    }
    return *reason;
}

}  // namespace
}  // namespace pepita::vmm

#if defined(__SANITIZE_ADDRESS__)
// A search for leaks needs a tracer, and the filter forbids one.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    return static_cast<int>(pepita::vmm::vmm_main(arguments));
}
