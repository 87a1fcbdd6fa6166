#pragma once

#include <array>
#include <cstdint>

/// The state of an x86-64 vCPU: what a boot sets and a snapshot saves.
namespace pepita::abi::kvm {

struct Regs {
    std::uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
    std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    std::uint64_t rip, rflags;
};

struct Segment {
    std::uint64_t base;
    std::uint32_t limit;
    std::uint16_t selector;
    std::uint8_t type, present, dpl, db, s, l, g, avl;
    std::uint8_t unusable, padding;
};

struct DescriptorTable {
    std::uint64_t base;
    std::uint16_t limit;
    std::array<std::uint16_t, 3> padding;
};

struct Sregs {
    Segment cs, ds, es, fs, gs, ss, tr, ldt;
    DescriptorTable gdt, idt;
    std::uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
    std::array<std::uint64_t, 4> interrupt_bitmap;
};

/// With KVM_CAP_XSAVE2 it is as long as that capability says.
struct Xsave {
    std::array<std::uint32_t, 1024> region;
    // extra follow
};

struct Xcr {
    std::uint32_t xcr;
    std::uint32_t reserved;
    std::uint64_t value;
};

struct Xcrs {
    std::uint32_t nr_xcrs;
    std::uint32_t flags;
    std::array<Xcr, 16> xcrs;
    std::array<std::uint64_t, 16> padding;
};

struct LapicState {
    std::array<std::uint8_t, 1024> regs;
};

struct MpState {
    std::uint32_t mp_state;
};

/// MpState::mp_state.
inline constexpr std::uint32_t kMpStateRunnable = 0;
inline constexpr std::uint32_t kMpStateUninitialized = 1;
inline constexpr std::uint32_t kMpStateInitReceived = 2;
inline constexpr std::uint32_t kMpStateHalted = 3;
inline constexpr std::uint32_t kMpStateSipiReceived = 4;

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
    std::uint8_t exception_has_payload;
    std::uint64_t exception_payload;
};

/// VcpuEvents::flags: which optional parts KVM_SET_VCPU_EVENTS sets.
inline constexpr std::uint32_t kVcpueventValidNmiPending = 0x1;
inline constexpr std::uint32_t kVcpueventValidSipiVector = 0x2;
inline constexpr std::uint32_t kVcpueventValidShadow = 0x4;
inline constexpr std::uint32_t kVcpueventValidSmm = 0x8;
inline constexpr std::uint32_t kVcpueventValidPayload = 0x10;
inline constexpr std::uint32_t kVcpueventValidTripleFault = 0x20;

/// VcpuEvents::interrupt.shadow.
inline constexpr std::uint8_t kX86ShadowIntMovSs = 0x1;
inline constexpr std::uint8_t kX86ShadowIntSti = 0x2;

struct Debugregs {
    std::array<std::uint64_t, 4> db;
    std::uint64_t dr6;
    std::uint64_t dr7;
    std::uint64_t flags;
    std::array<std::uint64_t, 9> reserved;
};

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

struct MsrEntry {
    std::uint32_t index;
    std::uint32_t reserved;
    std::uint64_t data;
};

/// kvm_msrs with room for a few.
struct Msrs {
    std::uint32_t count;
    std::uint32_t padding;
    std::array<MsrEntry, 8> entries;
};

struct MsrList {
    std::uint32_t nmsrs;
    // indices follow
};

}  // namespace pepita::abi::kvm
