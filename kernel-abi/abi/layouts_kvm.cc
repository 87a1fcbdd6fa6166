#include <array>
#include <cstddef>
#include <span>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/kvm.h"

namespace pepita::abi_check {
namespace {

namespace kvm = abi::kvm;

constexpr std::array kUserMemoryRegion{
    SAME(kvm::UserMemoryRegion, slot), SAME(kvm::UserMemoryRegion, flags),
    SAME(kvm::UserMemoryRegion, guest_phys_addr), SAME(kvm::UserMemoryRegion, memory_size),
    SAME(kvm::UserMemoryRegion, userspace_addr)};
constexpr std::array kUserMemoryRegion2{SAME(kvm::UserMemoryRegion2, slot),
                                        SAME(kvm::UserMemoryRegion2, flags),
                                        SAME(kvm::UserMemoryRegion2, guest_phys_addr),
                                        SAME(kvm::UserMemoryRegion2, memory_size),
                                        SAME(kvm::UserMemoryRegion2, userspace_addr),
                                        SAME(kvm::UserMemoryRegion2, guest_memfd_offset),
                                        SAME(kvm::UserMemoryRegion2, guest_memfd),
                                        SAME(kvm::UserMemoryRegion2, pad1),
                                        SAME(kvm::UserMemoryRegion2, pad2)};
constexpr std::array kCreateGuestMemfd{SAME(kvm::CreateGuestMemfd, size),
                                       SAME(kvm::CreateGuestMemfd, flags),
                                       SAME(kvm::CreateGuestMemfd, reserved)};
constexpr std::array kMemoryAttributes{
    SAME(kvm::MemoryAttributes, address), SAME(kvm::MemoryAttributes, size),
    SAME(kvm::MemoryAttributes, attributes), SAME(kvm::MemoryAttributes, flags)};
constexpr std::array kPreFaultMemory{
    SAME(kvm::PreFaultMemory, gpa), SAME(kvm::PreFaultMemory, size),
    SAME(kvm::PreFaultMemory, flags), SAME(kvm::PreFaultMemory, padding)};
constexpr std::array kEncRegion{SAME(kvm::EncRegion, addr), SAME(kvm::EncRegion, size)};
constexpr std::array kDirtyLog{SAME(kvm::DirtyLog, slot), SAME(kvm::DirtyLog, padding1),
                               SAME(kvm::DirtyLog, dirty_bitmap),
                               MEMBER(kvm::DirtyLog, dirty_bitmap, "padding2")};
constexpr std::array kClearDirtyLog{
    SAME(kvm::ClearDirtyLog, slot), SAME(kvm::ClearDirtyLog, num_pages),
    SAME(kvm::ClearDirtyLog, first_page), SAME(kvm::ClearDirtyLog, dirty_bitmap),
    MEMBER(kvm::ClearDirtyLog, dirty_bitmap, "padding2")};
constexpr std::array kDirtyGfn{SAME(kvm::DirtyGfn, flags), SAME(kvm::DirtyGfn, slot),
                               SAME(kvm::DirtyGfn, offset)};
constexpr std::array kCoalescedMmioZone{
    SAME(kvm::CoalescedMmioZone, addr), SAME(kvm::CoalescedMmioZone, size),
    SAME(kvm::CoalescedMmioZone, pad), SAME(kvm::CoalescedMmioZone, pio)};
constexpr std::array kCoalescedMmio{SAME(kvm::CoalescedMmio, phys_addr),
                                    SAME(kvm::CoalescedMmio, len), SAME(kvm::CoalescedMmio, pad),
                                    SAME(kvm::CoalescedMmio, pio), SAME(kvm::CoalescedMmio, data)};
constexpr std::array kCoalescedMmioRing{SAME(kvm::CoalescedMmioRing, first),
                                        SAME(kvm::CoalescedMmioRing, last)};
constexpr std::array kTranslation{
    SAME(kvm::Translation, linear_address), SAME(kvm::Translation, physical_address),
    SAME(kvm::Translation, valid),          SAME(kvm::Translation, writeable),
    SAME(kvm::Translation, usermode),       SAME(kvm::Translation, pad)};
constexpr std::array kIrqLevel{SAME(kvm::IrqLevel, irq), SAME(kvm::IrqLevel, status),
                               SAME(kvm::IrqLevel, level)};
constexpr std::array kPicState{SAME(kvm::PicState, last_irr),
                               SAME(kvm::PicState, irr),
                               SAME(kvm::PicState, imr),
                               SAME(kvm::PicState, isr),
                               SAME(kvm::PicState, priority_add),
                               SAME(kvm::PicState, irq_base),
                               SAME(kvm::PicState, read_reg_select),
                               SAME(kvm::PicState, poll),
                               SAME(kvm::PicState, special_mask),
                               SAME(kvm::PicState, init_state),
                               SAME(kvm::PicState, auto_eoi),
                               SAME(kvm::PicState, rotate_on_auto_eoi),
                               SAME(kvm::PicState, special_fully_nested_mode),
                               SAME(kvm::PicState, init4),
                               SAME(kvm::PicState, elcr),
                               SAME(kvm::PicState, elcr_mask)};
constexpr std::array kIoapicState{
    SAME(kvm::IoapicState, base_address), SAME(kvm::IoapicState, ioregsel),
    SAME(kvm::IoapicState, id),           SAME(kvm::IoapicState, irr),
    SAME(kvm::IoapicState, pad),          SAME(kvm::IoapicState, redirtbl)};
constexpr std::array kIrqchip{SAME(kvm::Irqchip, chip_id),  SAME(kvm::Irqchip, pad),
                              SAME(kvm::Irqchip, chip),     SAME(kvm::Irqchip, chip.dummy),
                              SAME(kvm::Irqchip, chip.pic), SAME(kvm::Irqchip, chip.ioapic)};
constexpr std::array kPitConfig{SAME(kvm::PitConfig, flags), SAME(kvm::PitConfig, pad)};
constexpr std::array kPitChannelState{SAME(kvm::PitChannelState, count),
                                      SAME(kvm::PitChannelState, latched_count),
                                      SAME(kvm::PitChannelState, count_latched),
                                      SAME(kvm::PitChannelState, status_latched),
                                      SAME(kvm::PitChannelState, status),
                                      SAME(kvm::PitChannelState, read_state),
                                      SAME(kvm::PitChannelState, write_state),
                                      SAME(kvm::PitChannelState, write_latch),
                                      SAME(kvm::PitChannelState, rw_mode),
                                      SAME(kvm::PitChannelState, mode),
                                      SAME(kvm::PitChannelState, bcd),
                                      SAME(kvm::PitChannelState, gate),
                                      SAME(kvm::PitChannelState, count_load_time)};
constexpr std::array kPitState{SAME(kvm::PitState, channels)};
constexpr std::array kPitState2{SAME(kvm::PitState2, channels), SAME(kvm::PitState2, flags),
                                SAME(kvm::PitState2, reserved)};
constexpr std::array kReinjectControl{SAME(kvm::ReinjectControl, pit_reinject),
                                      SAME(kvm::ReinjectControl, reserved)};
constexpr std::array kIrqRoutingIrqchip{SAME(kvm::IrqRoutingIrqchip, irqchip),
                                        SAME(kvm::IrqRoutingIrqchip, pin)};
constexpr std::array kIrqRoutingMsi{
    SAME(kvm::IrqRoutingMsi, address_lo), SAME(kvm::IrqRoutingMsi, address_hi),
    SAME(kvm::IrqRoutingMsi, data), SAME(kvm::IrqRoutingMsi, pad), SAME(kvm::IrqRoutingMsi, devid)};
constexpr std::array kIrqRoutingS390Adapter{
    SAME(kvm::IrqRoutingS390Adapter, ind_addr), SAME(kvm::IrqRoutingS390Adapter, summary_addr),
    SAME(kvm::IrqRoutingS390Adapter, ind_offset), SAME(kvm::IrqRoutingS390Adapter, summary_offset),
    SAME(kvm::IrqRoutingS390Adapter, adapter_id)};
constexpr std::array kIrqRoutingHvSint{SAME(kvm::IrqRoutingHvSint, vcpu),
                                       SAME(kvm::IrqRoutingHvSint, sint)};
constexpr std::array kIrqRoutingXenEvtchn{SAME(kvm::IrqRoutingXenEvtchn, port),
                                          SAME(kvm::IrqRoutingXenEvtchn, vcpu),
                                          SAME(kvm::IrqRoutingXenEvtchn, priority)};
constexpr std::array kIrqRoutingEntry{
    SAME(kvm::IrqRoutingEntry, gsi),       SAME(kvm::IrqRoutingEntry, type),
    SAME(kvm::IrqRoutingEntry, flags),     SAME(kvm::IrqRoutingEntry, pad),
    SAME(kvm::IrqRoutingEntry, u),         SAME(kvm::IrqRoutingEntry, u.irqchip),
    SAME(kvm::IrqRoutingEntry, u.msi),     SAME(kvm::IrqRoutingEntry, u.adapter),
    SAME(kvm::IrqRoutingEntry, u.hv_sint), SAME(kvm::IrqRoutingEntry, u.xen_evtchn),
    SAME(kvm::IrqRoutingEntry, u.pad)};
constexpr std::array kIrqRouting{SAME(kvm::IrqRouting, nr), SAME(kvm::IrqRouting, flags)};
constexpr std::array kIrqFd{SAME(kvm::IrqFd, fd), SAME(kvm::IrqFd, gsi), SAME(kvm::IrqFd, flags),
                            SAME(kvm::IrqFd, resamplefd), SAME(kvm::IrqFd, pad)};
constexpr std::array kIoEventFd{SAME(kvm::IoEventFd, datamatch), SAME(kvm::IoEventFd, addr),
                                SAME(kvm::IoEventFd, len),       SAME(kvm::IoEventFd, fd),
                                SAME(kvm::IoEventFd, flags),     SAME(kvm::IoEventFd, pad)};
constexpr std::array kMsi{SAME(kvm::Msi, address_lo), SAME(kvm::Msi, address_hi),
                          SAME(kvm::Msi, data),       SAME(kvm::Msi, flags),
                          SAME(kvm::Msi, devid),      SAME(kvm::Msi, pad)};
constexpr std::array kInterrupt{SAME(kvm::Interrupt, irq)};
constexpr std::array kLapicState{SAME(kvm::LapicState, regs)};
constexpr std::array kTprAccessCtl{SAME(kvm::TprAccessCtl, enabled), SAME(kvm::TprAccessCtl, flags),
                                   SAME(kvm::TprAccessCtl, reserved)};
constexpr std::array kVapicAddr{SAME(kvm::VapicAddr, vapic_addr)};
constexpr std::array kRegs{SAME(kvm::Regs, rax), SAME(kvm::Regs, rbx), SAME(kvm::Regs, rcx),
                           SAME(kvm::Regs, rdx), SAME(kvm::Regs, rsi), SAME(kvm::Regs, rdi),
                           SAME(kvm::Regs, rsp), SAME(kvm::Regs, rbp), SAME(kvm::Regs, r8),
                           SAME(kvm::Regs, r9),  SAME(kvm::Regs, r10), SAME(kvm::Regs, r11),
                           SAME(kvm::Regs, r12), SAME(kvm::Regs, r13), SAME(kvm::Regs, r14),
                           SAME(kvm::Regs, r15), SAME(kvm::Regs, rip), SAME(kvm::Regs, rflags)};
constexpr std::array kSegment{
    SAME(kvm::Segment, base),   SAME(kvm::Segment, limit),   SAME(kvm::Segment, selector),
    SAME(kvm::Segment, type),   SAME(kvm::Segment, present), SAME(kvm::Segment, dpl),
    SAME(kvm::Segment, db),     SAME(kvm::Segment, s),       SAME(kvm::Segment, l),
    SAME(kvm::Segment, g),      SAME(kvm::Segment, avl),     SAME(kvm::Segment, unusable),
    SAME(kvm::Segment, padding)};
constexpr std::array kDescriptorTable{SAME(kvm::DescriptorTable, base),
                                      SAME(kvm::DescriptorTable, limit),
                                      SAME(kvm::DescriptorTable, padding)};
constexpr std::array kSregs{
    SAME(kvm::Sregs, cs),   SAME(kvm::Sregs, ds),        SAME(kvm::Sregs, es),
    SAME(kvm::Sregs, fs),   SAME(kvm::Sregs, gs),        SAME(kvm::Sregs, ss),
    SAME(kvm::Sregs, tr),   SAME(kvm::Sregs, ldt),       SAME(kvm::Sregs, gdt),
    SAME(kvm::Sregs, idt),  SAME(kvm::Sregs, cr0),       SAME(kvm::Sregs, cr2),
    SAME(kvm::Sregs, cr3),  SAME(kvm::Sregs, cr4),       SAME(kvm::Sregs, cr8),
    SAME(kvm::Sregs, efer), SAME(kvm::Sregs, apic_base), SAME(kvm::Sregs, interrupt_bitmap)};
constexpr std::array kSregs2{
    SAME(kvm::Sregs2, cs),    SAME(kvm::Sregs2, ds),        SAME(kvm::Sregs2, es),
    SAME(kvm::Sregs2, fs),    SAME(kvm::Sregs2, gs),        SAME(kvm::Sregs2, ss),
    SAME(kvm::Sregs2, tr),    SAME(kvm::Sregs2, ldt),       SAME(kvm::Sregs2, gdt),
    SAME(kvm::Sregs2, idt),   SAME(kvm::Sregs2, cr0),       SAME(kvm::Sregs2, cr2),
    SAME(kvm::Sregs2, cr3),   SAME(kvm::Sregs2, cr4),       SAME(kvm::Sregs2, cr8),
    SAME(kvm::Sregs2, efer),  SAME(kvm::Sregs2, apic_base), SAME(kvm::Sregs2, flags),
    SAME(kvm::Sregs2, pdptrs)};
constexpr std::array kFpu{
    SAME(kvm::Fpu, fpr),     SAME(kvm::Fpu, fcw),     SAME(kvm::Fpu, fsw),
    SAME(kvm::Fpu, ftwx),    SAME(kvm::Fpu, pad1),    SAME(kvm::Fpu, last_opcode),
    SAME(kvm::Fpu, last_ip), SAME(kvm::Fpu, last_dp), SAME(kvm::Fpu, xmm),
    SAME(kvm::Fpu, mxcsr),   SAME(kvm::Fpu, pad2)};
constexpr std::array kXsave{SAME(kvm::Xsave, region)};
constexpr std::array kXcr{SAME(kvm::Xcr, xcr), SAME(kvm::Xcr, reserved), SAME(kvm::Xcr, value)};
constexpr std::array kXcrs{SAME(kvm::Xcrs, nr_xcrs), SAME(kvm::Xcrs, flags), SAME(kvm::Xcrs, xcrs),
                           SAME(kvm::Xcrs, padding)};
constexpr std::array kMpState{SAME(kvm::MpState, mp_state)};
constexpr std::array kVcpuEvents{SAME(kvm::VcpuEvents, exception),
                                 SAME(kvm::VcpuEvents, exception.injected),
                                 SAME(kvm::VcpuEvents, exception.nr),
                                 SAME(kvm::VcpuEvents, exception.has_error_code),
                                 SAME(kvm::VcpuEvents, exception.pending),
                                 SAME(kvm::VcpuEvents, exception.error_code),
                                 SAME(kvm::VcpuEvents, interrupt),
                                 SAME(kvm::VcpuEvents, interrupt.injected),
                                 SAME(kvm::VcpuEvents, interrupt.nr),
                                 SAME(kvm::VcpuEvents, interrupt.soft),
                                 SAME(kvm::VcpuEvents, interrupt.shadow),
                                 SAME(kvm::VcpuEvents, nmi),
                                 SAME(kvm::VcpuEvents, nmi.injected),
                                 SAME(kvm::VcpuEvents, nmi.pending),
                                 SAME(kvm::VcpuEvents, nmi.masked),
                                 SAME(kvm::VcpuEvents, nmi.pad),
                                 SAME(kvm::VcpuEvents, sipi_vector),
                                 SAME(kvm::VcpuEvents, flags),
                                 SAME(kvm::VcpuEvents, smi),
                                 SAME(kvm::VcpuEvents, smi.smm),
                                 SAME(kvm::VcpuEvents, smi.pending),
                                 SAME(kvm::VcpuEvents, smi.smm_inside_nmi),
                                 SAME(kvm::VcpuEvents, smi.latched_init),
                                 SAME(kvm::VcpuEvents, triple_fault),
                                 SAME(kvm::VcpuEvents, triple_fault.pending),
                                 SAME(kvm::VcpuEvents, reserved),
                                 SAME(kvm::VcpuEvents, exception_has_payload),
                                 SAME(kvm::VcpuEvents, exception_payload)};
constexpr std::array kDebugregs{SAME(kvm::Debugregs, db), SAME(kvm::Debugregs, dr6),
                                SAME(kvm::Debugregs, dr7), SAME(kvm::Debugregs, flags),
                                SAME(kvm::Debugregs, reserved)};
constexpr std::array kGuestDebugArch{SAME(kvm::GuestDebugArch, debugreg)};
constexpr std::array kGuestDebug{SAME(kvm::GuestDebug, control), SAME(kvm::GuestDebug, pad),
                                 SAME(kvm::GuestDebug, arch)};
constexpr std::array kCpuidEntry1{
    SAME(kvm::CpuidEntry1, function), SAME(kvm::CpuidEntry1, eax), SAME(kvm::CpuidEntry1, ebx),
    SAME(kvm::CpuidEntry1, ecx),      SAME(kvm::CpuidEntry1, edx), SAME(kvm::CpuidEntry1, padding)};
constexpr std::array kCpuid1{SAME(kvm::Cpuid1, nent), SAME(kvm::Cpuid1, padding)};
constexpr std::array kCpuidEntry{SAME(kvm::CpuidEntry, function), SAME(kvm::CpuidEntry, index),
                                 SAME(kvm::CpuidEntry, flags),    SAME(kvm::CpuidEntry, eax),
                                 SAME(kvm::CpuidEntry, ebx),      SAME(kvm::CpuidEntry, ecx),
                                 SAME(kvm::CpuidEntry, edx),      SAME(kvm::CpuidEntry, padding)};
constexpr std::array kCpuid{MEMBER(kvm::Cpuid, count, "nent"), SAME(kvm::Cpuid, padding)};
constexpr std::array kMsrEntry{SAME(kvm::MsrEntry, index), SAME(kvm::MsrEntry, reserved),
                               SAME(kvm::MsrEntry, data)};
constexpr std::array kMsrs{MEMBER(kvm::Msrs, count, "nmsrs"), MEMBER(kvm::Msrs, padding, "pad")};
constexpr std::array kMsrList{SAME(kvm::MsrList, nmsrs)};
constexpr std::array kMsrFilterRange{
    SAME(kvm::MsrFilterRange, flags), SAME(kvm::MsrFilterRange, nmsrs),
    SAME(kvm::MsrFilterRange, base), SAME(kvm::MsrFilterRange, bitmap)};
constexpr std::array kMsrFilter{SAME(kvm::MsrFilter, flags), SAME(kvm::MsrFilter, ranges)};
constexpr std::array kX86Mce{SAME(kvm::X86Mce, status), SAME(kvm::X86Mce, addr),
                             SAME(kvm::X86Mce, misc),   SAME(kvm::X86Mce, mcg_status),
                             SAME(kvm::X86Mce, bank),   SAME(kvm::X86Mce, pad1),
                             SAME(kvm::X86Mce, pad2)};
constexpr std::array kVmxNestedStateData{SAME(kvm::VmxNestedStateData, vmcs12),
                                         SAME(kvm::VmxNestedStateData, shadow_vmcs12)};
constexpr std::array kVmxNestedStateHdr{SAME(kvm::VmxNestedStateHdr, vmxon_pa),
                                        SAME(kvm::VmxNestedStateHdr, vmcs12_pa),
                                        SAME(kvm::VmxNestedStateHdr, smm),
                                        SAME(kvm::VmxNestedStateHdr, smm.flags),
                                        SAME(kvm::VmxNestedStateHdr, pad),
                                        SAME(kvm::VmxNestedStateHdr, flags),
                                        SAME(kvm::VmxNestedStateHdr, preemption_timer_deadline)};
constexpr std::array kSvmNestedStateData{SAME(kvm::SvmNestedStateData, vmcb12)};
constexpr std::array kSvmNestedStateHdr{SAME(kvm::SvmNestedStateHdr, vmcb_pa)};
constexpr std::array kNestedState{SAME(kvm::NestedState, flags),   SAME(kvm::NestedState, format),
                                  SAME(kvm::NestedState, size),    SAME(kvm::NestedState, hdr),
                                  SAME(kvm::NestedState, hdr.vmx), SAME(kvm::NestedState, hdr.pad)};
constexpr std::array kPmuEventFilter{
    SAME(kvm::PmuEventFilter, action), SAME(kvm::PmuEventFilter, nevents),
    SAME(kvm::PmuEventFilter, fixed_counter_bitmap), SAME(kvm::PmuEventFilter, flags),
    SAME(kvm::PmuEventFilter, pad)};
constexpr std::array kEnableCap{SAME(kvm::EnableCap, cap), SAME(kvm::EnableCap, flags),
                                SAME(kvm::EnableCap, args), SAME(kvm::EnableCap, pad)};
constexpr std::array kClockData{SAME(kvm::ClockData, clock),    SAME(kvm::ClockData, flags),
                                SAME(kvm::ClockData, pad0),     SAME(kvm::ClockData, realtime),
                                SAME(kvm::ClockData, host_tsc), SAME(kvm::ClockData, pad)};
constexpr std::array kSignalMask{SAME(kvm::SignalMask, len)};
constexpr std::array kCreateDevice{SAME(kvm::CreateDevice, type), SAME(kvm::CreateDevice, fd),
                                   SAME(kvm::CreateDevice, flags)};
constexpr std::array kDeviceAttr{SAME(kvm::DeviceAttr, flags), SAME(kvm::DeviceAttr, group),
                                 SAME(kvm::DeviceAttr, attr), SAME(kvm::DeviceAttr, addr)};
constexpr std::array kOneReg{SAME(kvm::OneReg, id), SAME(kvm::OneReg, addr)};
constexpr std::array kRegList{SAME(kvm::RegList, n)};
constexpr std::array kStatsHeader{
    SAME(kvm::StatsHeader, flags),       SAME(kvm::StatsHeader, name_size),
    SAME(kvm::StatsHeader, num_desc),    SAME(kvm::StatsHeader, id_offset),
    SAME(kvm::StatsHeader, desc_offset), SAME(kvm::StatsHeader, data_offset)};
constexpr std::array kStatsDescriptor{
    SAME(kvm::StatsDescriptor, flags), SAME(kvm::StatsDescriptor, exponent),
    SAME(kvm::StatsDescriptor, size), SAME(kvm::StatsDescriptor, offset),
    SAME(kvm::StatsDescriptor, bucket_size)};
constexpr std::array kDebugExitArch{SAME(kvm::DebugExitArch, exception),
                                    SAME(kvm::DebugExitArch, pad), SAME(kvm::DebugExitArch, pc),
                                    SAME(kvm::DebugExitArch, dr6), SAME(kvm::DebugExitArch, dr7)};
constexpr std::array kHypervExit{SAME(kvm::HypervExit, type),
                                 SAME(kvm::HypervExit, pad1),
                                 SAME(kvm::HypervExit, u),
                                 SAME(kvm::HypervExit, u.synic),
                                 SAME(kvm::HypervExit, u.synic.msr),
                                 SAME(kvm::HypervExit, u.synic.pad2),
                                 SAME(kvm::HypervExit, u.synic.control),
                                 SAME(kvm::HypervExit, u.synic.evt_page),
                                 SAME(kvm::HypervExit, u.synic.msg_page),
                                 SAME(kvm::HypervExit, u.hcall),
                                 SAME(kvm::HypervExit, u.hcall.input),
                                 SAME(kvm::HypervExit, u.hcall.result),
                                 SAME(kvm::HypervExit, u.hcall.params),
                                 SAME(kvm::HypervExit, u.syndbg),
                                 SAME(kvm::HypervExit, u.syndbg.msr),
                                 SAME(kvm::HypervExit, u.syndbg.pad2),
                                 SAME(kvm::HypervExit, u.syndbg.control),
                                 SAME(kvm::HypervExit, u.syndbg.status),
                                 SAME(kvm::HypervExit, u.syndbg.send_page),
                                 SAME(kvm::HypervExit, u.syndbg.recv_page),
                                 SAME(kvm::HypervExit, u.syndbg.pending_page)};
constexpr std::array kXenExit{
    SAME(kvm::XenExit, type),           SAME(kvm::XenExit, u),
    SAME(kvm::XenExit, u.hcall),        SAME(kvm::XenExit, u.hcall.longmode),
    SAME(kvm::XenExit, u.hcall.cpl),    SAME(kvm::XenExit, u.hcall.input),
    SAME(kvm::XenExit, u.hcall.result), SAME(kvm::XenExit, u.hcall.params)};
constexpr std::array kSyncRegs{SAME(kvm::SyncRegs, regs), SAME(kvm::SyncRegs, sregs),
                               SAME(kvm::SyncRegs, events)};
// The kernel leaves hypercall.longmode and system_event.flags out of its own view.
constexpr std::array kRun{
    SAME(kvm::Run, request_interrupt_window),
    MEMBER(kvm::Run, immediate_exit, "immediate_exit|immediate_exit__unsafe"),
    SAME(kvm::Run, padding1),
    SAME(kvm::Run, exit_reason),
    SAME(kvm::Run, ready_for_interrupt_injection),
    SAME(kvm::Run, if_flag),
    SAME(kvm::Run, flags),
    SAME(kvm::Run, cr8),
    SAME(kvm::Run, apic_base),
    SAME(kvm::Run, hw),
    SAME(kvm::Run, hw.hardware_exit_reason),
    SAME(kvm::Run, fail_entry),
    MEMBER(kvm::Run, fail_entry.hardware_reason, "fail_entry.hardware_entry_failure_reason"),
    SAME(kvm::Run, fail_entry.cpu),
    SAME(kvm::Run, ex),
    SAME(kvm::Run, ex.exception),
    SAME(kvm::Run, ex.error_code),
    SAME(kvm::Run, io),
    SAME(kvm::Run, io.direction),
    SAME(kvm::Run, io.size),
    SAME(kvm::Run, io.port),
    SAME(kvm::Run, io.count),
    SAME(kvm::Run, io.data_offset),
    SAME(kvm::Run, debug),
    SAME(kvm::Run, debug.arch),
    SAME(kvm::Run, mmio),
    SAME(kvm::Run, mmio.phys_addr),
    SAME(kvm::Run, mmio.data),
    SAME(kvm::Run, mmio.len),
    SAME(kvm::Run, mmio.is_write),
    SAME(kvm::Run, hypercall),
    SAME(kvm::Run, hypercall.nr),
    SAME(kvm::Run, hypercall.args),
    SAME(kvm::Run, hypercall.ret),
    SAME(kvm::Run, hypercall.flags),
    SAME(kvm::Run, tpr_access),
    SAME(kvm::Run, tpr_access.rip),
    SAME(kvm::Run, tpr_access.is_write),
    SAME(kvm::Run, tpr_access.pad),
    SAME(kvm::Run, internal),
    SAME(kvm::Run, internal.suberror),
    MEMBER(kvm::Run, internal.count, "internal.ndata"),
    SAME(kvm::Run, internal.data),
    SAME(kvm::Run, emulation_failure),
    SAME(kvm::Run, emulation_failure.suberror),
    SAME(kvm::Run, emulation_failure.ndata),
    SAME(kvm::Run, emulation_failure.flags),
    SAME(kvm::Run, emulation_failure.insn_size),
    SAME(kvm::Run, emulation_failure.insn_bytes),
    SAME(kvm::Run, system_event),
    SAME(kvm::Run, system_event.type),
    SAME(kvm::Run, system_event.ndata),
    SAME(kvm::Run, system_event.data),
    SAME(kvm::Run, eoi),
    SAME(kvm::Run, eoi.vector),
    SAME(kvm::Run, hyperv),
    SAME(kvm::Run, msr),
    SAME(kvm::Run, msr.error),
    SAME(kvm::Run, msr.pad),
    SAME(kvm::Run, msr.reason),
    SAME(kvm::Run, msr.index),
    SAME(kvm::Run, msr.data),
    SAME(kvm::Run, xen),
    SAME(kvm::Run, notify),
    SAME(kvm::Run, notify.flags),
    SAME(kvm::Run, memory_fault),
    SAME(kvm::Run, memory_fault.flags),
    SAME(kvm::Run, memory_fault.gpa),
    SAME(kvm::Run, memory_fault.size),
    MEMBER(kvm::Run, space, "padding"),
    SAME(kvm::Run, kvm_valid_regs),
    SAME(kvm::Run, kvm_dirty_regs),
    SAME(kvm::Run, s),
    SAME(kvm::Run, s.regs),
    SAME(kvm::Run, s.padding)};

constexpr std::array kTypes{
    whole<kvm::UserMemoryRegion>("kvm_userspace_memory_region", kUserMemoryRegion),
    whole<kvm::UserMemoryRegion2>("kvm_userspace_memory_region2", kUserMemoryRegion2),
    whole<kvm::CreateGuestMemfd>("kvm_create_guest_memfd", kCreateGuestMemfd),
    whole<kvm::MemoryAttributes>("kvm_memory_attributes", kMemoryAttributes),
    whole<kvm::PreFaultMemory>("kvm_pre_fault_memory", kPreFaultMemory),
    whole<kvm::EncRegion>("kvm_enc_region", kEncRegion),
    whole<kvm::DirtyLog>("kvm_dirty_log", kDirtyLog),
    whole<kvm::ClearDirtyLog>("kvm_clear_dirty_log", kClearDirtyLog),
    whole<kvm::DirtyGfn>("kvm_dirty_gfn", kDirtyGfn),
    whole<kvm::CoalescedMmioZone>("kvm_coalesced_mmio_zone", kCoalescedMmioZone),
    whole<kvm::CoalescedMmio>("kvm_coalesced_mmio", kCoalescedMmio),
    whole<kvm::CoalescedMmioRing>("kvm_coalesced_mmio_ring", kCoalescedMmioRing),
    whole<kvm::Translation>("kvm_translation", kTranslation),
    whole<kvm::IrqLevel>("kvm_irq_level", kIrqLevel),
    whole<kvm::PicState>("kvm_pic_state", kPicState),
    whole<kvm::IoapicState>("kvm_ioapic_state", kIoapicState),
    whole<kvm::Irqchip>("kvm_irqchip", kIrqchip),
    whole<kvm::PitConfig>("kvm_pit_config", kPitConfig),
    whole<kvm::PitChannelState>("kvm_pit_channel_state", kPitChannelState),
    whole<kvm::PitState>("kvm_pit_state", kPitState),
    whole<kvm::PitState2>("kvm_pit_state2", kPitState2),
    whole<kvm::ReinjectControl>("kvm_reinject_control", kReinjectControl),
    whole<kvm::IrqRoutingIrqchip>("kvm_irq_routing_irqchip", kIrqRoutingIrqchip),
    whole<kvm::IrqRoutingMsi>("kvm_irq_routing_msi", kIrqRoutingMsi),
    whole<kvm::IrqRoutingS390Adapter>("kvm_irq_routing_s390_adapter", kIrqRoutingS390Adapter),
    whole<kvm::IrqRoutingHvSint>("kvm_irq_routing_hv_sint", kIrqRoutingHvSint),
    whole<kvm::IrqRoutingXenEvtchn>("kvm_irq_routing_xen_evtchn", kIrqRoutingXenEvtchn),
    whole<kvm::IrqRoutingEntry>("kvm_irq_routing_entry", kIrqRoutingEntry),
    whole<kvm::IrqRouting>("kvm_irq_routing", kIrqRouting),
    whole<kvm::IrqFd>("kvm_irqfd", kIrqFd),
    whole<kvm::IoEventFd>("kvm_ioeventfd", kIoEventFd),
    whole<kvm::Msi>("kvm_msi", kMsi),
    whole<kvm::Interrupt>("kvm_interrupt", kInterrupt),
    whole<kvm::LapicState>("kvm_lapic_state", kLapicState),
    whole<kvm::TprAccessCtl>("kvm_tpr_access_ctl", kTprAccessCtl),
    whole<kvm::VapicAddr>("kvm_vapic_addr", kVapicAddr),
    whole<kvm::Regs>("kvm_regs", kRegs),
    whole<kvm::Segment>("kvm_segment", kSegment),
    whole<kvm::DescriptorTable>("kvm_dtable", kDescriptorTable),
    whole<kvm::Sregs>("kvm_sregs", kSregs),
    whole<kvm::Sregs2>("kvm_sregs2", kSregs2),
    whole<kvm::Fpu>("kvm_fpu", kFpu),
    whole<kvm::Xsave>("kvm_xsave", kXsave),
    whole<kvm::Xcr>("kvm_xcr", kXcr),
    whole<kvm::Xcrs>("kvm_xcrs", kXcrs),
    whole<kvm::MpState>("kvm_mp_state", kMpState),
    whole<kvm::VcpuEvents>("kvm_vcpu_events", kVcpuEvents),
    whole<kvm::Debugregs>("kvm_debugregs", kDebugregs),
    whole<kvm::GuestDebugArch>("kvm_guest_debug_arch", kGuestDebugArch),
    whole<kvm::GuestDebug>("kvm_guest_debug", kGuestDebug),
    whole<kvm::CpuidEntry1>("kvm_cpuid_entry", kCpuidEntry1),
    whole<kvm::Cpuid1>("kvm_cpuid", kCpuid1),
    whole<kvm::CpuidEntry>("kvm_cpuid_entry2", kCpuidEntry),
    start_of("kvm_cpuid2", 8, kCpuid),
    whole<kvm::MsrEntry>("kvm_msr_entry", kMsrEntry),
    start_of("kvm_msrs", 8, kMsrs),
    whole<kvm::MsrList>("kvm_msr_list", kMsrList),
    whole<kvm::MsrFilterRange>("kvm_msr_filter_range", kMsrFilterRange),
    whole<kvm::MsrFilter>("kvm_msr_filter", kMsrFilter),
    whole<kvm::X86Mce>("kvm_x86_mce", kX86Mce),
    whole<kvm::VmxNestedStateData>("kvm_vmx_nested_state_data", kVmxNestedStateData),
    whole<kvm::VmxNestedStateHdr>("kvm_vmx_nested_state_hdr", kVmxNestedStateHdr),
    whole<kvm::SvmNestedStateData>("kvm_svm_nested_state_data", kSvmNestedStateData),
    start_of("kvm_svm_nested_state_hdr", 8, kSvmNestedStateHdr),  // 16 since 7.2
    whole<kvm::NestedState>("kvm_nested_state", kNestedState),
    whole<kvm::PmuEventFilter>("kvm_pmu_event_filter", kPmuEventFilter),
    whole<kvm::EnableCap>("kvm_enable_cap", kEnableCap),
    whole<kvm::ClockData>("kvm_clock_data", kClockData),
    whole<kvm::SignalMask>("kvm_signal_mask", kSignalMask),
    whole<kvm::CreateDevice>("kvm_create_device", kCreateDevice),
    whole<kvm::DeviceAttr>("kvm_device_attr", kDeviceAttr),
    whole<kvm::OneReg>("kvm_one_reg", kOneReg),
    whole<kvm::RegList>("kvm_reg_list", kRegList),
    whole<kvm::StatsHeader>("kvm_stats_header", kStatsHeader),
    start_of("kvm_stats_desc", sizeof(kvm::StatsDescriptor), kStatsDescriptor),
    whole<kvm::DebugExitArch>("kvm_debug_exit_arch", kDebugExitArch),
    whole<kvm::HypervExit>("kvm_hyperv_exit", kHypervExit),
    whole<kvm::XenExit>("kvm_xen_exit", kXenExit),
    whole<kvm::SyncRegs>("kvm_sync_regs", kSyncRegs),
    whole<kvm::Run>("kvm_run", kRun),
};

}  // namespace

std::span<const ExpectedType> kvm_types() { return kTypes; }

}  // namespace pepita::abi_check
