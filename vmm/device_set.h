#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/device.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {

/// A device of a MachineConfig, and the front end that it serves where it is on no bus of ours.
struct ConfiguredDevice {
    std::string name;  // for messages: "disk 'rootfs'"
    std::unique_ptr<virtio::Device> device;
    Fd front_end;  // none: on our PCI bus
};

/// All devices that `config` asks for, in the order in which a guest enumerates them. Takes over
/// the descriptors that their part of the config names. `loop` outlives them.
/// Errors: what is wrong with a disk's file or a socket, naming the device.
Result<std::vector<ConfiguredDevice>> make_devices(EventLoop& loop, const MachineConfig& config);

}  // namespace pepita::vmm
