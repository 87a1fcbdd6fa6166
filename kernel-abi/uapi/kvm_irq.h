#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// Interrupts: their routes, the chips that the kernel has, and descriptors that stand for them.
/// A comment behind a name says which Linux brought it; what has none is as old as Linux 3.0.
/// Source: Linux 7.3 include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
namespace pepita::abi::kvm {

struct IrqLevel {
    union {
        std::uint32_t irq;
        std::int32_t status;
    };
    std::uint32_t level;
};
static_assert(sizeof(IrqLevel) == 8);

struct PicState {
    std::uint8_t last_irr;
    std::uint8_t irr;
    std::uint8_t imr;
    std::uint8_t isr;
    std::uint8_t priority_add;
    std::uint8_t irq_base;
    std::uint8_t read_reg_select;
    std::uint8_t poll;
    std::uint8_t special_mask;
    std::uint8_t init_state;
    std::uint8_t auto_eoi;
    std::uint8_t rotate_on_auto_eoi;
    std::uint8_t special_fully_nested_mode;
    std::uint8_t init4;
    std::uint8_t elcr;
    std::uint8_t elcr_mask;
};
static_assert(sizeof(PicState) == 16);

inline constexpr std::size_t kIoapicNumPins = 24;

struct IoapicState {
    std::uint64_t base_address;
    std::uint32_t ioregsel;
    std::uint32_t id;
    std::uint32_t irr;
    std::uint32_t pad;
    std::array<std::uint64_t, 24> redirtbl;
};
static_assert(sizeof(IoapicState) == 216);

struct Irqchip {
    std::uint32_t chip_id;
    std::uint32_t pad;
    union {
        std::array<std::uint8_t, 512> dummy;
        PicState pic;
        IoapicState ioapic;
    } chip;
};
static_assert(sizeof(Irqchip) == 520);

/// Irqchip::chip_id.
inline constexpr std::uint32_t kIrqchipPicMaster = 0;
inline constexpr std::uint32_t kIrqchipPicSlave = 1;
inline constexpr std::uint32_t kIrqchipIoapic = 2;
inline constexpr std::uint32_t kNrIrqchips = 3;

struct PitConfig {
    std::uint32_t flags;
    std::array<std::uint32_t, 15> pad;
};
static_assert(sizeof(PitConfig) == 64);

/// PitConfig::flags.
inline constexpr std::uint32_t kPitSpeakerDummy = 1;

struct PitChannelState {
    std::uint32_t count;
    std::uint16_t latched_count;
    std::uint8_t count_latched;
    std::uint8_t status_latched;
    std::uint8_t status;
    std::uint8_t read_state;
    std::uint8_t write_state;
    std::uint8_t write_latch;
    std::uint8_t rw_mode;
    std::uint8_t mode;
    std::uint8_t bcd;
    std::uint8_t gate;
    std::int64_t count_load_time;
};
static_assert(sizeof(PitChannelState) == 24);

struct PitState {
    std::array<PitChannelState, 3> channels;
};
static_assert(sizeof(PitState) == 72);

struct PitState2 {
    std::array<PitChannelState, 3> channels;
    std::uint32_t flags;
    std::array<std::uint32_t, 9> reserved;
};
static_assert(sizeof(PitState2) == 112);

/// PitState2::flags.
inline constexpr std::uint32_t kPitFlagsHpetLegacy = 0x1;
inline constexpr std::uint32_t kPitFlagsSpeakerDataOn = 0x2;  // 5.18

struct ReinjectControl {
    std::uint8_t pit_reinject;
    std::array<std::uint8_t, 31> reserved;
};
static_assert(sizeof(ReinjectControl) == 32);

struct IrqRoutingIrqchip {
    std::uint32_t irqchip;
    std::uint32_t pin;
};
static_assert(sizeof(IrqRoutingIrqchip) == 8);

struct IrqRoutingMsi {
    std::uint32_t address_lo;
    std::uint32_t address_hi;
    std::uint32_t data;
    union {
        std::uint32_t pad;
        std::uint32_t devid;
    };
};
static_assert(sizeof(IrqRoutingMsi) == 16);

/// Since 3.15.
struct IrqRoutingS390Adapter {
    std::uint64_t ind_addr;
    std::uint64_t summary_addr;
    std::uint64_t ind_offset;
    std::uint32_t summary_offset;
    std::uint32_t adapter_id;
};
static_assert(sizeof(IrqRoutingS390Adapter) == 32);

/// Since 4.5.
struct IrqRoutingHvSint {
    std::uint32_t vcpu;
    std::uint32_t sint;
};
static_assert(sizeof(IrqRoutingHvSint) == 8);

/// Since 5.17.
struct IrqRoutingXenEvtchn {
    std::uint32_t port;
    std::uint32_t vcpu;
    std::uint32_t priority;
};
static_assert(sizeof(IrqRoutingXenEvtchn) == 12);

/// IrqRoutingXenEvtchn::priority.
inline constexpr std::uint32_t kIrqRoutingXenEvtchnPrio2level = 0xffffffff;  // 5.17

struct IrqRoutingEntry {
    std::uint32_t gsi;
    std::uint32_t type;
    std::uint32_t flags;
    std::uint32_t pad;
    union {
        IrqRoutingIrqchip irqchip;
        IrqRoutingMsi msi;
        IrqRoutingS390Adapter adapter;
        IrqRoutingHvSint hv_sint;
        IrqRoutingXenEvtchn xen_evtchn;
        std::array<std::uint32_t, 8> pad;
    } u;
};
static_assert(sizeof(IrqRoutingEntry) == 48);

/// IrqRoutingEntry::type.
inline constexpr std::uint32_t kIrqRoutingIrqchip = 1;
inline constexpr std::uint32_t kIrqRoutingMsi = 2;
inline constexpr std::uint32_t kIrqRoutingS390Adapter = 3;  // 3.15
inline constexpr std::uint32_t kIrqRoutingHvSint = 4;       // 4.5
inline constexpr std::uint32_t kIrqRoutingXenEvtchn = 5;    // 5.17

struct IrqRouting {
    std::uint32_t nr;
    std::uint32_t flags;
    // entries follow
};
static_assert(sizeof(IrqRouting) == 8);

struct IrqFd {
    std::uint32_t fd;
    std::uint32_t gsi;
    std::uint32_t flags;
    std::uint32_t resamplefd;  // 3.7
    std::array<std::uint8_t, 16> pad;
};
static_assert(sizeof(IrqFd) == 32);

/// IrqFd::flags.
inline constexpr std::uint32_t kIrqfdFlagDeassign = 1U << 0U;
inline constexpr std::uint32_t kIrqfdFlagResample = 1U << 1U;  // 3.7

struct IoEventFd {
    std::uint64_t datamatch;
    std::uint64_t addr;
    std::uint32_t len;
    std::int32_t fd;
    std::uint32_t flags;
    std::array<std::uint8_t, 36> pad;
};
static_assert(sizeof(IoEventFd) == 64);

/// IoEventFd::flags.
inline constexpr std::uint32_t kIoEventFdDatamatch = 1U << 0U;
inline constexpr std::uint32_t kIoEventFdPio = 1U << 1U;
inline constexpr std::uint32_t kIoEventFdDeassign = 1U << 2U;
inline constexpr std::uint32_t kIoEventFdVirtioCcwNotify = 1U << 3U;  // 3.10

inline constexpr std::uint32_t kIoeventfdValidFlagMask = 0x1f;

/// Since 3.5.
struct Msi {
    std::uint32_t address_lo;
    std::uint32_t address_hi;
    std::uint32_t data;
    std::uint32_t flags;
    std::uint32_t devid;  // 4.8
    std::array<std::uint8_t, 12> pad;
};
static_assert(sizeof(Msi) == 32);

/// Msi::flags, and IrqRoutingEntry::flags of an MSI.
inline constexpr std::uint32_t kMsiValidDevid = 1U << 0U;  // 4.8

struct Interrupt {
    std::uint32_t irq;
};
static_assert(sizeof(Interrupt) == 4);

struct LapicState {
    std::array<std::uint8_t, 1024> regs;
};
static_assert(sizeof(LapicState) == 1024);

inline constexpr std::size_t kApicRegSize = 0x400;

struct TprAccessCtl {
    std::uint32_t enabled;
    std::uint32_t flags;
    std::array<std::uint32_t, 8> reserved;
};
static_assert(sizeof(TprAccessCtl) == 40);

struct VapicAddr {
    std::uint64_t vapic_addr;
};
static_assert(sizeof(VapicAddr) == 8);

/// Arguments of kCapX2ApicApi.
inline constexpr std::uint64_t kX2apicApiUse32bitIds = 1ULL << 0U;               // 4.8
inline constexpr std::uint64_t kX2apicApiDisableBroadcastQuirk = 1ULL << 1U;     // 4.8
inline constexpr std::uint64_t kX2apicEnableSuppressEoiBroadcast = 1ULL << 2U;   // 7.0
inline constexpr std::uint64_t kX2apicDisableSuppressEoiBroadcast = 1ULL << 3U;  // 7.0

}  // namespace pepita::abi::kvm
