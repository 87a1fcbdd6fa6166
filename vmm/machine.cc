#include "vmm/machine.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/memory_file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/boot/cpuid.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/address_map.h"
#include "vmm/machine_config.h"
#include "vmm/vcpu.h"

namespace pepita::vmm {
namespace {

namespace kvm = abi::kvm;

/// Three pages that KVM needs on Intel processors without unrestricted guests; in the hole.
constexpr unsigned long kTssAddress = 0xfffb'd000;

Result<void> require(FdRef kvm, std::uint32_t capability, const char* name) {
    if (::ioctl(kvm.number(), kvm::kCheckExtension, capability) <= 0) {
        return Error(Code::Unsupported, std::string("this KVM has no ") + name);
    }
    return {};
}

Result<Fd> create_vm(FdRef kvm) {
    const int version = ::ioctl(kvm.number(), kvm::kGetApiVersion, 0);
    if (version < 0) {
        return Error::from_errno(errno, "KVM_GET_API_VERSION");
    }
    if (version != kvm::kApiVersion) {
        return Error(Code::Unsupported, "KVM API version " + std::to_string(version));
    }
    TRY(require(kvm, kvm::kCapSplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP"));
    TRY(require(kvm, kvm::kCapImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"));
    Fd vm(::ioctl(kvm.number(), kvm::kCreateVm, 0));
    if (!vm) {
        return Error::from_errno(errno, "KVM_CREATE_VM");
    }
    return vm;
}

Result<void> split_irqchip(FdRef vm) {
    kvm::EnableCap enable{};
    enable.cap = kvm::kCapSplitIrqchip;
    enable.args[0] = layout::kIoapicPins;
    if (::ioctl(vm.number(), kvm::kEnableCap, &enable) < 0) {
        return Error::from_errno(errno, "KVM_CAP_SPLIT_IRQCHIP");
    }
    return {};
}

Result<std::vector<kvm::CpuidEntry>> supported_cpuid(FdRef kvm) {
    auto table = std::make_unique<kvm::Cpuid>();
    table->count = static_cast<std::uint32_t>(table->entries.size());
    if (::ioctl(kvm.number(), kvm::kGetSupportedCpuid, table.get()) < 0) {
        return Error::from_errno(errno, "KVM_GET_SUPPORTED_CPUID");
    }
    const auto entries = std::span(table->entries).first(table->count);
    return std::vector<kvm::CpuidEntry>(entries.begin(), entries.end());
}

}  // namespace

struct Machine::Ram {
    Fd file;
    std::vector<Mapping> mappings;
    std::vector<virtio::MemoryRegion> regions;
};

// Shared, so that servers of devices may see it, and aligned as the guest's addresses are, so that
// huge pages of the file are huge pages of the guest.
Result<Machine::Ram> Machine::make_ram(const Options& options) {
    if (options.ram_file && TRY(file_size(*options.ram_file)) < options.memory) {
        return Error(Code::InvalidArgument, "the file for guest memory is too short");
    }
    Ram ram;
    ram.file = options.ram_file ? TRY(duplicate(*options.ram_file))
                                : TRY(create_memory_file("guest-memory", options.memory));
    const FdRef file = ram.file.ref();
    const std::uint64_t low = std::min(options.memory.value(), layout::kLowRamEnd);
    ram.mappings.push_back(TRY(Mapping::shared_huge(file, Bytes(low)), "guest memory"));
    ram.regions.push_back({.start = virtio::GuestAddress{0}, .bytes = ram.mappings[0].bytes()});
    if (low < options.memory.value()) {
        ram.mappings.push_back(TRY(Mapping::shared_huge(file, options.memory - Bytes(low), low),
                                   "guest memory above 4 GiB"));
        ram.regions.push_back({.start = virtio::GuestAddress{layout::kHighRamStart},
                               .bytes = ram.mappings[1].bytes()});
    }
    return ram;
}

// The order is measured: memory before interrupt controllers saves KVM a wait for all readers of
// its bus (7.8 ms to 0.2 ms); the split irqchip has to come before vCPUs.
Result<std::unique_ptr<Machine>> Machine::create(EventLoop& loop, const Options& options) {
    Fd vm = TRY(create_vm(options.kvm));
    Ram ram = TRY(make_ram(options));
    virtio::GuestMemory memory = TRY(virtio::GuestMemory::create(ram.regions));
    std::unique_ptr<Machine> machine(
        new Machine(loop, std::move(vm), std::move(ram), std::move(memory)));
    TRY(machine->add_memory_slots());
    if (::ioctl(machine->vm_.ref().number(), kvm::kSetTssAddr, kTssAddress) < 0) {
        return Error::from_errno(errno, "KVM_SET_TSS_ADDR");
    }
    TRY(split_irqchip(machine->vm_.ref()));
    TRY(machine->add_vcpus(options.kvm, options.vcpus));
    return machine;
}

Machine::Machine(EventLoop& loop, Fd vm, Ram ram, virtio::GuestMemory memory)
    : loop_(loop),
      vm_(std::move(vm)),
      ram_file_(std::move(ram.file)),
      ram_(std::move(ram.mappings)),
      memory_(std::move(memory)),
      lent_memory_{.file = ram_file_.ref(), .regions = {}} {
    std::uint64_t offset = 0;
    for (const virtio::MemoryRegion& region : ram.regions) {
        lent_memory_.regions.push_back(
            {.guest_address = std::to_underlying(region.start),
             .size = region.bytes.size(),
             // SAFETY: a number, by which servers translate what rings say back to the file.
             .user_address = reinterpret_cast<std::uint64_t>(region.bytes.data()),
             .file_offset = offset});
        offset += region.bytes.size();
    }
}

Machine::~Machine() { stop(); }

void Machine::stop() {
    watches_.clear();
    for (const auto& vcpu : vcpus_) {
        vcpu->stop();
    }
}

Result<void> Machine::add_memory_slots() {
    std::uint32_t slot = 0;
    for (const virtio::MemoryRegion& region : memory_.regions()) {
        // SAFETY: KVM reads and writes guest RAM behind our back; ram_ outlives vm_'s last vCPU.
        kvm::UserMemoryRegion request{
            .slot = slot++,
            .flags = 0,
            .guest_phys_addr = std::to_underlying(region.start),
            .memory_size = region.bytes.size(),
            .userspace_addr = reinterpret_cast<std::uint64_t>(region.bytes.data())};
        if (::ioctl(vm_.ref().number(), kvm::kSetUserMemoryRegion, &request) < 0) {
            return Error::from_errno(errno, "KVM_SET_USER_MEMORY_REGION");
        }
    }
    return {};
}

Result<void> Machine::add_vcpus(FdRef kvm, std::uint32_t count) {
    const std::vector<kvm::CpuidEntry> supported = TRY(supported_cpuid(kvm));
    const bool has_deadline_timer =
        ::ioctl(kvm.number(), kvm::kCheckExtension, kvm::kCapTscDeadlineTimer) > 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        vcpus_.push_back(
            TRY(Vcpu::create(kvm, vm_.ref(), VcpuIndex{i}), "vcpu ", std::to_string(i)));
    }
    for (const auto& vcpu : vcpus_) {
        const std::uint32_t i = std::to_underlying(vcpu->index());
        const Processor processor{
            .apic_id = i, .count = count, .has_deadline_timer = has_deadline_timer};
        TRY(vcpu->set_cpuid(guest_cpuid(supported, processor)), "vcpu ", std::to_string(i));
        TRY(vcpu->set_boot_msrs(), "vcpu ", std::to_string(i));
    }
    return {};
}

void Machine::send(std::uint64_t address, std::uint32_t data) {
    kvm::Msi msi{};
    msi.address_lo = static_cast<std::uint32_t>(address);
    msi.address_hi = static_cast<std::uint32_t>(address >> 32U);
    msi.data = data;
    // An error is the guest's: no such APIC, or a vector that none takes. Lost, as on hardware.
    (void)::ioctl(vm_.ref().number(), kvm::kSignalMsi, &msi);
}

Result<void> Machine::add(virtio::GuestAddress at, FdRef eventfd) {
    return set_kick(at, eventfd, 0);
}

void Machine::remove(virtio::GuestAddress at, FdRef eventfd) {
    (void)set_kick(at, eventfd, kvm::kIoEventFdDeassign).has_value();
}

Result<void> Machine::set_kick(virtio::GuestAddress at, FdRef eventfd, std::uint32_t flags) {
    kvm::IoEventFd request{};
    request.addr = std::to_underlying(at);
    request.len = 0;  // a write of any size, and KVM need not decode the instruction to know it
    request.fd = eventfd.number();
    request.flags = flags;
    if (::ioctl(vm_.ref().number(), kvm::kIoEventFd, &request) < 0) {
        return Error::from_errno(errno, "KVM_IOEVENTFD");
    }
    return {};
}

Result<void> Machine::set_entry(virtio::GuestAddress entry, virtio::GuestAddress start_info) {
    return vcpus_.front()->set_pvh_entry(entry, start_info);
}

Result<void> Machine::start(Vcpu::Prepare prepare, OnEnd on_end) {
    CHECK(watches_.empty());
    on_end_ = std::move(on_end);
    for (const auto& vcpu : vcpus_) {
        watches_.push_back(TRY(loop_.watch(
            vcpu->exited(), EPOLLIN, [this, &vcpu = *vcpu](std::uint32_t) { on_exit(vcpu); })));
    }
    for (const auto& vcpu : vcpus_) {
        TRY(vcpu->start(prepare, [this](VcpuExit& exit) { return answer(exit); }));
    }
    return {};
}

void Machine::pause() {
    is_paused_ = true;
    for (const auto& vcpu : vcpus_) {
        vcpu->pause();
    }
}

void Machine::resume() {
    is_paused_ = false;
    for (const auto& vcpu : vcpus_) {
        vcpu->resume();
    }
}

void Machine::end(ExitReason reason) {
    if (!std::exchange(is_over_, true) && on_end_) {
        on_end_(reason);
    }
}

void Machine::on_exit(Vcpu& vcpu) {
    const VcpuExit exit = vcpu.take_exit();
    if (is_over_) {
        return;  // and the vCPU waits until we go
    }
    switch (exit.kind) {
        case VcpuExit::Kind::Port:
        case VcpuExit::Kind::Memory:
            answer_on_loop(exit);
            break;
        case VcpuExit::Kind::TripleFault:
            end(ExitReason::TripleFault);
            break;
        case VcpuExit::Kind::Failed:
            log::error("vCPU failed",
                       {{"vcpu", std::to_underlying(vcpu.index())}, {"error", exit.failure}});
            end(ExitReason::InternalError);
            break;
    }
    // After the end the guest must not see another instruction: its vCPUs wait until we go.
    if (!is_over_ && !is_paused_) {
        vcpu.resume();
    }
}

const AddressMap& Machine::bus_of(const VcpuExit& exit) const {
    return exit.kind == VcpuExit::Kind::Port ? ports_ : mmio_;
}

/// On the vCPU's thread. False where writes are left, which then are all that is in `exit`.
bool Machine::answer(VcpuExit& exit) const {
    if (!std::has_single_bit(exit.access_size) || exit.access_size > 8) {
        std::ranges::fill(exit.data, std::byte{0xff});
        return true;
    }
    const AddressMap& bus = bus_of(exit);
    // A string instruction gives several accesses at once, all to the same port.
    while (exit.data.size() >= exit.access_size) {
        const std::span<std::byte> data = exit.data.first(exit.access_size);
        if (exit.way == VcpuExit::Way::Read) {
            bus.read(exit.address, data);
        } else if (bus.write(exit.address, data) == Written::NeedsLoop) {
            return false;
        }
        exit.data = exit.data.subspan(exit.access_size);
    }
    return true;
}

void Machine::answer_on_loop(const VcpuExit& exit) const {
    const AddressMap& bus = bus_of(exit);
    for (std::size_t at = 0; at < exit.data.size(); at += exit.access_size) {
        bus.write_on_loop(exit.address, exit.data.subspan(at, exit.access_size));
    }
}

}  // namespace pepita::vmm
