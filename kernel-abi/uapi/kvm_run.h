#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernel-abi/uapi/kvm_vcpu.h"

/// What a vCPU tells and is told: the page it shares with the kernel. A comment behind a name
/// says which Linux brought it; what has none is as old as Linux 3.0. Source: Linux 7.3
/// include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
namespace pepita::abi::kvm {

/// Why a vCPU came back: Run::exit_reason. All of them; of those that x86-64 does not have only
/// the number.
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
    S390Sieic = 13,
    S390Reset = 14,
    Dcr = 15,
    Nmi = 16,
    InternalError = 17,
    Osi = 18,             // 3.0
    PaprHcall = 19,       // 3.1
    S390Ucontrol = 20,    // 3.3
    Watchdog = 21,        // 3.7
    S390Tsch = 22,        // 3.9
    Epr = 23,             // 3.9
    SystemEvent = 24,     // 3.17
    S390Stsi = 25,        // 4.1
    IoapicEoi = 26,       // 4.4
    Hyperv = 27,          // 4.5
    ArmNisv = 28,         // 5.5
    X86Rdmsr = 29,        // 5.10
    X86Wrmsr = 30,        // 5.10
    DirtyRingFull = 31,   // 5.11
    ApResetHold = 32,     // 5.14
    X86BusLock = 33,      // 5.12
    Xen = 34,             // 5.12
    RiscvSbi = 35,        // 5.16
    RiscvCsr = 36,        // 6.0
    Notify = 37,          // 6.0
    LoongarchIocsr = 38,  // 6.7
    MemoryFault = 39,     // 6.8
    Tdx = 40,             // 6.16
    ArmSea = 41,          // 6.19
    ArmLdst64b = 42,      // 7.2
    SnpReqCerts = 43,     // 7.0
};

struct DebugExitArch {
    std::uint32_t exception;
    std::uint32_t pad;
    std::uint64_t pc;
    std::uint64_t dr6;
    std::uint64_t dr7;
};
static_assert(sizeof(DebugExitArch) == 32);

/// Since 4.5.
struct HypervExit {
    std::uint32_t type;
    std::uint32_t pad1;
    union {
        struct {
            std::uint32_t msr;
            std::uint32_t pad2;
            std::uint64_t control;
            std::uint64_t evt_page;
            std::uint64_t msg_page;
        } synic;
        struct {
            std::uint64_t input;
            std::uint64_t result;
            std::array<std::uint64_t, 2> params;
        } hcall;
        struct {
            std::uint32_t msr;
            std::uint32_t pad2;
            std::uint64_t control;
            std::uint64_t status;
            std::uint64_t send_page;
            std::uint64_t recv_page;
            std::uint64_t pending_page;
        } syndbg;
    } u;
};
static_assert(sizeof(HypervExit) == 56);

/// Since 5.12.
struct XenExit {
    std::uint32_t type;
    union {
        struct {
            std::uint32_t longmode;
            std::uint32_t cpl;
            std::uint64_t input;
            std::uint64_t result;
            std::array<std::uint64_t, 6> params;
        } hcall;
    } u;
};
static_assert(sizeof(XenExit) == 80);

/// Since 4.17.
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

struct DebugExit {
    DebugExitArch arch;
};

struct MmioExit {
    std::uint64_t phys_addr;
    std::array<std::uint8_t, 8> data;
    std::uint32_t len;
    std::uint8_t is_write;
};

struct HypercallExit {
    std::uint64_t nr;
    std::array<std::uint64_t, 6> args;
    std::uint64_t ret;
    union {
        std::uint32_t longmode;
        std::uint64_t flags;
    };
};

struct TprAccessExit {
    std::uint64_t rip;
    std::uint32_t is_write;
    std::uint32_t pad;
};

struct InternalErrorExit {
    std::uint32_t suberror;
    std::uint32_t count;
    std::array<std::uint64_t, 16> data;
};

/// Since 5.14.
struct EmulationFailureExit {
    std::uint32_t suberror;
    std::uint32_t ndata;
    std::uint64_t flags;
    std::uint8_t insn_size;
    std::array<std::uint8_t, 15> insn_bytes;
};

/// Since 3.17.
struct SystemEventExit {
    std::uint32_t type;
    std::uint32_t ndata;
    union {
        std::uint64_t flags;
        std::array<std::uint64_t, 16> data;
    };
};

/// Since 4.4.
struct IoapicEoiExit {
    std::uint8_t vector;
};

/// Since 5.10.
struct MsrExit {
    std::uint8_t error;
    std::array<std::uint8_t, 7> pad;
    std::uint32_t reason;
    std::uint32_t index;
    std::uint64_t data;
};

/// Since 6.0.
struct NotifyExit {
    std::uint32_t flags;
};

/// Since 6.8.
struct MemoryFaultExit {
    std::uint64_t flags;
    std::uint64_t gpa;
    std::uint64_t size;
};

/// Run::flags.
inline constexpr std::uint16_t kRunX86Smm = 1U << 0U;        // 4.2
inline constexpr std::uint16_t kRunX86BusLock = 1U << 1U;    // 5.12
inline constexpr std::uint16_t kRunX86GuestMode = 1U << 2U;  // 6.11

/// IoExit::direction.
inline constexpr std::uint8_t kExitIoIn = 0;
inline constexpr std::uint8_t kExitIoOut = 1;

/// InternalErrorExit::suberror.
inline constexpr std::uint32_t kInternalErrorEmulation = 1;
inline constexpr std::uint32_t kInternalErrorSimulEx = 2;
inline constexpr std::uint32_t kInternalErrorDeliveryEv = 3;
inline constexpr std::uint32_t kInternalErrorUnexpectedExitReason = 4;  // 5.5

/// EmulationFailureExit::flags.
inline constexpr std::uint64_t kInternalErrorEmulationFlagInstructionBytes = 1ULL << 0U;  // 5.14

/// SystemEventExit::type.
inline constexpr std::uint32_t kSystemEventShutdown = 1;  // 3.17
inline constexpr std::uint32_t kSystemEventReset = 2;     // 3.17
inline constexpr std::uint32_t kSystemEventCrash = 3;     // 4.5
inline constexpr std::uint32_t kSystemEventWakeup = 4;    // 5.19
inline constexpr std::uint32_t kSystemEventSuspend = 5;   // 5.19
inline constexpr std::uint32_t kSystemEventSevTerm = 6;   // 5.19
inline constexpr std::uint32_t kSystemEventTdxFatal = 7;  // 6.16

/// HypervExit::type.
inline constexpr std::uint32_t kExitHypervSynic = 1;   // 4.5
inline constexpr std::uint32_t kExitHypervHcall = 2;   // 4.5
inline constexpr std::uint32_t kExitHypervSyndbg = 3;  // 5.8

/// XenExit::type.
inline constexpr std::uint32_t kExitXenHcall = 1;  // 5.12

/// MsrExit::reason.
inline constexpr std::uint32_t kMsrExitReasonInval = 1U << 0U;    // 5.10
inline constexpr std::uint32_t kMsrExitReasonUnknown = 1U << 1U;  // 5.10
inline constexpr std::uint32_t kMsrExitReasonFilter = 1U << 2U;   // 5.10

inline constexpr std::uint32_t kMsrExitReasonValidMask = 0x7;  // 6.2

/// HypercallExit::flags.
inline constexpr std::uint64_t kExitHypercallLongMode = 1ULL << 0U;  // 6.5

/// NotifyExit::flags.
inline constexpr std::uint32_t kNotifyContextInvalid = 1U << 0U;  // 6.0

/// MemoryFaultExit::flags.
inline constexpr std::uint64_t kMemoryExitFlagPrivate = 1ULL << 3U;  // 6.8

/// Run::kvm_valid_regs and kvm_dirty_regs: which parts of SyncRegs are meant.
inline constexpr std::uint64_t kSyncX86Regs = 1ULL << 0U;    // 4.17
inline constexpr std::uint64_t kSyncX86Sregs = 1ULL << 1U;   // 4.17
inline constexpr std::uint64_t kSyncX86Events = 1ULL << 2U;  // 4.17

inline constexpr std::uint64_t kSyncX86ValidFields = 0x7;  // 4.17

inline constexpr std::size_t kSyncRegsSizeBytes = 2048;  // 3.4

/// The page that is shared with the kernel while a vCPU runs.
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
        DebugExit debug;
        MmioExit mmio;
        HypercallExit hypercall;
        TprAccessExit tpr_access;
        InternalErrorExit internal;
        EmulationFailureExit emulation_failure;
        SystemEventExit system_event;
        IoapicEoiExit eoi;
        HypervExit hyperv;
        MsrExit msr;
        XenExit xen;
        NotifyExit notify;
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
static_assert(offsetof(Run, exit_reason) == 8);
static_assert(offsetof(Run, io) == 32);
static_assert(offsetof(Run, mmio.len) == 48);
static_assert(sizeof(Run) == 2352);

}  // namespace pepita::abi::kvm
