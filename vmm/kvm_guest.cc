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
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"
#include "vmm/legacy/reset.h"
#include "vmm/legacy/serial.h"
#include "vmm/machine.h"
#include "vmm/machine_config.h"
#include "vmm/sandbox.h"

namespace pepita::vmm {
namespace {

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

/// Members in the order of their needs: each uses what is declared above it.
struct KvmGuest::Parts {
    Parts(const DeviceSurroundings& lent, std::unique_ptr<Machine> made)
        : around(lent), machine(std::move(made)) {
        around.memory = &machine->lent_memory();
    }

    struct Attached {
        std::string id;
        MadeDevice made;
        PciTransport* transport = nullptr;  // the bus owns it
        PciAddress address{};
    };
    std::vector<Attached>::iterator find(std::string_view id) {
        return std::ranges::find(devices, id, &Attached::id);
    }

    DeviceSurroundings around;
    Fd console_file;
    std::unique_ptr<Machine> machine;
    Ioapic ioapic{*machine};
    EndPorts end_ports{[this](ExitReason reason) { machine->end(reason); }};
    std::unique_ptr<Serial> serial;
    std::vector<Attached> devices;
    bool is_paused = false;
    PciHost pci{machine->mmio(), kPciWindows};
};

KvmGuest::KvmGuest(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

// Devices are destroyed while no vCPU runs: nothing calls them, nothing reads what they leave.
KvmGuest::~KvmGuest() { parts_->machine->stop(); }

Result<std::unique_ptr<KvmGuest>> KvmGuest::create(const DeviceSurroundings& around,
                                                   MachineConfig config) {
    CHECK(config.kvm.has_value());
    KvmConfig& kvm = *config.kvm;
    Machine::Options options{.kvm = kvm.kvm.fd.ref(), .memory = kvm.memory, .vcpus = kvm.vcpus};
    if (kvm.memory_file) {
        options.ram_file = kvm.memory_file->fd.ref();
    }
    auto parts = std::make_unique<Parts>(around, TRY(Machine::create(around.loop, options)));
    Machine& machine = *parts->machine;

    TRY(machine.mmio().add(layout::kIoapicStart, layout::kIoapicSize, parts->ioapic));
    TRY(machine.mmio().add(layout::kEcamStart, layout::kEcamSize, parts->pci.ecam()));
    TRY(parts->end_ports.attach(machine.ports()));
    if (kvm.console) {
        parts->console_file = std::move(kvm.console->fd);
        Ioapic& ioapic = parts->ioapic;
        parts->serial = TRY(Serial::create(around.loop, parts->console_file.ref(),
                                           [&ioapic](Ioapic::Level level) {
                                               ioapic.set_pin(layout::kSerialPin, level);
                                           }),
                            "console");
        TRY(machine.ports().add(layout::kSerialPort, layout::kSerialPorts, *parts->serial));
    }
    std::unique_ptr<KvmGuest> guest(new KvmGuest(std::move(parts)));
    for (DeviceConfig& device : config.devices) {
        (void)TRY(guest->attach(std::move(device)));
    }

    TRY(write_acpi(machine.memory(), {.vcpus = kvm.vcpus, .has_serial = kvm.console.has_value()}));
    const BootSource source{
        .kernel = kvm.kernel.fd.ref(),
        .initrd = kvm.initrd ? std::optional(kvm.initrd->fd.ref()) : std::nullopt,
        .command_line = kvm.command_line};
    const BootEntry entry = TRY(load_pvh(machine.memory(), source), "load kernel");
    TRY(machine.set_entry(entry.entry, entry.start_info));
    return guest;
}

Result<void> KvmGuest::start(Machine::OnEnd on_end) {
    return parts_->machine->start(sandbox::enter_vcpu, std::move(on_end));
}

void KvmGuest::boot() { parts_->machine->resume(); }

Result<std::string> KvmGuest::attach(DeviceConfig device) {
    Parts& parts = *parts_;
    if (device.front_end) {
        return Error(Code::InvalidArgument, "'vhost-user' is for devices without --machine");
    }
    if (parts.find(device.id) != parts.devices.end()) {
        return Error(Code::AlreadyExists, name_of(device) + ": the id is used already");
    }
    const std::string name = name_of(device);
    MadeDevice made = TRY(make_device(device, parts.around));
    const PciTransport::Surroundings surroundings{.loop = parts.around.loop,
                                                  .memory = parts.machine->memory(),
                                                  .messages = *parts.machine,
                                                  .kicks = *parts.machine};
    auto transport = TRY(PciTransport::create(*made.device, surroundings), name);
    PciTransport* const borrowed = transport.get();
    const PciAddress address = TRY(parts.pci.add(std::move(transport)), name);
    parts.devices.push_back({.id = std::move(device.id),
                             .made = std::move(made),
                             .transport = borrowed,
                             .address = address});
    return to_string(address);
}

Result<void> KvmGuest::detach(std::string_view id) {
    const auto found = parts_->find(id);
    if (found == parts_->devices.end()) {
        return Error(Code::NotFound, "no device '" + std::string(id) + "'");
    }
    if (found->transport->is_in_use()) {
        return Error(Code::FailedPrecondition, "the guest's driver uses '" + std::string(id) + "'");
    }
    TRY(parts_->pci.remove(found->address));
    parts_->devices.erase(found);
    return {};
}

Result<void> KvmGuest::resize(std::string_view id, std::optional<Bytes> size) {
    const auto found = parts_->find(id);
    if (found == parts_->devices.end()) {
        return Error(Code::NotFound, "no device '" + std::string(id) + "'");
    }
    return resize_device(found->made, id, size);
}

Result<void> KvmGuest::pause() {
    if (std::exchange(parts_->is_paused, true)) {
        return Error(Code::FailedPrecondition, "the machine is paused already");
    }
    parts_->machine->pause();
    return {};
}

Result<void> KvmGuest::resume() {
    if (!std::exchange(parts_->is_paused, false)) {
        return Error(Code::FailedPrecondition, "the machine is not paused");
    }
    parts_->machine->resume();
    return {};
}

}  // namespace pepita::vmm
