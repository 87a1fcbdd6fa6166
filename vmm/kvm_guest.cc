#include "vmm/kvm_guest.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/boot/layout.h"
#include "vmm/boot/pvh.h"
#include "vmm/bus/acpi.h"
#include "vmm/bus/ioapic.h"
#include "vmm/bus/pci_host.h"
#include "vmm/bus/virtio_pci.h"
#include "vmm/device_set.h"
#include "vmm/legacy/reset.h"
#include "vmm/legacy/serial.h"
#include "vmm/machine.h"
#include "vmm/machine_config.h"
#include "vmm/sandbox.h"

namespace pepita::vmm {
namespace {

FdRef borrow(InheritedFd fd) { return FdRef(std::to_underlying(fd)); }

constexpr PciHost::Windows kPciWindows{
    .memory32 = {.start = layout::kMmio32Start, .size = layout::kMmio32Size},
    .memory64 = {.start = layout::kMmio64Start, .size = layout::kMmio64Size}};

Result<void> write_acpi(const virtio::GuestMemory& memory, const AcpiOptions& options) {
    const std::vector<std::byte> tables = acpi_tables(layout::kAcpiTables, options);
    std::ranges::copy(tables,
                      TRY(memory.span_at(layout::kAcpiTables, Bytes(tables.size()))).begin());
    return {};
}

}  // namespace

/// Members in the order of their needs: what stands below uses what stands above.
struct KvmGuest::Parts {
    explicit Parts(std::unique_ptr<Machine> made) : machine(std::move(made)) {}

    std::unique_ptr<Machine> machine;
    Ioapic ioapic{*machine};
    EndPorts end_ports{[this](ExitReason reason) { machine->end(reason); }};
    std::unique_ptr<Serial> serial;
    std::vector<ConfiguredDevice> devices;
    PciHost pci{machine->mmio(), kPciWindows};
};

KvmGuest::KvmGuest(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

// Devices go while no vCPU runs: nobody calls them, nothing reads what they leave.
KvmGuest::~KvmGuest() { parts_->machine->stop(); }

Result<std::unique_ptr<KvmGuest>> KvmGuest::create(EventLoop& loop, const MachineConfig& config) {
    CHECK(config.kvm.has_value());
    const KvmConfig& kvm = *config.kvm;
    auto parts = std::make_unique<Parts>(TRY(
        Machine::create(loop, {.kvm = borrow(kvm.kvm), .memory = kvm.memory, .vcpus = kvm.vcpus})));
    Machine& machine = *parts->machine;

    TRY(machine.mmio().add(layout::kIoapicStart, layout::kIoapicSize, parts->ioapic));
    TRY(machine.mmio().add(layout::kEcamStart, layout::kEcamSize, parts->pci.ecam()));
    TRY(parts->end_ports.attach(machine.ports()));
    if (kvm.console) {
        Ioapic& ioapic = parts->ioapic;
        parts->serial = TRY(Serial::create(loop, borrow(*kvm.console),
                                           [&ioapic](Ioapic::Level level) {
                                               ioapic.set_pin(layout::kSerialPin, level);
                                           }),
                            "console");
        TRY(machine.ports().add(layout::kSerialPort, layout::kSerialPorts, *parts->serial));
    }

    parts->devices = TRY(make_devices(loop, config));
    for (const ConfiguredDevice& configured : parts->devices) {
        const PciTransport::Surroundings surroundings{
            .loop = loop, .memory = machine.memory(), .messages = machine, .kicks = machine};
        auto transport =
            TRY(PciTransport::create(*configured.device, surroundings), configured.name);
        (void)TRY(parts->pci.add(std::move(transport)), configured.name);
    }

    TRY(write_acpi(machine.memory(), {.vcpus = kvm.vcpus, .has_serial = kvm.console.has_value()}));
    const BootSource source{
        .kernel = borrow(kvm.kernel),
        .initrd = kvm.initrd ? std::optional(borrow(*kvm.initrd)) : std::nullopt,
        .command_line = kvm.command_line};
    const BootEntry entry = TRY(load_pvh(machine.memory(), source), "load kernel");
    TRY(machine.set_entry(entry.entry, entry.start_info));
    return std::unique_ptr<KvmGuest>(new KvmGuest(std::move(parts)));
}

Result<void> KvmGuest::start(Machine::OnEnd on_end) {
    return parts_->machine->start(sandbox::enter_vcpu, std::move(on_end));
}

void KvmGuest::resume() { parts_->machine->resume(); }

}  // namespace pepita::vmm
