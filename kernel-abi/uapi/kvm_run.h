#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernel-abi/uapi/kvm_vcpu.h"

/// The page that a vCPU shares with the kernel while it runs: why it exited, and with what data.
namespace pepita::abi::kvm {

/// Run::exit_reason. Those of x86-64; what has no number here is of another processor.
enum class ExitReason : std::uint32_t {
    Unknown = 0,
    Exception = 1,
    Io = 2,
    Hypercall = 3,
    Debug = 4,
    Hlt = 5,
    Mmio = 6,
    InterruptWindowOpen = 7,
    Shutdown = 8,
    FailEntry = 9,
    Interrupted = 10,
    SetTpr = 11,
    TprAccess = 12,
    Nmi = 16,
    InternalError = 17,
    SystemEvent = 24,
    IoapicEoi = 26,
    Hyperv = 27,
    X86Rdmsr = 29,
    X86Wrmsr = 30,
    DirtyRingFull = 31,
    ApResetHold = 32,
    X86BusLock = 33,
    Xen = 34,
    Notify = 37,
    MemoryFault = 39,  // 6.8
    Tdx = 40,          // 6.16
    SnpReqCerts = 43,  // 7.0
};

struct SyncRegs {
    Regs regs;
    Sregs sregs;
    VcpuEvents events;
};

struct HardwareExit {
    std::uint64_t hardware_exit_reason;
};

struct FailEntryExit {
    std::uint64_t hardware_reason;
    std::uint32_t cpu;
};

struct ExceptionExit {
    std::uint32_t exception;
    std::uint32_t error_code;
};

struct IoExit {
    std::uint8_t direction;
    std::uint8_t size;
    std::uint16_t port;
    std::uint32_t count;
    std::uint64_t data_offset;
};

struct MmioExit {
    std::uint64_t phys_addr;
    std::array<std::uint8_t, 8> data;
    std::uint32_t len;
    std::uint8_t is_write;
};

struct InternalErrorExit {
    std::uint32_t suberror;
    std::uint32_t count;
    std::array<std::uint64_t, 16> data;
};

struct EmulationFailureExit {
    std::uint32_t suberror;
    std::uint32_t ndata;
    std::uint64_t flags;
    std::uint8_t insn_size;
    std::array<std::uint8_t, 15> insn_bytes;
};

struct SystemEventExit {
    std::uint32_t type;
    std::uint32_t ndata;
    std::array<std::uint64_t, 16> data;
};

struct IoapicEoiExit {
    std::uint8_t vector;
};

/// Since 6.8.
struct MemoryFaultExit {
    std::uint64_t flags;
    std::uint64_t gpa;
    std::uint64_t size;
};

/// IoExit::direction.
inline constexpr std::uint8_t kExitIoIn = 0;
inline constexpr std::uint8_t kExitIoOut = 1;

/// InternalErrorExit::suberror.
inline constexpr std::uint32_t kInternalErrorEmulation = 1;
inline constexpr std::uint32_t kInternalErrorSimulEx = 2;
inline constexpr std::uint32_t kInternalErrorDeliveryEv = 3;
inline constexpr std::uint32_t kInternalErrorUnexpectedExitReason = 4;

/// EmulationFailureExit::flags.
inline constexpr std::uint64_t kInternalErrorEmulationFlagInstructionBytes = 1ULL << 0U;

/// SystemEventExit::type.
inline constexpr std::uint32_t kSystemEventShutdown = 1;
inline constexpr std::uint32_t kSystemEventReset = 2;
inline constexpr std::uint32_t kSystemEventCrash = 3;

/// Run::kvm_valid_regs and kvm_dirty_regs: which parts of SyncRegs the kernel writes or reads.
inline constexpr std::uint64_t kSyncX86Regs = 1ULL << 0U;
inline constexpr std::uint64_t kSyncX86Sregs = 1ULL << 1U;
inline constexpr std::uint64_t kSyncX86Events = 1ULL << 2U;

inline constexpr std::size_t kSyncRegsSizeBytes = 2048;

struct Run {
    std::uint8_t request_interrupt_window;
    std::uint8_t immediate_exit;
    std::array<std::uint8_t, 6> padding1;
    std::uint32_t exit_reason;
    std::uint8_t ready_for_interrupt_injection;
    std::uint8_t if_flag;
    std::uint16_t flags;
    std::uint64_t cr8;
    std::uint64_t apic_base;
    union {
        HardwareExit hw;
        FailEntryExit fail_entry;
        ExceptionExit ex;
        IoExit io;
        MmioExit mmio;
        InternalErrorExit internal;
        EmulationFailureExit emulation_failure;
        SystemEventExit system_event;
        IoapicEoiExit eoi;
        MemoryFaultExit memory_fault;
        std::array<std::uint8_t, 256> space;
    };
    std::uint64_t kvm_valid_regs;
    std::uint64_t kvm_dirty_regs;
    union {
        SyncRegs regs;
        std::array<std::uint8_t, kSyncRegsSizeBytes> padding;
    } s;
};

}  // namespace pepita::abi::kvm
