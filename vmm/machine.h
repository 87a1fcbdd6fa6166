#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/kick_registry.h"
#include "vmm/bus/msi_sink.h"
#include "vmm/machine_config.h"
#include "vmm/vcpu.h"
#include "vmm/vhost_user/front_end.h"

namespace pepita::vmm {

/// A KVM virtual machine: RAM, processors with their local APICs, and two buses to hang devices on.
/// What is not here: an IOAPIC, timers, firmware. Interrupts are MSIs.
///
/// Thread: that of `loop`, which runs every device. vCPUs answer their exits themselves where the
/// buses can (see BusTarget); the others are the loop's.
class Machine final : public MsiSink, public KickRegistry {
public:
    struct Options {
        FdRef kvm;  // borrowed for create()
        Bytes memory;
        /// A file of that size (create_memory_file()), borrowed for create(). Without one the
        /// machine makes its own.
        std::optional<FdRef> ram_file = std::nullopt;
        std::uint32_t vcpus = 1;
    };
    using OnEnd = std::move_only_function<void(ExitReason)>;

    /// `loop` is borrowed for the machine's life. Errors: KVM's, naming the call; Unsupported for a
    /// KVM without a split irqchip.
    static Result<std::unique_ptr<Machine>> create(EventLoop& loop, const Options& options);
    ~Machine() override;
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    Machine(Machine&&) = delete;
    Machine& operator=(Machine&&) = delete;

    const virtio::GuestMemory& memory() const { return memory_; }
    /// For the servers of devices.
    const LentMemory& lent_memory() const { return lent_memory_; }
    AddressMap& mmio() { return mmio_; }
    AddressMap& ports() { return ports_; }

    void send(std::uint64_t address, std::uint32_t data) override;
    Result<void> add(virtio::GuestAddress at, FdRef eventfd) override;
    void remove(virtio::GuestAddress at, FdRef eventfd) override;

    /// Where processor 0 begins; the others wait for it to wake them.
    Result<void> set_entry(virtio::GuestAddress entry, virtio::GuestAddress start_info);

    /// Starts the vCPU threads, each of which calls `prepare`; the machine is paused then. Where
    /// `prepare` fails the machine ends at resume(), without an instruction of the guest.
    /// `on_end` is called once, on the loop, and may not destroy the machine.
    Result<void> start(Vcpu::Prepare prepare, OnEnd on_end);

    /// Lets the guest run: from its first instruction, or from where pause() found it.
    void resume();

    /// Returns when no vCPU is in the guest. Devices go on: what they have in flight completes, and
    /// exits that the loop has to answer are answered.
    void pause();

    /// Ends the vCPU threads. To be called before a device on the buses goes. They cannot start
    /// again.
    void stop();

    /// The guest is over: a device says so (reset, power-off), or a vCPU did.
    void end(ExitReason reason);

private:
    struct Ram;
    Machine(EventLoop& loop, Fd vm, Ram ram, virtio::GuestMemory memory);
    static Result<Ram> make_ram(const Options& options);
    Result<void> add_memory_slots();
    Result<void> add_vcpus(FdRef kvm, std::uint32_t count);
    void on_exit(Vcpu& vcpu);
    bool answer(VcpuExit& exit) const;
    void answer_on_loop(const VcpuExit& exit) const;
    const AddressMap& bus_of(const VcpuExit& exit) const;
    Result<void> set_kick(virtio::GuestAddress at, FdRef eventfd, std::uint32_t flags);

    EventLoop& loop_;
    Fd vm_;
    Fd ram_file_;
    std::vector<Mapping> ram_;
    virtio::GuestMemory memory_;
    LentMemory lent_memory_;
    AddressMap mmio_;
    AddressMap ports_;
    OnEnd on_end_;
    bool is_over_ = false;
    bool is_paused_ = true;
    std::vector<std::unique_ptr<Vcpu>> vcpus_;
    std::vector<EventLoop::Watch> watches_;
};

}  // namespace pepita::vmm
