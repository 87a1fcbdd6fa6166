#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// The state of an x86-64 processor, as it is read and set. A comment behind a name says which
/// Linux brought it; what has none is as old as Linux 3.0. Source: Linux 7.3
/// include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
namespace pepita::abi::kvm {

struct Regs {
    std::uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
    std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    std::uint64_t rip, rflags;
};
static_assert(sizeof(Regs) == 144);

struct Segment {
    std::uint64_t base;
    std::uint32_t limit;
    std::uint16_t selector;
    std::uint8_t type, present, dpl, db, s, l, g, avl;
    std::uint8_t unusable, padding;
};
static_assert(sizeof(Segment) == 24);

struct DescriptorTable {
    std::uint64_t base;
    std::uint16_t limit;
    std::array<std::uint16_t, 3> padding;
};
static_assert(sizeof(DescriptorTable) == 16);

inline constexpr std::size_t kNrInterrupts = 256;

struct Sregs {
    Segment cs, ds, es, fs, gs, ss, tr, ldt;
    DescriptorTable gdt, idt;
    std::uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
    std::array<std::uint64_t, 4> interrupt_bitmap;
};
static_assert(sizeof(Sregs) == 312);

/// Since 5.14.
struct Sregs2 {
    Segment cs, ds, es, fs, gs, ss, tr, ldt;
    DescriptorTable gdt, idt;
    std::uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base, flags;
    std::array<std::uint64_t, 4> pdptrs;
};
static_assert(sizeof(Sregs2) == 320);

/// Sregs2::flags.
inline constexpr std::uint64_t kSregs2FlagsPdptrsValid = 1;  // 5.14

struct Fpu {
    std::array<std::array<std::uint8_t, 16>, 8> fpr;
    std::uint16_t fcw;
    std::uint16_t fsw;
    std::uint8_t ftwx;
    std::uint8_t pad1;
    std::uint16_t last_opcode;
    std::uint64_t last_ip;
    std::uint64_t last_dp;
    std::array<std::array<std::uint8_t, 16>, 16> xmm;
    std::uint32_t mxcsr;
    std::uint32_t pad2;
};
static_assert(sizeof(Fpu) == 416);

/// With KVM_CAP_XSAVE2 (5.17) it is as long as that capability says.
struct Xsave {
    std::array<std::uint32_t, 1024> region;
    // extra follow
};
static_assert(sizeof(Xsave) == 4096);

inline constexpr std::size_t kMaxXcrs = 16;

struct Xcr {
    std::uint32_t xcr;
    std::uint32_t reserved;
    std::uint64_t value;
};
static_assert(sizeof(Xcr) == 16);

struct Xcrs {
    std::uint32_t nr_xcrs;
    std::uint32_t flags;
    std::array<Xcr, 16> xcrs;
    std::array<std::uint64_t, 16> padding;
};
static_assert(sizeof(Xcrs) == 392);

struct MpState {
    std::uint32_t mp_state;
};
static_assert(sizeof(MpState) == 4);

/// MpState::mp_state.
inline constexpr std::uint32_t kMpStateRunnable = 0;
inline constexpr std::uint32_t kMpStateUninitialized = 1;
inline constexpr std::uint32_t kMpStateInitReceived = 2;
inline constexpr std::uint32_t kMpStateHalted = 3;
inline constexpr std::uint32_t kMpStateSipiReceived = 4;
inline constexpr std::uint32_t kMpStateStopped = 5;      // 3.17
inline constexpr std::uint32_t kMpStateCheckStop = 6;    // 3.17
inline constexpr std::uint32_t kMpStateOperating = 7;    // 3.17
inline constexpr std::uint32_t kMpStateLoad = 8;         // 3.17
inline constexpr std::uint32_t kMpStateApResetHold = 9;  // 5.14
inline constexpr std::uint32_t kMpStateSuspended = 10;   // 5.19

struct VcpuEvents {
    struct {
        std::uint8_t injected;
        std::uint8_t nr;
        std::uint8_t has_error_code;
        std::uint8_t pending;
        std::uint32_t error_code;
    } exception;
    struct {
        std::uint8_t injected;
        std::uint8_t nr;
        std::uint8_t soft;
        std::uint8_t shadow;
    } interrupt;
    struct {
        std::uint8_t injected;
        std::uint8_t pending;
        std::uint8_t masked;
        std::uint8_t pad;
    } nmi;
    std::uint32_t sipi_vector;
    std::uint32_t flags;
    struct {
        std::uint8_t smm;
        std::uint8_t pending;
        std::uint8_t smm_inside_nmi;
        std::uint8_t latched_init;
    } smi;
    struct {
        std::uint8_t pending;
    } triple_fault;
    std::array<std::uint8_t, 26> reserved;
    std::uint8_t exception_has_payload;  // 4.20
    std::uint64_t exception_payload;     // 4.20
};
static_assert(sizeof(VcpuEvents) == 64);

/// VcpuEvents::flags: what else is to be set.
inline constexpr std::uint32_t kVcpueventValidNmiPending = 0x1;
inline constexpr std::uint32_t kVcpueventValidSipiVector = 0x2;
inline constexpr std::uint32_t kVcpueventValidShadow = 0x4;
inline constexpr std::uint32_t kVcpueventValidSmm = 0x8;           // 4.2
inline constexpr std::uint32_t kVcpueventValidPayload = 0x10;      // 4.20
inline constexpr std::uint32_t kVcpueventValidTripleFault = 0x20;  // 6.0

/// VcpuEvents::interrupt.shadow.
inline constexpr std::uint8_t kX86ShadowIntMovSs = 0x1;
inline constexpr std::uint8_t kX86ShadowIntSti = 0x2;

/// Exceptions, VcpuEvents::exception.nr.
inline constexpr std::uint8_t kDeVector = 0;
inline constexpr std::uint8_t kDbVector = 1;
inline constexpr std::uint8_t kBpVector = 3;
inline constexpr std::uint8_t kOfVector = 4;
inline constexpr std::uint8_t kBrVector = 5;
inline constexpr std::uint8_t kUdVector = 6;
inline constexpr std::uint8_t kNmVector = 7;
inline constexpr std::uint8_t kDfVector = 8;
inline constexpr std::uint8_t kTsVector = 10;
inline constexpr std::uint8_t kNpVector = 11;
inline constexpr std::uint8_t kSsVector = 12;
inline constexpr std::uint8_t kGpVector = 13;
inline constexpr std::uint8_t kPfVector = 14;
inline constexpr std::uint8_t kMfVector = 16;
inline constexpr std::uint8_t kAcVector = 17;  // 4.4
inline constexpr std::uint8_t kMcVector = 18;
inline constexpr std::uint8_t kXmVector = 19;  // 3.17
inline constexpr std::uint8_t kVeVector = 20;  // 3.19
inline constexpr std::uint8_t kCpVector = 21;  // 6.18
inline constexpr std::uint8_t kHvVector = 28;  // 6.18
inline constexpr std::uint8_t kVcVector = 29;  // 6.18
inline constexpr std::uint8_t kSxVector = 30;  // 6.18

struct Debugregs {
    std::array<std::uint64_t, 4> db;
    std::uint64_t dr6;
    std::uint64_t dr7;
    std::uint64_t flags;
    std::array<std::uint64_t, 9> reserved;
};
static_assert(sizeof(Debugregs) == 128);

struct GuestDebugArch {
    std::array<std::uint64_t, 8> debugreg;
};
static_assert(sizeof(GuestDebugArch) == 64);

struct GuestDebug {
    std::uint32_t control;
    std::uint32_t pad;
    GuestDebugArch arch;
};
static_assert(sizeof(GuestDebug) == 72);

/// GuestDebug::control.
inline constexpr std::uint32_t kGuestdbgEnable = 0x1;
inline constexpr std::uint32_t kGuestdbgSinglestep = 0x2;
inline constexpr std::uint32_t kGuestdbgUseSwBp = 0x10000;
inline constexpr std::uint32_t kGuestdbgUseHwBp = 0x20000;
inline constexpr std::uint32_t kGuestdbgInjectDb = 0x40000;
inline constexpr std::uint32_t kGuestdbgInjectBp = 0x80000;
inline constexpr std::uint32_t kGuestdbgBlockirq = 0x100000;  // 5.15

/// Of KVM_SET_CPUID, which KVM_SET_CPUID2 came after.
struct CpuidEntry1 {
    std::uint32_t function;
    std::uint32_t eax;
    std::uint32_t ebx;
    std::uint32_t ecx;
    std::uint32_t edx;
    std::uint32_t padding;
};
static_assert(sizeof(CpuidEntry1) == 24);

struct Cpuid1 {
    std::uint32_t nent;
    std::uint32_t padding;
    // entries follow
};
static_assert(sizeof(Cpuid1) == 8);

struct CpuidEntry {
    std::uint32_t function;
    std::uint32_t index;
    std::uint32_t flags;
    std::uint32_t eax;
    std::uint32_t ebx;
    std::uint32_t ecx;
    std::uint32_t edx;
    std::array<std::uint32_t, 3> padding;
    friend bool operator==(const CpuidEntry&, const CpuidEntry&) = default;
};
static_assert(sizeof(CpuidEntry) == 40);

/// CpuidEntry::flags.
inline constexpr std::uint32_t kCpuidSignificantIndex = 1U << 0U;
inline constexpr std::uint32_t kCpuidFlagStatefulFunc = 1U << 1U;
inline constexpr std::uint32_t kCpuidFlagStateReadNext = 1U << 2U;

/// kvm_cpuid2 with room for entries. The kernel's own limit is 256 (KVM_MAX_CPUID_ENTRIES).
struct Cpuid {
    std::uint32_t count;
    std::uint32_t padding;
    std::array<CpuidEntry, 256> entries;
};
static_assert(offsetof(Cpuid, entries) == 8);

struct MsrEntry {
    std::uint32_t index;
    std::uint32_t reserved;
    std::uint64_t data;
};
static_assert(sizeof(MsrEntry) == 16);

/// kvm_msrs with room for a few.
struct Msrs {
    std::uint32_t count;
    std::uint32_t padding;
    std::array<MsrEntry, 8> entries;
};
static_assert(offsetof(Msrs, entries) == 8);

struct MsrList {
    std::uint32_t nmsrs;
    // indices follow
};
static_assert(sizeof(MsrList) == 4);

/// Since 5.10.
struct MsrFilterRange {
    std::uint32_t flags;
    std::uint32_t nmsrs;
    std::uint32_t base;
    std::uint8_t* bitmap;
};
static_assert(sizeof(MsrFilterRange) == 24);

/// MsrFilterRange::flags.
inline constexpr std::uint32_t kMsrFilterRead = 1U << 0U;   // 5.10
inline constexpr std::uint32_t kMsrFilterWrite = 1U << 1U;  // 5.10

inline constexpr std::uint32_t kMsrFilterRangeValidMask = 0x3;  // 6.2

/// The most that a range and a filter may hold: bytes of a bitmap, ranges.
inline constexpr std::size_t kMsrFilterMaxBitmapSize = 1536;  // 5.10
inline constexpr std::size_t kMsrFilterMaxRanges = 16;        // 5.10

/// Since 5.10.
struct MsrFilter {
    std::uint32_t flags;
    std::array<MsrFilterRange, 16> ranges;
};
static_assert(sizeof(MsrFilter) == 392);

/// MsrFilter::flags.
inline constexpr std::uint32_t kMsrFilterDefaultAllow = 0;  // 5.10
inline constexpr std::uint32_t kMsrFilterDefaultDeny = 1;   // 5.10
inline constexpr std::uint32_t kMsrFilterValidMask = 1;     // 6.2

struct X86Mce {
    std::uint64_t status;
    std::uint64_t addr;
    std::uint64_t misc;
    std::uint64_t mcg_status;
    std::uint8_t bank;
    std::array<std::uint8_t, 7> pad1;
    std::array<std::uint64_t, 3> pad2;
};
static_assert(sizeof(X86Mce) == 64);

}  // namespace pepita::abi::kvm
