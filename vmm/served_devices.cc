#include "vmm/served_devices.h"

#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "vmm/device_set.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {

Result<std::unique_ptr<ServedDevices>> ServedDevices::create(EventLoop& loop,
                                                             const MachineConfig& config,
                                                             OnEnd on_end) {
    std::unique_ptr<ServedDevices> served(new ServedDevices(std::move(on_end)));
    served->devices_ = TRY(make_devices(loop, config));
    for (ConfiguredDevice& configured : served->devices_) {
        auto on_gone = [&self = *served, name = configured.name](const Error& why) {
            if (why.code() != Code::Unavailable) {
                log::error("front end dropped", {{"device", name}, {"error", why.message()}});
                return self.on_end_(ExitReason::InternalError);
            }
            self.on_end_(ExitReason::FrontEndGone);
        };
        served->transports_.push_back(
            TRY(virtio::VhostUserTransport::create(loop, std::move(configured.front_end),
                                                   *configured.device, std::move(on_gone)),
                configured.name));
    }
    return served;
}

}  // namespace pepita::vmm
