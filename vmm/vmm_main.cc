#include <signal.h>

#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "vmm/kvm_guest.h"
#include "vmm/machine_config.h"
#include "vmm/sandbox.h"
#include "vmm/served_devices.h"

namespace pepita::vmm {
namespace {

/// The filter comes last of all that is prepared, and before anything a guest could say.
Result<ExitReason> run(const MachineConfig& config) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    ExitReason reason = ExitReason::InternalError;
    const auto on_end = [&](ExitReason why) {
        reason = why;
        loop->stop();
    };
    std::unique_ptr<KvmGuest> guest;
    std::unique_ptr<ServedDevices> served;
    if (config.kvm) {
        guest = TRY(KvmGuest::create(*loop, config));
        TRY(guest->start(on_end));
    } else {
        served = TRY(ServedDevices::create(*loop, config, on_end));
    }
    TRY(sandbox::enter_device_loop());
    if (guest) {
        guest->resume();
    }
    TRY(loop->run());
    return reason;
}

ExitReason vmm_main(std::span<const std::string> arguments) {
    (void)::signal(SIGPIPE, SIG_IGN);
    const Result<MachineConfig> config = parse_arguments(arguments);
    if (!config) {
        log::error("bad command line", {{"error", config.error().message()}});
        return ExitReason::Usage;
    }
    const Result<ExitReason> reason = run(*config);
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
