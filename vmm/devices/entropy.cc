#include "vmm/devices/entropy.h"

#include <array>
#include <memory>

#include "kernel-abi/sys/result.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"
#include "vmm/entropy/device.h"

namespace pepita::vmm {
namespace {

Result<MadeDevice> make(DeviceConfig& /*device*/, const DeviceSurroundings& around) {
    return MadeDevice{.device = std::make_unique<Entropy>(around.loop), .resize = {}};
}

}  // namespace

constinit const DeviceKindRow kEntropyKind = {.name = "entropy",
                                              .fds = 0,
                                              .more_fds = 0,
                                              .qemu_device = "vhost-user-rng-pci",
                                              .qemu_options = nullptr,
                                              .qemu_netdev = nullptr,
                                              .defaults = default_kind<EntropyConfig>,
                                              .parse = parse_fields<kCommonDeviceRules>,
                                              .print = print_fields<kCommonDeviceRules>,
                                              .make = make};

}  // namespace pepita::vmm
