#include <array>
#include <span>
#include <tuple>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/kvm.h"

namespace pepita::abi_check {
namespace {

namespace kvm = abi::kvm;

constexpr std::tuple kLayouts{
    LAYOUT(kvm::SyncRegs, "kvm_sync_regs", 520, AT(regs, 0, 144), AT(sregs, 144, 312),
           AT(events, 456, 64)),
    LAYOUT(kvm::Run, "kvm_run", 2352, AT(request_interrupt_window, 0, 1),
           AS(immediate_exit, "immediate_exit|immediate_exit__unsafe", 1, 1), AT(padding1, 2, 6),
           AT(exit_reason, 8, 4), AT(ready_for_interrupt_injection, 12, 1), AT(if_flag, 13, 1),
           AT(flags, 14, 2), AT(cr8, 16, 8), AT(apic_base, 24, 8), AT(hw, 32, 8),
           AT(hw.hardware_exit_reason, 32, 8), AT(fail_entry, 32, 16),
           AS(fail_entry.hardware_reason, "fail_entry.hardware_entry_failure_reason", 32, 8),
           AT(fail_entry.cpu, 40, 4), AT(ex, 32, 8), AT(ex.exception, 32, 4),
           AT(ex.error_code, 36, 4), AT(io, 32, 16), AT(io.direction, 32, 1), AT(io.size, 33, 1),
           AT(io.port, 34, 2), AT(io.count, 36, 4), AT(io.data_offset, 40, 8), AT(mmio, 32, 24),
           AT(mmio.phys_addr, 32, 8), AT(mmio.data, 40, 8), AT(mmio.len, 48, 4),
           AT(mmio.is_write, 52, 1), AT(internal, 32, 136), AT(internal.suberror, 32, 4),
           AS(internal.count, "internal.ndata", 36, 4), AT(internal.data, 40, 128),
           AT(emulation_failure, 32, 32), AT(emulation_failure.suberror, 32, 4),
           AT(emulation_failure.ndata, 36, 4), AT(emulation_failure.flags, 40, 8),
           AT(emulation_failure.insn_size, 48, 1), AT(emulation_failure.insn_bytes, 49, 15),
           AT(system_event, 32, 136), AT(system_event.type, 32, 4), AT(system_event.ndata, 36, 4),
           AT(system_event.data, 40, 128), AT(eoi, 32, 1), AT(eoi.vector, 32, 1),
           SINCE(memory_fault, 32, 24, 6, 8), SINCE(memory_fault.flags, 32, 8, 6, 8),
           SINCE(memory_fault.gpa, 40, 8, 6, 8), SINCE(memory_fault.size, 48, 8, 6, 8),
           AS(space, "padding", 32, 256), AT(kvm_valid_regs, 288, 8), AT(kvm_dirty_regs, 296, 8),
           AT(s, 304, 2048), AT(s.regs, 304, 520), AT(s.padding, 304, 2048)),
    LAYOUT(kvm::Regs, "kvm_regs", 144, AT(rax, 0, 8), AT(rbx, 8, 8), AT(rcx, 16, 8), AT(rdx, 24, 8),
           AT(rsi, 32, 8), AT(rdi, 40, 8), AT(rsp, 48, 8), AT(rbp, 56, 8), AT(r8, 64, 8),
           AT(r9, 72, 8), AT(r10, 80, 8), AT(r11, 88, 8), AT(r12, 96, 8), AT(r13, 104, 8),
           AT(r14, 112, 8), AT(r15, 120, 8), AT(rip, 128, 8), AT(rflags, 136, 8)),
    LAYOUT(kvm::Segment, "kvm_segment", 24, AT(base, 0, 8), AT(limit, 8, 4), AT(selector, 12, 2),
           AT(type, 14, 1), AT(present, 15, 1), AT(dpl, 16, 1), AT(db, 17, 1), AT(s, 18, 1),
           AT(l, 19, 1), AT(g, 20, 1), AT(avl, 21, 1), AT(unusable, 22, 1), AT(padding, 23, 1)),
    LAYOUT(kvm::DescriptorTable, "kvm_dtable", 16, AT(base, 0, 8), AT(limit, 8, 2),
           AT(padding, 10, 6)),
    LAYOUT(kvm::Sregs, "kvm_sregs", 312, AT(cs, 0, 24), AT(ds, 24, 24), AT(es, 48, 24),
           AT(fs, 72, 24), AT(gs, 96, 24), AT(ss, 120, 24), AT(tr, 144, 24), AT(ldt, 168, 24),
           AT(gdt, 192, 16), AT(idt, 208, 16), AT(cr0, 224, 8), AT(cr2, 232, 8), AT(cr3, 240, 8),
           AT(cr4, 248, 8), AT(cr8, 256, 8), AT(efer, 264, 8), AT(apic_base, 272, 8),
           AT(interrupt_bitmap, 280, 32)),
    LAYOUT(kvm::Xsave, "kvm_xsave", 4096, AT(region, 0, 4096)),
    LAYOUT(kvm::Xcr, "kvm_xcr", 16, AT(xcr, 0, 4), AT(reserved, 4, 4), AT(value, 8, 8)),
    LAYOUT(kvm::Xcrs, "kvm_xcrs", 392, AT(nr_xcrs, 0, 4), AT(flags, 4, 4), AT(xcrs, 8, 256),
           AT(padding, 264, 128)),
    LAYOUT(kvm::LapicState, "kvm_lapic_state", 1024, AT(regs, 0, 1024)),
    LAYOUT(kvm::MpState, "kvm_mp_state", 4, AT(mp_state, 0, 4)),
    LAYOUT(kvm::VcpuEvents, "kvm_vcpu_events", 64, AT(exception, 0, 8),
           AT(exception.injected, 0, 1), AT(exception.nr, 1, 1), AT(exception.has_error_code, 2, 1),
           AT(exception.pending, 3, 1), AT(exception.error_code, 4, 4), AT(interrupt, 8, 4),
           AT(interrupt.injected, 8, 1), AT(interrupt.nr, 9, 1), AT(interrupt.soft, 10, 1),
           AT(interrupt.shadow, 11, 1), AT(nmi, 12, 4), AT(nmi.injected, 12, 1),
           AT(nmi.pending, 13, 1), AT(nmi.masked, 14, 1), AT(nmi.pad, 15, 1),
           AT(sipi_vector, 16, 4), AT(flags, 20, 4), AT(smi, 24, 4), AT(smi.smm, 24, 1),
           AT(smi.pending, 25, 1), AT(smi.smm_inside_nmi, 26, 1), AT(smi.latched_init, 27, 1),
           AT(triple_fault, 28, 1), AT(triple_fault.pending, 28, 1), AT(reserved, 29, 26),
           AT(exception_has_payload, 55, 1), AT(exception_payload, 56, 8)),
    LAYOUT(kvm::Debugregs, "kvm_debugregs", 128, AT(db, 0, 32), AT(dr6, 32, 8), AT(dr7, 40, 8),
           AT(flags, 48, 8), AT(reserved, 56, 72)),
    LAYOUT(kvm::CpuidEntry, "kvm_cpuid_entry2", 40, AT(function, 0, 4), AT(index, 4, 4),
           AT(flags, 8, 4), AT(eax, 12, 4), AT(ebx, 16, 4), AT(ecx, 20, 4), AT(edx, 24, 4),
           AT(padding, 28, 12)),
    BEGINNING(kvm::Cpuid, "kvm_cpuid2", 10248, 8, AS(count, "nent", 0, 4), AT(padding, 4, 4),
              OURS(entries, 8, 10240)),
    LAYOUT(kvm::MsrEntry, "kvm_msr_entry", 16, AT(index, 0, 4), AT(reserved, 4, 4), AT(data, 8, 8)),
    BEGINNING(kvm::Msrs, "kvm_msrs", 136, 8, AS(count, "nmsrs", 0, 4), AS(padding, "pad", 4, 4),
              OURS(entries, 8, 128)),
    LAYOUT(kvm::MsrList, "kvm_msr_list", 4, AT(nmsrs, 0, 4)),
    LAYOUT(kvm::UserMemoryRegion, "kvm_userspace_memory_region", 32, AT(slot, 0, 4),
           AT(flags, 4, 4), AT(guest_phys_addr, 8, 8), AT(memory_size, 16, 8),
           AT(userspace_addr, 24, 8)),
    LAYOUT(kvm::DirtyLog, "kvm_dirty_log", 16, AT(slot, 0, 4), AT(padding1, 4, 4),
           AT(dirty_bitmap, 8, 8), AS(dirty_bitmap, "padding2", 8, 8)),
    LAYOUT(kvm::ClearDirtyLog, "kvm_clear_dirty_log", 24, AT(slot, 0, 4), AT(num_pages, 4, 4),
           AT(first_page, 8, 8), AT(dirty_bitmap, 16, 8), AS(dirty_bitmap, "padding2", 16, 8)),
    LAYOUT(kvm::IrqRoutingIrqchip, "kvm_irq_routing_irqchip", 8, AT(irqchip, 0, 4), AT(pin, 4, 4)),
    LAYOUT(kvm::IrqRoutingMsi, "kvm_irq_routing_msi", 16, AT(address_lo, 0, 4),
           AT(address_hi, 4, 4), AT(data, 8, 4), AT(pad, 12, 4), AT(devid, 12, 4)),
    LAYOUT(kvm::IrqRoutingEntry, "kvm_irq_routing_entry", 48, AT(gsi, 0, 4), AT(type, 4, 4),
           AT(flags, 8, 4), AT(pad, 12, 4), AT(u, 16, 32), AT(u.irqchip, 16, 8), AT(u.msi, 16, 16),
           AT(u.pad, 16, 32)),
    LAYOUT(kvm::IrqRouting, "kvm_irq_routing", 8, AT(nr, 0, 4), AT(flags, 4, 4)),
    LAYOUT(kvm::IrqFd, "kvm_irqfd", 32, AT(fd, 0, 4), AT(gsi, 4, 4), AT(flags, 8, 4),
           AT(resamplefd, 12, 4), AT(pad, 16, 16)),
    LAYOUT(kvm::IoEventFd, "kvm_ioeventfd", 64, AT(datamatch, 0, 8), AT(addr, 8, 8), AT(len, 16, 4),
           AT(fd, 20, 4), AT(flags, 24, 4), AT(pad, 28, 36)),
    LAYOUT(kvm::Msi, "kvm_msi", 32, AT(address_lo, 0, 4), AT(address_hi, 4, 4), AT(data, 8, 4),
           AT(flags, 12, 4), AT(devid, 16, 4), AT(pad, 20, 12)),
    LAYOUT(kvm::EnableCap, "kvm_enable_cap", 104, AT(cap, 0, 4), AT(flags, 4, 4), AT(args, 8, 32),
           AT(pad, 40, 64)),
    LAYOUT(kvm::ClockData, "kvm_clock_data", 48, AT(clock, 0, 8), AT(flags, 8, 4), AT(pad0, 12, 4),
           AT(realtime, 16, 8), AT(host_tsc, 24, 8), AT(pad, 32, 16)),
    LAYOUT(kvm::DeviceAttr, "kvm_device_attr", 24, AT(flags, 0, 4), AT(group, 4, 4), AT(attr, 8, 8),
           AT(addr, 16, 8)),
};
constexpr auto kTypes = types_of(kLayouts);

}  // namespace

std::span<const ExpectedType> kvm_types() { return kTypes; }

}  // namespace pepita::abi_check
