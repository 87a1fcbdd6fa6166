#include "kernel-abi/uapi/kvm_vcpu.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "kernel-abi/uapi/version.h"
#include "test/kernel-abi/uapi/kvm_machine.h"
#include "test/kernel-abi/uapi/newer_kvm.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi::kvm {
namespace {

SAME_SIZE(Regs, kvm_regs);
SAME_PLACE(Regs, rax, kvm_regs, rax);
SAME_PLACE(Regs, rbx, kvm_regs, rbx);
SAME_PLACE(Regs, rcx, kvm_regs, rcx);
SAME_PLACE(Regs, rdx, kvm_regs, rdx);
SAME_PLACE(Regs, rsi, kvm_regs, rsi);
SAME_PLACE(Regs, rdi, kvm_regs, rdi);
SAME_PLACE(Regs, rsp, kvm_regs, rsp);
SAME_PLACE(Regs, rbp, kvm_regs, rbp);
SAME_PLACE(Regs, r8, kvm_regs, r8);
SAME_PLACE(Regs, r9, kvm_regs, r9);
SAME_PLACE(Regs, r10, kvm_regs, r10);
SAME_PLACE(Regs, r11, kvm_regs, r11);
SAME_PLACE(Regs, r12, kvm_regs, r12);
SAME_PLACE(Regs, r13, kvm_regs, r13);
SAME_PLACE(Regs, r14, kvm_regs, r14);
SAME_PLACE(Regs, r15, kvm_regs, r15);
SAME_PLACE(Regs, rip, kvm_regs, rip);
SAME_PLACE(Regs, rflags, kvm_regs, rflags);

SAME_SIZE(Segment, kvm_segment);
SAME_PLACE(Segment, base, kvm_segment, base);
SAME_PLACE(Segment, limit, kvm_segment, limit);
SAME_PLACE(Segment, selector, kvm_segment, selector);
SAME_PLACE(Segment, type, kvm_segment, type);
SAME_PLACE(Segment, present, kvm_segment, present);
SAME_PLACE(Segment, dpl, kvm_segment, dpl);
SAME_PLACE(Segment, db, kvm_segment, db);
SAME_PLACE(Segment, s, kvm_segment, s);
SAME_PLACE(Segment, l, kvm_segment, l);
SAME_PLACE(Segment, g, kvm_segment, g);
SAME_PLACE(Segment, avl, kvm_segment, avl);
SAME_PLACE(Segment, unusable, kvm_segment, unusable);
SAME_PLACE(Segment, padding, kvm_segment, padding);

SAME_SIZE(DescriptorTable, kvm_dtable);
SAME_PLACE(DescriptorTable, base, kvm_dtable, base);
SAME_PLACE(DescriptorTable, limit, kvm_dtable, limit);
SAME_PLACE(DescriptorTable, padding, kvm_dtable, padding);

static_assert(kNrInterrupts == KVM_NR_INTERRUPTS);

SAME_SIZE(Sregs, kvm_sregs);
SAME_PLACE(Sregs, cs, kvm_sregs, cs);
SAME_PLACE(Sregs, ds, kvm_sregs, ds);
SAME_PLACE(Sregs, es, kvm_sregs, es);
SAME_PLACE(Sregs, fs, kvm_sregs, fs);
SAME_PLACE(Sregs, gs, kvm_sregs, gs);
SAME_PLACE(Sregs, ss, kvm_sregs, ss);
SAME_PLACE(Sregs, tr, kvm_sregs, tr);
SAME_PLACE(Sregs, ldt, kvm_sregs, ldt);
SAME_PLACE(Sregs, gdt, kvm_sregs, gdt);
SAME_PLACE(Sregs, idt, kvm_sregs, idt);
SAME_PLACE(Sregs, cr0, kvm_sregs, cr0);
SAME_PLACE(Sregs, cr2, kvm_sregs, cr2);
SAME_PLACE(Sregs, cr3, kvm_sregs, cr3);
SAME_PLACE(Sregs, cr4, kvm_sregs, cr4);
SAME_PLACE(Sregs, cr8, kvm_sregs, cr8);
SAME_PLACE(Sregs, efer, kvm_sregs, efer);
SAME_PLACE(Sregs, apic_base, kvm_sregs, apic_base);
SAME_PLACE(Sregs, interrupt_bitmap, kvm_sregs, interrupt_bitmap);

SAME_SIZE(Sregs2, kvm_sregs2);
SAME_PLACE(Sregs2, cs, kvm_sregs2, cs);
SAME_PLACE(Sregs2, ds, kvm_sregs2, ds);
SAME_PLACE(Sregs2, es, kvm_sregs2, es);
SAME_PLACE(Sregs2, fs, kvm_sregs2, fs);
SAME_PLACE(Sregs2, gs, kvm_sregs2, gs);
SAME_PLACE(Sregs2, ss, kvm_sregs2, ss);
SAME_PLACE(Sregs2, tr, kvm_sregs2, tr);
SAME_PLACE(Sregs2, ldt, kvm_sregs2, ldt);
SAME_PLACE(Sregs2, gdt, kvm_sregs2, gdt);
SAME_PLACE(Sregs2, idt, kvm_sregs2, idt);
SAME_PLACE(Sregs2, cr0, kvm_sregs2, cr0);
SAME_PLACE(Sregs2, cr2, kvm_sregs2, cr2);
SAME_PLACE(Sregs2, cr3, kvm_sregs2, cr3);
SAME_PLACE(Sregs2, cr4, kvm_sregs2, cr4);
SAME_PLACE(Sregs2, cr8, kvm_sregs2, cr8);
SAME_PLACE(Sregs2, efer, kvm_sregs2, efer);
SAME_PLACE(Sregs2, apic_base, kvm_sregs2, apic_base);
SAME_PLACE(Sregs2, flags, kvm_sregs2, flags);
SAME_PLACE(Sregs2, pdptrs, kvm_sregs2, pdptrs);

static_assert(kSregs2FlagsPdptrsValid == KVM_SREGS2_FLAGS_PDPTRS_VALID);

SAME_SIZE(Fpu, kvm_fpu);
SAME_PLACE(Fpu, fpr, kvm_fpu, fpr);
SAME_PLACE(Fpu, fcw, kvm_fpu, fcw);
SAME_PLACE(Fpu, fsw, kvm_fpu, fsw);
SAME_PLACE(Fpu, ftwx, kvm_fpu, ftwx);
SAME_PLACE(Fpu, pad1, kvm_fpu, pad1);
SAME_PLACE(Fpu, last_opcode, kvm_fpu, last_opcode);
SAME_PLACE(Fpu, last_ip, kvm_fpu, last_ip);
SAME_PLACE(Fpu, last_dp, kvm_fpu, last_dp);
SAME_PLACE(Fpu, xmm, kvm_fpu, xmm);
SAME_PLACE(Fpu, mxcsr, kvm_fpu, mxcsr);
SAME_PLACE(Fpu, pad2, kvm_fpu, pad2);

static_assert(sizeof(Xsave) == 4096);  // what follows is not counted
SAME_PLACE(Xsave, region, kvm_xsave, region);

static_assert(kMaxXcrs == KVM_MAX_XCRS);

SAME_SIZE(Xcr, kvm_xcr);
SAME_PLACE(Xcr, xcr, kvm_xcr, xcr);
SAME_PLACE(Xcr, reserved, kvm_xcr, reserved);
SAME_PLACE(Xcr, value, kvm_xcr, value);

SAME_SIZE(Xcrs, kvm_xcrs);
SAME_PLACE(Xcrs, nr_xcrs, kvm_xcrs, nr_xcrs);
SAME_PLACE(Xcrs, flags, kvm_xcrs, flags);
SAME_PLACE(Xcrs, xcrs, kvm_xcrs, xcrs);
SAME_PLACE(Xcrs, padding, kvm_xcrs, padding);

SAME_SIZE(MpState, kvm_mp_state);
SAME_PLACE(MpState, mp_state, kvm_mp_state, mp_state);

static_assert(kMpStateRunnable == KVM_MP_STATE_RUNNABLE);
static_assert(kMpStateUninitialized == KVM_MP_STATE_UNINITIALIZED);
static_assert(kMpStateInitReceived == KVM_MP_STATE_INIT_RECEIVED);
static_assert(kMpStateHalted == KVM_MP_STATE_HALTED);
static_assert(kMpStateSipiReceived == KVM_MP_STATE_SIPI_RECEIVED);
static_assert(kMpStateStopped == KVM_MP_STATE_STOPPED);
static_assert(kMpStateCheckStop == KVM_MP_STATE_CHECK_STOP);
static_assert(kMpStateOperating == KVM_MP_STATE_OPERATING);
static_assert(kMpStateLoad == KVM_MP_STATE_LOAD);
static_assert(kMpStateApResetHold == KVM_MP_STATE_AP_RESET_HOLD);
static_assert(kMpStateSuspended == KVM_MP_STATE_SUSPENDED);

SAME_SIZE(VcpuEvents, kvm_vcpu_events);
SAME_PLACE(VcpuEvents, exception, kvm_vcpu_events, exception);
SAME_PLACE(VcpuEvents, exception.injected, kvm_vcpu_events, exception.injected);
SAME_PLACE(VcpuEvents, exception.nr, kvm_vcpu_events, exception.nr);
SAME_PLACE(VcpuEvents, exception.has_error_code, kvm_vcpu_events, exception.has_error_code);
SAME_PLACE(VcpuEvents, exception.pending, kvm_vcpu_events, exception.pending);
SAME_PLACE(VcpuEvents, exception.error_code, kvm_vcpu_events, exception.error_code);
SAME_PLACE(VcpuEvents, interrupt, kvm_vcpu_events, interrupt);
SAME_PLACE(VcpuEvents, interrupt.injected, kvm_vcpu_events, interrupt.injected);
SAME_PLACE(VcpuEvents, interrupt.nr, kvm_vcpu_events, interrupt.nr);
SAME_PLACE(VcpuEvents, interrupt.soft, kvm_vcpu_events, interrupt.soft);
SAME_PLACE(VcpuEvents, interrupt.shadow, kvm_vcpu_events, interrupt.shadow);
SAME_PLACE(VcpuEvents, nmi, kvm_vcpu_events, nmi);
SAME_PLACE(VcpuEvents, nmi.injected, kvm_vcpu_events, nmi.injected);
SAME_PLACE(VcpuEvents, nmi.pending, kvm_vcpu_events, nmi.pending);
SAME_PLACE(VcpuEvents, nmi.masked, kvm_vcpu_events, nmi.masked);
SAME_PLACE(VcpuEvents, nmi.pad, kvm_vcpu_events, nmi.pad);
SAME_PLACE(VcpuEvents, sipi_vector, kvm_vcpu_events, sipi_vector);
SAME_PLACE(VcpuEvents, flags, kvm_vcpu_events, flags);
SAME_PLACE(VcpuEvents, smi, kvm_vcpu_events, smi);
SAME_PLACE(VcpuEvents, smi.smm, kvm_vcpu_events, smi.smm);
SAME_PLACE(VcpuEvents, smi.pending, kvm_vcpu_events, smi.pending);
SAME_PLACE(VcpuEvents, smi.smm_inside_nmi, kvm_vcpu_events, smi.smm_inside_nmi);
SAME_PLACE(VcpuEvents, smi.latched_init, kvm_vcpu_events, smi.latched_init);
SAME_PLACE(VcpuEvents, triple_fault, kvm_vcpu_events, triple_fault);
SAME_PLACE(VcpuEvents, triple_fault.pending, kvm_vcpu_events, triple_fault.pending);
SAME_PLACE(VcpuEvents, reserved, kvm_vcpu_events, reserved);
SAME_PLACE(VcpuEvents, exception_has_payload, kvm_vcpu_events, exception_has_payload);
SAME_PLACE(VcpuEvents, exception_payload, kvm_vcpu_events, exception_payload);

static_assert(kVcpueventValidNmiPending == KVM_VCPUEVENT_VALID_NMI_PENDING);
static_assert(kVcpueventValidSipiVector == KVM_VCPUEVENT_VALID_SIPI_VECTOR);
static_assert(kVcpueventValidShadow == KVM_VCPUEVENT_VALID_SHADOW);
static_assert(kVcpueventValidSmm == KVM_VCPUEVENT_VALID_SMM);
static_assert(kVcpueventValidPayload == KVM_VCPUEVENT_VALID_PAYLOAD);
static_assert(kVcpueventValidTripleFault == KVM_VCPUEVENT_VALID_TRIPLE_FAULT);

static_assert(kX86ShadowIntMovSs == KVM_X86_SHADOW_INT_MOV_SS);
static_assert(kX86ShadowIntSti == KVM_X86_SHADOW_INT_STI);

static_assert(kDeVector == DE_VECTOR);
static_assert(kDbVector == DB_VECTOR);
static_assert(kBpVector == BP_VECTOR);
static_assert(kOfVector == OF_VECTOR);
static_assert(kBrVector == BR_VECTOR);
static_assert(kUdVector == UD_VECTOR);
static_assert(kNmVector == NM_VECTOR);
static_assert(kDfVector == DF_VECTOR);
static_assert(kTsVector == TS_VECTOR);
static_assert(kNpVector == NP_VECTOR);
static_assert(kSsVector == SS_VECTOR);
static_assert(kGpVector == GP_VECTOR);
static_assert(kPfVector == PF_VECTOR);
static_assert(kMfVector == MF_VECTOR);
static_assert(kAcVector == AC_VECTOR);
static_assert(kMcVector == MC_VECTOR);
static_assert(kXmVector == XM_VECTOR);
static_assert(kVeVector == VE_VECTOR);
static_assert(kCpVector == CP_VECTOR);
static_assert(kHvVector == HV_VECTOR);
static_assert(kVcVector == VC_VECTOR);
static_assert(kSxVector == SX_VECTOR);

SAME_SIZE(Debugregs, kvm_debugregs);
SAME_PLACE(Debugregs, db, kvm_debugregs, db);
SAME_PLACE(Debugregs, dr6, kvm_debugregs, dr6);
SAME_PLACE(Debugregs, dr7, kvm_debugregs, dr7);
SAME_PLACE(Debugregs, flags, kvm_debugregs, flags);
SAME_PLACE(Debugregs, reserved, kvm_debugregs, reserved);

SAME_SIZE(GuestDebugArch, kvm_guest_debug_arch);
SAME_PLACE(GuestDebugArch, debugreg, kvm_guest_debug_arch, debugreg);

SAME_SIZE(GuestDebug, kvm_guest_debug);
SAME_PLACE(GuestDebug, control, kvm_guest_debug, control);
SAME_PLACE(GuestDebug, pad, kvm_guest_debug, pad);
SAME_PLACE(GuestDebug, arch, kvm_guest_debug, arch);

static_assert(kGuestdbgEnable == KVM_GUESTDBG_ENABLE);
static_assert(kGuestdbgSinglestep == KVM_GUESTDBG_SINGLESTEP);
static_assert(kGuestdbgUseSwBp == KVM_GUESTDBG_USE_SW_BP);
static_assert(kGuestdbgUseHwBp == KVM_GUESTDBG_USE_HW_BP);
static_assert(kGuestdbgInjectDb == KVM_GUESTDBG_INJECT_DB);
static_assert(kGuestdbgInjectBp == KVM_GUESTDBG_INJECT_BP);
static_assert(kGuestdbgBlockirq == KVM_GUESTDBG_BLOCKIRQ);

SAME_SIZE(CpuidEntry1, kvm_cpuid_entry);
SAME_PLACE(CpuidEntry1, function, kvm_cpuid_entry, function);
SAME_PLACE(CpuidEntry1, eax, kvm_cpuid_entry, eax);
SAME_PLACE(CpuidEntry1, ebx, kvm_cpuid_entry, ebx);
SAME_PLACE(CpuidEntry1, ecx, kvm_cpuid_entry, ecx);
SAME_PLACE(CpuidEntry1, edx, kvm_cpuid_entry, edx);
SAME_PLACE(CpuidEntry1, padding, kvm_cpuid_entry, padding);

static_assert(sizeof(Cpuid1) == 8);  // what follows is not counted
SAME_PLACE(Cpuid1, nent, kvm_cpuid, nent);
SAME_PLACE(Cpuid1, padding, kvm_cpuid, padding);

SAME_SIZE(CpuidEntry, kvm_cpuid_entry2);
SAME_PLACE(CpuidEntry, function, kvm_cpuid_entry2, function);
SAME_PLACE(CpuidEntry, index, kvm_cpuid_entry2, index);
SAME_PLACE(CpuidEntry, flags, kvm_cpuid_entry2, flags);
SAME_PLACE(CpuidEntry, eax, kvm_cpuid_entry2, eax);
SAME_PLACE(CpuidEntry, ebx, kvm_cpuid_entry2, ebx);
SAME_PLACE(CpuidEntry, ecx, kvm_cpuid_entry2, ecx);
SAME_PLACE(CpuidEntry, edx, kvm_cpuid_entry2, edx);
SAME_PLACE(CpuidEntry, padding, kvm_cpuid_entry2, padding);

static_assert(kCpuidSignificantIndex == KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
static_assert(kCpuidFlagStatefulFunc == KVM_CPUID_FLAG_STATEFUL_FUNC);
static_assert(kCpuidFlagStateReadNext == KVM_CPUID_FLAG_STATE_READ_NEXT);

static_assert(offsetof(Cpuid, entries) == 8);
static_assert(sizeof(Cpuid) == 8 + 256 * sizeof(CpuidEntry));
SAME_PLACE(Cpuid, count, kvm_cpuid2, nent);
SAME_PLACE(Cpuid, padding, kvm_cpuid2, padding);

SAME_SIZE(MsrEntry, kvm_msr_entry);
SAME_PLACE(MsrEntry, index, kvm_msr_entry, index);
SAME_PLACE(MsrEntry, reserved, kvm_msr_entry, reserved);
SAME_PLACE(MsrEntry, data, kvm_msr_entry, data);

static_assert(offsetof(Msrs, entries) == 8);
static_assert(sizeof(Msrs) == 8 + 8 * sizeof(MsrEntry));
SAME_PLACE(Msrs, count, kvm_msrs, nmsrs);
SAME_PLACE(Msrs, padding, kvm_msrs, pad);

static_assert(sizeof(MsrList) == 4);  // what follows is not counted
SAME_PLACE(MsrList, nmsrs, kvm_msr_list, nmsrs);

SAME_SIZE(MsrFilterRange, kvm_msr_filter_range);
SAME_PLACE(MsrFilterRange, flags, kvm_msr_filter_range, flags);
SAME_PLACE(MsrFilterRange, nmsrs, kvm_msr_filter_range, nmsrs);
SAME_PLACE(MsrFilterRange, base, kvm_msr_filter_range, base);
SAME_PLACE(MsrFilterRange, bitmap, kvm_msr_filter_range, bitmap);

static_assert(kMsrFilterRead == KVM_MSR_FILTER_READ);
static_assert(kMsrFilterWrite == KVM_MSR_FILTER_WRITE);

static_assert(kMsrFilterRangeValidMask == KVM_MSR_FILTER_RANGE_VALID_MASK);

static_assert(kMsrFilterMaxBitmapSize == KVM_MSR_FILTER_MAX_BITMAP_SIZE);
static_assert(kMsrFilterMaxRanges == KVM_MSR_FILTER_MAX_RANGES);

SAME_SIZE(MsrFilter, kvm_msr_filter);
SAME_PLACE(MsrFilter, flags, kvm_msr_filter, flags);
SAME_PLACE(MsrFilter, ranges, kvm_msr_filter, ranges);

static_assert(kMsrFilterDefaultAllow == KVM_MSR_FILTER_DEFAULT_ALLOW);
static_assert(kMsrFilterDefaultDeny == KVM_MSR_FILTER_DEFAULT_DENY);
static_assert(kMsrFilterValidMask == KVM_MSR_FILTER_VALID_MASK);

SAME_SIZE(X86Mce, kvm_x86_mce);
SAME_PLACE(X86Mce, status, kvm_x86_mce, status);
SAME_PLACE(X86Mce, addr, kvm_x86_mce, addr);
SAME_PLACE(X86Mce, misc, kvm_x86_mce, misc);
SAME_PLACE(X86Mce, mcg_status, kvm_x86_mce, mcg_status);
SAME_PLACE(X86Mce, bank, kvm_x86_mce, bank);
SAME_PLACE(X86Mce, pad1, kvm_x86_mce, pad1);
SAME_PLACE(X86Mce, pad2, kvm_x86_mce, pad2);

using KvmVcpu = KvmMachine;

TEST_F(KvmVcpu, RegistersAreReadAsTheyWereSet) {
    Regs regs{};
    regs.rax = 0x1111;
    regs.r15 = 0x2222;
    regs.rip = 0x3333;
    regs.rflags = 2;
    ASSERT_EQ(error_of(vcpu_, kSetRegs, &regs), 0);
    Regs read{};
    ASSERT_EQ(error_of(vcpu_, kGetRegs, &read), 0);
    EXPECT_EQ(std::memcmp(&read, &regs, sizeof(regs)), 0);
}

/// Intel SDM 9.1: the state after a reset.
TEST_F(KvmVcpu, AResetProcessorStandsAtItsVector) {
    Regs regs{};
    Sregs sregs{};
    ASSERT_EQ(error_of(vcpu_, kGetRegs, &regs), 0);
    ASSERT_EQ(error_of(vcpu_, kGetSregs, &sregs), 0);
    EXPECT_EQ(regs.rip, 0xfff0U);
    EXPECT_EQ(regs.rflags, 2U);
    EXPECT_EQ(sregs.cs.base, 0xffff'0000U);
    EXPECT_EQ(sregs.cs.limit, 0xffffU);
    EXPECT_EQ(sregs.cs.selector, 0xf000U);
    EXPECT_EQ(sregs.gdt.limit, 0xffffU);
    EXPECT_EQ(sregs.cr0, 0x6000'0010U);
    EXPECT_EQ(sregs.efer, 0U);
    MpState state{.mp_state = 99};
    ASSERT_EQ(error_of(vcpu_, kGetMpState, &state), 0);
    EXPECT_EQ(state.mp_state, kMpStateRunnable);
    Debugregs debug{};
    ASSERT_EQ(error_of(vcpu_, kGetDebugregs, &debug), 0);
    EXPECT_EQ(debug.dr6, 0xffff'0ff0U);
    EXPECT_EQ(debug.dr7, 0x400U);
}

TEST_F(KvmVcpu, TablesHaveTheirLimits) {
    Cpuid cpuid{};
    cpuid.count = static_cast<std::uint32_t>(cpuid.entries.size()) + 1;
    EXPECT_EQ(error_of(vcpu_, kSetCpuid2, &cpuid), E2BIG);
    Msrs msrs{};
    msrs.count = 257;
    EXPECT_EQ(error_of(vcpu_, kSetMsrs, &msrs), E2BIG);
}

TEST_F(KvmVcpu, AnMsrThatIsRefusedEndsTheirRow) {
    Msrs msrs{};
    msrs.count = 2;
    msrs.entries[0] = {.index = 0x10, .reserved = 0, .data = 0};  // TSC
    msrs.entries[1] = {.index = 0x5555'5555, .reserved = 0, .data = 0};
    EXPECT_EQ(::ioctl(vcpu_.ref().number(), kGetMsrs, &msrs), 1);
}

TEST_F(KvmVcpu, WhatIsNotUnderstoodIsRefused) {
    Debugregs debug{};
    debug.flags = 1;
    EXPECT_EQ(error_of(vcpu_, kSetDebugregs, &debug), EINVAL);
    VcpuEvents events{};
    events.flags = 1U << 31U;
    EXPECT_EQ(error_of(vcpu_, kSetVcpuEvents, &events), EINVAL);
    MpState state{.mp_state = 99};
    EXPECT_EQ(error_of(vcpu_, kSetMpState, &state), EINVAL);
    MsrFilter filter{};
    filter.flags = 1U << 31U;
    EXPECT_EQ(error_of(vm_, kX86SetMsrFilter, &filter), EINVAL);
}

}  // namespace
}  // namespace pepita::abi::kvm
