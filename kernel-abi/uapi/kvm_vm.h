#pragma once

#include <array>
#include <cstdint>

/// What else a VM is asked for: its clock, devices, registers by number, statistics and how it
/// behaves. A comment behind a name says which Linux brought it; what has none is as old as Linux
/// 3.0. Source: Linux 7.3 include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
namespace pepita::abi::kvm {

/// Of a vCPU; of a VM since 3.15. Since 3.3.
struct EnableCap {
    std::uint32_t cap;
    std::uint32_t flags;
    std::array<std::uint64_t, 4> args;
    std::array<std::uint8_t, 64> pad;
};
static_assert(sizeof(EnableCap) == 104);

struct ClockData {
    std::uint64_t clock;
    std::uint32_t flags;
    std::uint32_t pad0;
    std::uint64_t realtime;  // 5.16
    std::uint64_t host_tsc;  // 5.16
    std::array<std::uint32_t, 4> pad;
};
static_assert(sizeof(ClockData) == 48);

/// ClockData::flags.
inline constexpr std::uint32_t kClockTscStable = 2;  // 4.9
inline constexpr std::uint32_t kClockRealtime = 4;   // 5.16
inline constexpr std::uint32_t kClockHostTsc = 8;    // 5.16

struct SignalMask {
    std::uint32_t len;
    // sigset follow
};
static_assert(sizeof(SignalMask) == 4);

/// Since 3.10.
struct CreateDevice {
    std::uint32_t type;
    std::uint32_t fd;
    std::uint32_t flags;
};
static_assert(sizeof(CreateDevice) == 12);

/// CreateDevice::flags.
inline constexpr std::uint32_t kCreateDeviceTest = 1;  // 3.10

/// CreateDevice::type.
inline constexpr std::uint32_t kDevTypeVfio = 4;  // 3.13

/// Since 3.10.
struct DeviceAttr {
    std::uint32_t flags;
    std::uint32_t group;
    std::uint64_t attr;
    std::uint64_t addr;
};
static_assert(sizeof(DeviceAttr) == 24);

/// Groups and attributes of a VFIO device; _GROUP is what they were called before 6.6.
inline constexpr std::uint32_t kDevVfioFile = 1;      // 6.6
inline constexpr std::uint32_t kDevVfioFileAdd = 1;   // 6.6
inline constexpr std::uint32_t kDevVfioFileDel = 2;   // 6.6
inline constexpr std::uint32_t kDevVfioGroup = 1;     // 3.13
inline constexpr std::uint32_t kDevVfioGroupAdd = 1;  // 3.13
inline constexpr std::uint32_t kDevVfioGroupDel = 2;  // 3.13

/// Groups and attributes of a vCPU and of /dev/kvm.
inline constexpr std::uint32_t kVcpuTscCtrl = 0;        // 5.16
inline constexpr std::uint32_t kVcpuTscOffset = 0;      // 5.16
inline constexpr std::uint32_t kX86GrpSystem = 0;       // 6.10
inline constexpr std::uint32_t kX86XcompGuestSupp = 0;  // 5.17
inline constexpr std::uint32_t kX86GrpSev = 1;          // 6.10

/// Since 3.3.
struct OneReg {
    std::uint64_t id;
    std::uint64_t addr;
};
static_assert(sizeof(OneReg) == 16);

/// Since 3.10.
struct RegList {
    std::uint64_t n;
    // reg follow
};
static_assert(sizeof(RegList) == 8);

/// OneReg::id: whose register it is, and its size.
inline constexpr std::uint64_t kRegArchMask = 0xff00000000000000;  // 3.3
inline constexpr std::uint64_t kRegGeneric = 0x0;                  // 3.3
inline constexpr std::uint64_t kRegX86 = 0x2000000000000000;       // 3.3
inline constexpr std::uint64_t kRegSizeMask = 0xf0000000000000;    // 3.3
inline constexpr std::uint64_t kRegSizeU8 = 0x0;                   // 3.3
inline constexpr std::uint64_t kRegSizeU16 = 0x10000000000000;     // 3.3
inline constexpr std::uint64_t kRegSizeU32 = 0x20000000000000;     // 3.3
inline constexpr std::uint64_t kRegSizeU64 = 0x30000000000000;     // 3.3
inline constexpr std::uint64_t kRegSizeU128 = 0x40000000000000;    // 3.3
inline constexpr std::uint64_t kRegSizeU256 = 0x50000000000000;    // 3.10
inline constexpr std::uint64_t kRegSizeU512 = 0x60000000000000;    // 3.10
inline constexpr std::uint64_t kRegSizeU1024 = 0x70000000000000;   // 3.10
inline constexpr std::uint64_t kRegSizeU2048 = 0x80000000000000;   // 4.20

inline constexpr std::uint32_t kRegSizeShift = 52;  // 3.3

/// Kinds of x86 registers that have such a number.
inline constexpr std::uint64_t kX86RegTypeMsr = 2;  // 6.18
inline constexpr std::uint64_t kX86RegTypeKvm = 3;  // 6.18
inline constexpr std::uint64_t kRegGuestSsp = 0;    // 6.18

/// What the descriptor of statistics begins with. Since 5.14.
struct StatsHeader {
    std::uint32_t flags;
    std::uint32_t name_size;
    std::uint32_t num_desc;
    std::uint32_t id_offset;
    std::uint32_t desc_offset;
    std::uint32_t data_offset;
};
static_assert(sizeof(StatsHeader) == 24);

/// Since 5.14.
struct StatsDescriptor {
    std::uint32_t flags;
    std::int16_t exponent;
    std::uint16_t size;
    std::uint32_t offset;
    std::uint32_t bucket_size;  // 5.15
    // name follow
};
static_assert(sizeof(StatsDescriptor) == 16);

/// StatsDescriptor::flags.
inline constexpr std::uint32_t kStatsTypeShift = 0x0;       // 5.14
inline constexpr std::uint32_t kStatsTypeMask = 0xf;        // 5.14
inline constexpr std::uint32_t kStatsTypeCumulative = 0x0;  // 5.14
inline constexpr std::uint32_t kStatsTypeInstant = 0x1;     // 5.14
inline constexpr std::uint32_t kStatsTypePeak = 0x2;        // 5.14
inline constexpr std::uint32_t kStatsTypeLinearHist = 0x3;  // 5.15
inline constexpr std::uint32_t kStatsTypeLogHist = 0x4;     // 5.15
inline constexpr std::uint32_t kStatsTypeMax = 0x4;         // 5.14
inline constexpr std::uint32_t kStatsUnitShift = 0x4;       // 5.14
inline constexpr std::uint32_t kStatsUnitMask = 0xf0;       // 5.14
inline constexpr std::uint32_t kStatsUnitNone = 0x0;        // 5.14
inline constexpr std::uint32_t kStatsUnitBytes = 0x10;      // 5.14
inline constexpr std::uint32_t kStatsUnitSeconds = 0x20;    // 5.14
inline constexpr std::uint32_t kStatsUnitCycles = 0x30;     // 5.14
inline constexpr std::uint32_t kStatsUnitBoolean = 0x40;    // 5.18
inline constexpr std::uint32_t kStatsUnitMax = 0x40;        // 5.14
inline constexpr std::uint32_t kStatsBaseShift = 0x8;       // 5.14
inline constexpr std::uint32_t kStatsBaseMask = 0xf00;      // 5.14
inline constexpr std::uint32_t kStatsBasePow10 = 0x0;       // 5.14
inline constexpr std::uint32_t kStatsBasePow2 = 0x100;      // 5.14
inline constexpr std::uint32_t kStatsBaseMax = 0x100;       // 5.14

/// Kinds of VM, for KVM_CREATE_VM.
inline constexpr std::uint64_t kX86DefaultVm = 0;      // 6.8
inline constexpr std::uint64_t kX86SwProtectedVm = 1;  // 6.8
inline constexpr std::uint64_t kX86SevVm = 2;          // 6.10
inline constexpr std::uint64_t kX86SevEsVm = 3;        // 6.10
inline constexpr std::uint64_t kX86SnpVm = 4;          // 6.11
inline constexpr std::uint64_t kX86TdxVm = 5;          // 6.16

/// Arguments of kCapX86DisableExits: what a guest does without an exit.
inline constexpr std::uint64_t kX86DisableExitsMwait = 1ULL << 0U;       // 4.17
inline constexpr std::uint64_t kX86DisableExitsHlt = 1ULL << 1U;         // 4.17
inline constexpr std::uint64_t kX86DisableExitsPause = 1ULL << 2U;       // 4.17
inline constexpr std::uint64_t kX86DisableExitsCstate = 1ULL << 3U;      // 5.2
inline constexpr std::uint64_t kX86DisableExitsAperfmperf = 1ULL << 4U;  // 6.17

/// Arguments of kCapX86BusLockExit.
inline constexpr std::uint64_t kBusLockDetectionOff = 1ULL << 0U;   // 5.12
inline constexpr std::uint64_t kBusLockDetectionExit = 1ULL << 1U;  // 5.12

/// Arguments of kCapX86NotifyVmexit.
inline constexpr std::uint64_t kX86NotifyVmexitEnabled = 1ULL << 0U;  // 6.0
inline constexpr std::uint64_t kX86NotifyVmexitUser = 1ULL << 1U;     // 6.0

/// Arguments of kCapDisableQuirks2.
inline constexpr std::uint64_t kX86QuirkLint0Reenabled = 1ULL << 0U;           // 4.1
inline constexpr std::uint64_t kX86QuirkCdNwCleared = 1ULL << 1U;              // 4.1
inline constexpr std::uint64_t kX86QuirkLapicMmioHole = 1ULL << 2U;            // 4.19
inline constexpr std::uint64_t kX86QuirkOut7eIncRip = 1ULL << 3U;              // 4.20
inline constexpr std::uint64_t kX86QuirkMiscEnableNoMwait = 1ULL << 4U;        // 5.2
inline constexpr std::uint64_t kX86QuirkFixHypercallInsn = 1ULL << 5U;         // 5.19
inline constexpr std::uint64_t kX86QuirkMwaitNeverUdFaults = 1ULL << 6U;       // 6.0
inline constexpr std::uint64_t kX86QuirkSlotZapAll = 1ULL << 7U;               // 6.12
inline constexpr std::uint64_t kX86QuirkStuffFeatureMsrs = 1ULL << 8U;         // 6.12
inline constexpr std::uint64_t kX86QuirkIgnoreGuestPat = 1ULL << 9U;           // 6.12
inline constexpr std::uint64_t kX86QuirkVmcs12AllowFreezeInSmm = 1ULL << 10U;  // 7.0
inline constexpr std::uint64_t kX86QuirkNestedSvmSharedPat = 1ULL << 11U;      // 7.2

}  // namespace pepita::abi::kvm
