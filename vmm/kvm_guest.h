#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "vmm/control.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"
#include "vmm/machine.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {

/// A machine with its kernel loaded and its devices on a PCI bus. Devices are attached and detached
/// in the same way before the start and while the guest runs; it finds the latter by a rescan.
/// Thread: that of the loop.
class KvmGuest final : public DeviceHost {
public:
    /// What `around` has outlives the guest. Owns the descriptors of `config` from here on.
    /// Errors: what is wrong with the kernel, the initrd, the memory, KVM or a device.
    static Result<std::unique_ptr<KvmGuest>> create(const DeviceSurroundings& around,
                                                    MachineConfig config);
    KvmGuest(const KvmGuest&) = delete;
    KvmGuest& operator=(const KvmGuest&) = delete;
    KvmGuest(KvmGuest&&) = delete;
    KvmGuest& operator=(KvmGuest&&) = delete;
    ~KvmGuest() override;

    /// Starts the vCPU threads behind their system call filter. `on_end` is called once, on the
    /// loop.
    Result<void> start(Machine::OnEnd on_end);

    /// The guest's first instruction.
    void boot();

    Result<std::string> attach(DeviceConfig device) override;
    Result<void> detach(std::string_view id) override;
    Result<void> resize(std::string_view id, std::optional<Bytes> size) override;
    Result<void> pause() override;
    Result<void> resume() override;

private:
    struct Parts;
    explicit KvmGuest(std::unique_ptr<Parts> parts);

    std::unique_ptr<Parts> parts_;
};

}  // namespace pepita::vmm
