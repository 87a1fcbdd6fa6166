#pragma once

#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "vmm/machine.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {

/// A machine with its kernel loaded and all its devices attached, as a MachineConfig asks.
/// Thread: that of `loop`.
class KvmGuest {
public:
    /// `loop` outlives the guest. Takes over the descriptors of devices (see make_devices());
    /// borrows the console's for its life, and the machine's own for the call.
    /// Errors: what is wrong with the kernel, the initrd, the memory, KVM or a device.
    static Result<std::unique_ptr<KvmGuest>> create(EventLoop& loop, const MachineConfig& config);
    KvmGuest(const KvmGuest&) = delete;
    KvmGuest& operator=(const KvmGuest&) = delete;
    KvmGuest(KvmGuest&&) = delete;
    KvmGuest& operator=(KvmGuest&&) = delete;
    ~KvmGuest();

    /// Starts the vCPU threads behind their system call filter. `on_end` is called once, on the
    /// loop.
    Result<void> start(Machine::OnEnd on_end);

    /// The guest's first instruction.
    void resume();

private:
    struct Parts;
    explicit KvmGuest(std::unique_ptr<Parts> parts);

    std::unique_ptr<Parts> parts_;
};

}  // namespace pepita::vmm
