#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "vmm/device_set.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {

/// The devices of a machine that is elsewhere: each serves the vhost-user front end it is told.
/// Thread: that of `loop`.
class ServedDevices {
public:
    using OnEnd = std::move_only_function<void(ExitReason)>;

    /// `loop` outlives this. `on_end` is called on the loop, for each front end that goes.
    /// Errors: those of make_devices() and of the transport, naming the device.
    static Result<std::unique_ptr<ServedDevices>> create(EventLoop& loop,
                                                         const MachineConfig& config, OnEnd on_end);

private:
    explicit ServedDevices(OnEnd on_end) : on_end_(std::move(on_end)) {}

    OnEnd on_end_;
    std::vector<ConfiguredDevice> devices_;
    std::vector<std::unique_ptr<virtio::VhostUserTransport>> transports_;
};

}  // namespace pepita::vmm
