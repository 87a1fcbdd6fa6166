#include "test/bench/vmm/bare_machine.h"

#include <elf.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "test/support/tiny_guest.h"
#include "vmm/boot/layout.h"

namespace pepita::bench {
namespace {

namespace kvm = abi::kvm;
namespace layout = vmm::layout;

Result<void> call(FdRef fd, unsigned long request, void* argument, const char* name) {
    if (::ioctl(fd.number(), request, argument) < 0) {
        return Error::from_errno(errno, name);
    }
    return {};
}

Result<Fd> call_for_fd(FdRef fd, unsigned long request, const char* name) {
    Fd made(::ioctl(fd.number(), request, 0));
    if (!made) {
        return Error::from_errno(errno, name);
    }
    return made;
}

Result<void> set_memory(FdRef vm, std::span<std::byte> ram) {
    // SAFETY: KVM reads and writes it while the machine is.
    kvm::UserMemoryRegion region{.slot = 0,
                                 .flags = 0,
                                 .guest_phys_addr = 0,
                                 .memory_size = ram.size(),
                                 .userspace_addr = reinterpret_cast<std::uint64_t>(ram.data())};
    return call(vm, kvm::kSetUserMemoryRegion, &region, "KVM_SET_USER_MEMORY_REGION");
}

Result<void> split_irqchip(FdRef vm) {
    kvm::EnableCap enable{};
    enable.cap = kvm::kCapSplitIrqchip;
    enable.args[0] = layout::kIoapicPins;
    return call(vm, kvm::kEnableCap, &enable, "KVM_CAP_SPLIT_IRQCHIP");
}

Result<void> set_cpuid_and_msrs(FdRef kvm_fd, FdRef vcpu) {
    auto table = std::make_unique<kvm::Cpuid>();
    table->count = static_cast<std::uint32_t>(table->entries.size());
    TRY(call(kvm_fd, kvm::kGetSupportedCpuid, table.get(), "KVM_GET_SUPPORTED_CPUID"));
    TRY(call(vcpu, kvm::kSetCpuid2, table.get(), "KVM_SET_CPUID2"));
    kvm::Msrs msrs{};
    msrs.count = 1;
    msrs.entries[0] = {.index = 0x2ff, .reserved = 0, .data = (1U << 11U) | 6U};
    return call(vcpu, kvm::kSetMsrs, &msrs, "KVM_SET_MSRS");
}

kvm::Segment flat(std::uint16_t selector, std::uint8_t type) {
    kvm::Segment segment{};
    segment.limit = 0xffff'ffff;
    segment.selector = selector;
    segment.type = type;
    segment.present = segment.db = segment.s = segment.g = 1;
    return segment;
}

Result<void> enter_at(FdRef vcpu, std::uint64_t entry) {
    kvm::Sregs sregs{};
    TRY(call(vcpu, kvm::kGetSregs, &sregs, "KVM_GET_SREGS"));
    sregs.cs = flat(0x08, 0xb);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat(0x10, 0x3);
    sregs.cr0 = 0x11;
    TRY(call(vcpu, kvm::kSetSregs, &sregs, "KVM_SET_SREGS"));
    kvm::Regs regs{};
    regs.rip = entry;
    regs.rflags = 2;
    return call(vcpu, kvm::kSetRegs, &regs, "KVM_SET_REGS");
}

void load(std::span<std::byte> ram, std::span<const std::byte> kernel) {
    Elf64_Ehdr header{};
    std::memcpy(&header, kernel.data(), sizeof(header));
    Elf64_Phdr segment{};
    std::memcpy(&segment, kernel.subspan(header.e_phoff).data(), sizeof(segment));
    std::ranges::copy(kernel.subspan(segment.p_offset, segment.p_filesz),
                      ram.subspan(segment.p_paddr).begin());
}

}  // namespace

Result<BareMachine> BareMachine::create(FdRef kvm, Bytes memory, CreationOrder order) {
    Fd vm = TRY(call_for_fd(kvm, kvm::kCreateVm, "KVM_CREATE_VM"));
    Mapping ram = TRY(Mapping::anonymous(memory));
    Fd vcpu;
    if (order == CreationOrder::Ours) {
        TRY(set_memory(vm.ref(), ram.bytes()));
        TRY(split_irqchip(vm.ref()));
        vcpu = TRY(call_for_fd(vm.ref(), kvm::kCreateVcpu, "KVM_CREATE_VCPU"));
    } else {
        TRY(call(vm.ref(), kvm::kCreateIrqchip, nullptr, "KVM_CREATE_IRQCHIP"));
        vcpu = TRY(call_for_fd(vm.ref(), kvm::kCreateVcpu, "KVM_CREATE_VCPU"));
        TRY(set_memory(vm.ref(), ram.bytes()));
    }
    TRY(set_cpuid_and_msrs(kvm, vcpu.ref()));
    const int size = ::ioctl(kvm.number(), kvm::kGetVcpuMmapSize, 0);
    Mapping shared = TRY(Mapping::shared(vcpu.ref(), Bytes(static_cast<std::uint64_t>(size))));
    return BareMachine(std::move(vm), std::move(vcpu), std::move(ram), std::move(shared));
}

Result<void> BareMachine::run(std::span<const std::byte> kernel) {
    load(ram_.bytes(), kernel);
    TRY(enter_at(vcpu_.ref(), vmm::tiny::kLoadAddress));
    // SAFETY: the mapping is at least sizeof(Run) long, page-aligned and laid out by KVM.
    auto& run = *reinterpret_cast<kvm::Run*>(shared_.bytes().data());
    for (;;) {
        TRY(call(vcpu_.ref(), kvm::kRun, nullptr, "KVM_RUN"));
        const auto reason = static_cast<kvm::ExitReason>(run.exit_reason);
        if (reason == kvm::ExitReason::Io) {
            if (run.io.direction != 0 && run.io.port == layout::kSleepControlPort) {
                return {};
            }
            const std::size_t size = std::size_t{run.io.size} * run.io.count;
            if (run.io.direction == 0) {
                std::ranges::fill(shared_.bytes().subspan(run.io.data_offset, size),
                                  std::byte{0xff});
            }
        } else if (reason == kvm::ExitReason::Mmio) {
            run.mmio.data.fill(0xff);
        } else {
            return Error(Code::Internal, "exit " + std::to_string(run.exit_reason));
        }
    }
}

}  // namespace pepita::bench
