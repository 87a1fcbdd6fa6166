#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// A guest that has guests, and performance counters. A comment behind a name says which Linux
/// brought it; what has none is as old as Linux 3.0. Source: Linux 7.3 include/uapi/linux/kvm.h
/// and arch/x86/include/uapi/asm/kvm.h.
namespace pepita::abi::kvm {

/// Bytes of a VMCS and of a VMCB.
inline constexpr std::size_t kStateNestedVmxVmcsSize = 0x1000;  // 4.20
inline constexpr std::size_t kStateNestedSvmVmcbSize = 0x1000;  // 5.9

/// Since 4.20.
struct VmxNestedStateData {
    std::array<std::uint8_t, 4096> vmcs12;
    std::array<std::uint8_t, 4096> shadow_vmcs12;
};
static_assert(sizeof(VmxNestedStateData) == 8192);

/// Since 4.20.
struct VmxNestedStateHdr {
    std::uint64_t vmxon_pa;
    std::uint64_t vmcs12_pa;
    struct {
        std::uint16_t flags;  // 5.8
    } smm;
    std::uint16_t pad;
    std::uint32_t flags;                      // 5.8
    std::uint64_t preemption_timer_deadline;  // 5.8
};
static_assert(sizeof(VmxNestedStateHdr) == 32);

/// Since 5.9.
struct SvmNestedStateData {
    std::array<std::uint8_t, 4096> vmcb12;
};
static_assert(sizeof(SvmNestedStateData) == 4096);

/// Since 5.9.
struct SvmNestedStateHdr {
    std::uint64_t vmcb_pa;
    std::uint64_t gpat;  // 7.2
};
static_assert(sizeof(SvmNestedStateHdr) == 16);

/// A VmxNestedStateData or SvmNestedStateData follows. Since 4.20.
struct NestedState {
    std::uint16_t flags;
    std::uint16_t format;
    std::uint32_t size;
    union {
        VmxNestedStateHdr vmx;
        SvmNestedStateHdr svm;
        std::array<std::uint8_t, 120> pad;
    } hdr;
};
static_assert(sizeof(NestedState) == 128);

/// NestedState::format.
inline constexpr std::uint16_t kStateNestedFormatVmx = 0;  // 5.3
inline constexpr std::uint16_t kStateNestedFormatSvm = 1;  // 5.3

/// NestedState::flags.
inline constexpr std::uint16_t kStateNestedGuestMode = 0x1;   // 4.20
inline constexpr std::uint16_t kStateNestedRunPending = 0x2;  // 4.20
inline constexpr std::uint16_t kStateNestedEvmcs = 0x4;       // 5.0
inline constexpr std::uint16_t kStateNestedMtfPending = 0x8;  // 5.6
inline constexpr std::uint16_t kStateNestedGifSet = 0x100;    // 5.9

/// VmxNestedStateHdr::smm.flags.
inline constexpr std::uint16_t kStateNestedSmmGuestMode = 0x1;  // 4.20
inline constexpr std::uint16_t kStateNestedSmmVmxon = 0x2;      // 4.20

/// VmxNestedStateHdr::flags.
inline constexpr std::uint32_t kStateVmxPreemptionTimerDeadline = 0x1;  // 5.8

/// Since 5.3.
struct PmuEventFilter {
    std::uint32_t action;
    std::uint32_t nevents;
    std::uint32_t fixed_counter_bitmap;  // 5.3
    std::uint32_t flags;
    std::array<std::uint32_t, 4> pad;
    // events follow
};
static_assert(sizeof(PmuEventFilter) == 32);

/// PmuEventFilter::action.
inline constexpr std::uint32_t kPmuEventAllow = 0;  // 5.3
inline constexpr std::uint32_t kPmuEventDeny = 1;   // 5.3

/// PmuEventFilter::flags.
inline constexpr std::uint32_t kPmuEventFlagMaskedEvents = 1U << 0U;  // 6.3
inline constexpr std::uint32_t kPmuEventFlagsValidMask = 1U << 0U;    // 6.3

/// The parts of a masked event.
inline constexpr std::uint64_t kPmuMaskedEntryEventSelect = 0xf000000ff;       // 6.3
inline constexpr std::uint64_t kPmuMaskedEntryUmaskMask = 0xff00000000000000;  // 6.3
inline constexpr std::uint64_t kPmuMaskedEntryUmaskMatch = 0xff00;             // 6.3
inline constexpr std::uint64_t kPmuMaskedEntryExclude = 0x80000000000000;      // 6.3
inline constexpr std::uint64_t kPmuMaskedEntryUmaskMaskShift = 0x38;           // 6.3

/// Arguments of kCapPmuCapability.
inline constexpr std::uint64_t kPmuCapDisable = 1ULL << 0U;  // 5.18

}  // namespace pepita::abi::kvm
