#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/pod_cgroup.h"
#include "shim/guest_clock.h"
#include "shim/microvm.h"
#include "shim/pod.h"

// What is other for a pod with a microVM than for one without.

namespace pepita::shim {

Result<void> Pod::enter_cgroup() {
    std::string place = spec_.cgroup;
    if (is_on_host()) {
        place = (place.empty() ? "/pepita-" + spec_.name : place).append(runtime::kRuntimeGroup);
    }
    if (!place.empty()) {
        cgroup_ = TRY(runtime::PodCgroup::enter(place), "cgroup '", place, "'");
    }
    return {};
}

void Pod::keep_clock() {
    guest_clock_ = GuestClock::create(clock_, microvm_->guest(), host_time);
    if (const Result<void> watched = guest_clock_->watch_host(loop_); !watched) {
        log::warn("a change of the host's clock is not noticed",
                  {{"error", watched.error().message()}});
    }
    guest_clock_->compare();
}

Result<void> Pod::check_mounts(const runtime::Bundle& bundle) const {
    for (const runtime::MountSpec& mount : bundle.container.mounts) {
        for (const std::string& option : mount.options) {
            if (!is_on_host() && (option == "shared" || option == "rshared")) {
                return Error(Code::Unsupported,
                             "mount '" + mount.destination + "': option '" + option +
                                 "': mounts of a microVM's guest do not reach the host");
            }
        }
    }
    return {};
}

}  // namespace pepita::shim
