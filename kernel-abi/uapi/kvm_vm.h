#pragma once

#include <array>
#include <cstdint>

/// Requests to a VM: memory, interrupts, its clock, and the capabilities that we check or enable.
/// The local APICs are in the kernel, the other interrupt controllers are ours (split irqchip).
namespace pepita::abi::kvm {

struct UserMemoryRegion {
    std::uint32_t slot;
    std::uint32_t flags;
    std::uint64_t guest_phys_addr;
    std::uint64_t memory_size;
    std::uint64_t userspace_addr;
};

/// UserMemoryRegion::flags.
inline constexpr std::uint32_t kMemLogDirtyPages = 1U << 0U;
inline constexpr std::uint32_t kMemReadonly = 1U << 1U;

struct DirtyLog {
    std::uint32_t slot;
    std::uint32_t padding1;
    std::uint64_t dirty_bitmap;  // its address; one bit per page
};

struct ClearDirtyLog {
    std::uint32_t slot;
    std::uint32_t num_pages;
    std::uint64_t first_page;
    std::uint64_t dirty_bitmap;  // its address; one bit per page
};

/// Arguments of kCapManualDirtyLogProtect2.
inline constexpr std::uint64_t kDirtyLogManualProtectEnable = 1ULL << 0U;
inline constexpr std::uint64_t kDirtyLogInitiallySet = 1ULL << 1U;

struct IrqRoutingIrqchip {
    std::uint32_t irqchip;
    std::uint32_t pin;
};

struct IrqRoutingMsi {
    std::uint32_t address_lo;
    std::uint32_t address_hi;
    std::uint32_t data;
    union {
        std::uint32_t pad;
        std::uint32_t devid;
    };
};

struct IrqRoutingEntry {
    std::uint32_t gsi;
    std::uint32_t type;
    std::uint32_t flags;
    std::uint32_t pad;
    union {
        IrqRoutingIrqchip irqchip;
        IrqRoutingMsi msi;
        std::array<std::uint32_t, 8> pad;
    } u;
};

/// IrqRoutingEntry::type.
inline constexpr std::uint32_t kIrqRoutingIrqchip = 1;
inline constexpr std::uint32_t kIrqRoutingMsi = 2;

struct IrqRouting {
    std::uint32_t nr;
    std::uint32_t flags;
    // entries follow
};

struct IrqFd {
    std::uint32_t fd;
    std::uint32_t gsi;
    std::uint32_t flags;
    std::uint32_t resamplefd;
    std::array<std::uint8_t, 16> pad;
};

/// IrqFd::flags.
inline constexpr std::uint32_t kIrqfdFlagDeassign = 1U << 0U;
inline constexpr std::uint32_t kIrqfdFlagResample = 1U << 1U;

struct IoEventFd {
    std::uint64_t datamatch;
    std::uint64_t addr;
    std::uint32_t len;
    std::int32_t fd;
    std::uint32_t flags;
    std::array<std::uint8_t, 36> pad;
};

/// IoEventFd::flags.
inline constexpr std::uint32_t kIoEventFdDatamatch = 1U << 0U;
inline constexpr std::uint32_t kIoEventFdPio = 1U << 1U;
inline constexpr std::uint32_t kIoEventFdDeassign = 1U << 2U;

struct Msi {
    std::uint32_t address_lo;
    std::uint32_t address_hi;
    std::uint32_t data;
    std::uint32_t flags;
    std::uint32_t devid;
    std::array<std::uint8_t, 12> pad;
};

/// Of a vCPU or a VM.
struct EnableCap {
    std::uint32_t cap;
    std::uint32_t flags;
    std::array<std::uint64_t, 4> args;
    std::array<std::uint8_t, 64> pad;
};

struct ClockData {
    std::uint64_t clock;
    std::uint32_t flags;
    std::uint32_t pad0;
    std::uint64_t realtime;
    std::uint64_t host_tsc;
    std::array<std::uint32_t, 4> pad;
};

/// ClockData::flags.
inline constexpr std::uint32_t kClockTscStable = 2;
inline constexpr std::uint32_t kClockRealtime = 4;
inline constexpr std::uint32_t kClockHostTsc = 8;

/// An attribute of a vCPU: kVcpuTscCtrl is a group, kVcpuTscOffset an attribute of it.
struct DeviceAttr {
    std::uint32_t flags;
    std::uint32_t group;
    std::uint64_t attr;
    std::uint64_t addr;
};
inline constexpr std::uint32_t kVcpuTscCtrl = 0;
inline constexpr std::uint32_t kVcpuTscOffset = 0;

/// Numbers for KVM_CHECK_EXTENSION and KVM_ENABLE_CAP.
inline constexpr std::uint32_t kCapUserMemory = 3;
inline constexpr std::uint32_t kCapSetTssAddr = 4;
inline constexpr std::uint32_t kCapExtCpuid = 7;
inline constexpr std::uint32_t kCapNrVcpus = 9;
inline constexpr std::uint32_t kCapNrMemslots = 10;
inline constexpr std::uint32_t kCapMpState = 14;
inline constexpr std::uint32_t kCapSyncMmu = 16;
inline constexpr std::uint32_t kCapIrqRouting = 25;
inline constexpr std::uint32_t kCapIrqfd = 32;
inline constexpr std::uint32_t kCapIoeventfd = 36;
inline constexpr std::uint32_t kCapSetIdentityMapAddr = 37;
inline constexpr std::uint32_t kCapAdjustClock = 39;
inline constexpr std::uint32_t kCapVcpuEvents = 41;
inline constexpr std::uint32_t kCapDebugregs = 50;
inline constexpr std::uint32_t kCapXsave = 55;
inline constexpr std::uint32_t kCapXcrs = 56;
inline constexpr std::uint32_t kCapTscControl = 60;
inline constexpr std::uint32_t kCapGetTscKhz = 61;
inline constexpr std::uint32_t kCapMaxVcpus = 66;
inline constexpr std::uint32_t kCapTscDeadlineTimer = 72;
inline constexpr std::uint32_t kCapSyncRegs = 74;
inline constexpr std::uint32_t kCapKvmclockCtrl = 76;
inline constexpr std::uint32_t kCapSignalMsi = 77;
inline constexpr std::uint32_t kCapReadonlyMem = 81;
inline constexpr std::uint32_t kCapEnableCapVm = 98;
inline constexpr std::uint32_t kCapCheckExtensionVm = 105;
inline constexpr std::uint32_t kCapSplitIrqchip = 121;
inline constexpr std::uint32_t kCapIoeventfdAnyLength = 122;
inline constexpr std::uint32_t kCapVcpuAttributes = 127;
inline constexpr std::uint32_t kCapMaxVcpuId = 128;
inline constexpr std::uint32_t kCapX2ApicApi = 129;
inline constexpr std::uint32_t kCapImmediateExit = 136;
inline constexpr std::uint32_t kCapX86DisableExits = 143;
inline constexpr std::uint32_t kCapGetMsrFeatures = 153;
inline constexpr std::uint32_t kCapExceptionPayload = 164;
inline constexpr std::uint32_t kCapManualDirtyLogProtect2 = 168;
inline constexpr std::uint32_t kCapXsave2 = 208;
inline constexpr std::uint32_t kCapX86TripleFaultEvent = 218;

/// Arguments of kCapX2ApicApi.
inline constexpr std::uint64_t kX2apicApiUse32bitIds = 1ULL << 0U;
inline constexpr std::uint64_t kX2apicApiDisableBroadcastQuirk = 1ULL << 1U;

/// Arguments of kCapX86DisableExits: instructions that the guest executes without an exit.
inline constexpr std::uint64_t kX86DisableExitsMwait = 1ULL << 0U;
inline constexpr std::uint64_t kX86DisableExitsHlt = 1ULL << 1U;
inline constexpr std::uint64_t kX86DisableExitsPause = 1ULL << 2U;
inline constexpr std::uint64_t kX86DisableExitsCstate = 1ULL << 3U;

}  // namespace pepita::abi::kvm
