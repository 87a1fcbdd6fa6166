#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// What we exchange with /dev/kvm, x86-64. Source: Linux 6.12 include/uapi/linux/kvm.h and
/// arch/x86/include/uapi/asm/kvm.h.
///
/// Our own definitions, because in C++ the flexible arrays of Debian 12's header are one byte long:
/// sizeof(kvm_cpuid2) is 12 there, and the ioctl number that is made of it wrong.
namespace pepita::abi::kvm {

// NOLINTBEGIN(readability-identifier-naming): these carry the kernel's own names.

enum class Direction : std::uint32_t { None = 0, Write = 1, Read = 2, ReadWrite = 3 };

/// asm-generic/ioctl.h, with KVM's type 0xae.
constexpr unsigned long request(Direction direction, std::uint32_t number, std::size_t size) {
    return (static_cast<unsigned long>(direction) << 30U) | (size << 16U) | (0xaeUL << 8U) | number;
}

inline constexpr int kApiVersion = 12;

struct UserMemoryRegion {
    std::uint32_t slot;
    std::uint32_t flags;
    std::uint64_t guest_phys_addr;
    std::uint64_t memory_size;
    std::uint64_t userspace_addr;
};
static_assert(sizeof(UserMemoryRegion) == 32);

struct EnableCap {
    std::uint32_t cap;
    std::uint32_t flags;
    std::array<std::uint64_t, 4> args;
    std::array<std::uint8_t, 64> pad;
};
static_assert(sizeof(EnableCap) == 104);

inline constexpr std::uint32_t kCapImmediateExit = 136;
inline constexpr std::uint32_t kCapSplitIrqchip = 121;
inline constexpr std::uint32_t kCapTscDeadlineTimer = 72;
inline constexpr std::uint32_t kCapX2ApicApi = 129;

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
inline constexpr std::uint32_t kCpuidSignificantIndex = 1;  // a flag of an entry

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

struct Msrs {
    std::uint32_t count;
    std::uint32_t padding;
    std::array<MsrEntry, 8> entries;
};
static_assert(offsetof(Msrs, entries) == 8);

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
    std::uint8_t type, present, dpl, db, s, l, g, avl, unusable, padding;
};
static_assert(sizeof(Segment) == 24);

struct DescriptorTable {
    std::uint64_t base;
    std::uint16_t limit;
    std::array<std::uint16_t, 3> padding;
};
static_assert(sizeof(DescriptorTable) == 16);

struct Sregs {
    Segment cs, ds, es, fs, gs, ss, tr, ldt;
    DescriptorTable gdt, idt;
    std::uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
    std::array<std::uint64_t, 4> interrupt_bitmap;
};
static_assert(sizeof(Sregs) == 312);

struct IoEventFd {
    std::uint64_t datamatch;
    std::uint64_t addr;
    std::uint32_t len;
    std::int32_t fd;
    std::uint32_t flags;
    std::array<std::uint8_t, 36> pad;
};
static_assert(sizeof(IoEventFd) == 64);
inline constexpr std::uint32_t kIoEventFdDeassign = 1U << 2U;

struct Msi {
    std::uint32_t address_lo;
    std::uint32_t address_hi;
    std::uint32_t data;
    std::uint32_t flags;
    std::uint32_t devid;
    std::array<std::uint8_t, 12> pad;
};
static_assert(sizeof(Msi) == 32);

enum class ExitReason : std::uint32_t {
    Unknown = 0,
    Exception = 1,
    Io = 2,
    Debug = 4,
    Hlt = 5,
    Mmio = 6,
    InterruptWindowOpen = 7,
    Shutdown = 8,
    FailEntry = 9,
    Interrupted = 10,
    InternalError = 17,
    SystemEvent = 24,
    IoapicEoi = 26,
};

struct IoExit {
    std::uint8_t direction;  // 0 in, 1 out
    std::uint8_t size;
    std::uint16_t port;
    std::uint32_t count;
    std::uint64_t data_offset;  // from the start of Run
};

struct MmioExit {
    std::uint64_t phys_addr;
    std::array<std::uint8_t, 8> data;
    std::uint32_t len;
    std::uint8_t is_write;
};

struct FailEntryExit {
    std::uint64_t hardware_reason;
    std::uint32_t cpu;
};

struct InternalErrorExit {
    std::uint32_t suberror;
    std::uint32_t count;
    std::array<std::uint64_t, 16> data;
};

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
        IoExit io;
        MmioExit mmio;
        FailEntryExit fail_entry;
        InternalErrorExit internal;
        std::array<std::uint8_t, 256> space;
    };
};
static_assert(offsetof(Run, exit_reason) == 8);
static_assert(offsetof(Run, io) == 32);
static_assert(offsetof(Run, mmio.len) == 48);
static_assert(sizeof(Run) == 288);

// of /dev/kvm
inline constexpr unsigned long kGetApiVersion = request(Direction::None, 0x00, 0);
inline constexpr unsigned long kCreateVm = request(Direction::None, 0x01, 0);
inline constexpr unsigned long kCheckExtension = request(Direction::None, 0x03, 0);
inline constexpr unsigned long kGetVcpuMmapSize = request(Direction::None, 0x04, 0);
inline constexpr unsigned long kGetSupportedCpuid = request(Direction::ReadWrite, 0x05, 8);
// of a VM
inline constexpr unsigned long kCreateVcpu = request(Direction::None, 0x41, 0);
inline constexpr unsigned long kSetUserMemoryRegion =
    request(Direction::Write, 0x46, sizeof(UserMemoryRegion));
inline constexpr unsigned long kSetTssAddr = request(Direction::None, 0x47, 0);
inline constexpr unsigned long kIoEventFd = request(Direction::Write, 0x79, sizeof(IoEventFd));
inline constexpr unsigned long kEnableCap = request(Direction::Write, 0xa3, sizeof(EnableCap));
inline constexpr unsigned long kSignalMsi = request(Direction::Write, 0xa5, sizeof(Msi));
// of a vCPU
inline constexpr unsigned long kRun = request(Direction::None, 0x80, 0);
inline constexpr unsigned long kGetRegs = request(Direction::Read, 0x81, sizeof(Regs));
inline constexpr unsigned long kSetRegs = request(Direction::Write, 0x82, sizeof(Regs));
inline constexpr unsigned long kGetSregs = request(Direction::Read, 0x83, sizeof(Sregs));
inline constexpr unsigned long kSetSregs = request(Direction::Write, 0x84, sizeof(Sregs));
inline constexpr unsigned long kSetMsrs = request(Direction::Write, 0x89, 8);
inline constexpr unsigned long kSetCpuid2 = request(Direction::Write, 0x90, 8);

static_assert(kGetSupportedCpuid == 0xc008ae05);
static_assert(kSetUserMemoryRegion == 0x4020ae46);
static_assert(kEnableCap == 0x4068aea3);
static_assert(kSetSregs == 0x4138ae84);

// NOLINTEND(readability-identifier-naming)

}  // namespace pepita::abi::kvm
