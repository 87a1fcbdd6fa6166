#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "kernel-abi/uapi/version.h"

/// What KVM can do, by number. A comment behind a name says which Linux brought it; what has none
/// is as old as Linux 3.0. Source: Linux 7.3 include/uapi/linux/kvm.h and
/// arch/x86/include/uapi/asm/kvm.h.
namespace pepita::abi::kvm {

/// Numbers for KVM_CHECK_EXTENSION and KVM_ENABLE_CAP: all but those of other processors.
inline constexpr std::uint32_t kCapIrqchip = 0;
inline constexpr std::uint32_t kCapHlt = 1;
inline constexpr std::uint32_t kCapMmuShadowCacheControl = 2;
inline constexpr std::uint32_t kCapUserMemory = 3;
inline constexpr std::uint32_t kCapSetTssAddr = 4;
inline constexpr std::uint32_t kCapVapic = 6;
inline constexpr std::uint32_t kCapExtCpuid = 7;
inline constexpr std::uint32_t kCapClocksource = 8;
inline constexpr std::uint32_t kCapNrVcpus = 9;
inline constexpr std::uint32_t kCapNrMemslots = 10;
inline constexpr std::uint32_t kCapPit = 11;
inline constexpr std::uint32_t kCapNopIoDelay = 12;
inline constexpr std::uint32_t kCapPvMmu = 13;
inline constexpr std::uint32_t kCapMpState = 14;
inline constexpr std::uint32_t kCapCoalescedMmio = 15;
inline constexpr std::uint32_t kCapSyncMmu = 16;
inline constexpr std::uint32_t kCapIommu = 18;
inline constexpr std::uint32_t kCapDestroyMemoryRegionWorks = 21;
inline constexpr std::uint32_t kCapUserNmi = 22;
inline constexpr std::uint32_t kCapSetGuestDebug = 23;
inline constexpr std::uint32_t kCapReinjectControl = 24;
inline constexpr std::uint32_t kCapIrqRouting = 25;
inline constexpr std::uint32_t kCapIrqInjectStatus = 26;
inline constexpr std::uint32_t kCapAssignDevIrq = 29;
inline constexpr std::uint32_t kCapJoinMemoryRegionsWorks = 30;
inline constexpr std::uint32_t kCapMce = 31;
inline constexpr std::uint32_t kCapIrqfd = 32;
inline constexpr std::uint32_t kCapPit2 = 33;
inline constexpr std::uint32_t kCapSetBootCpuId = 34;
inline constexpr std::uint32_t kCapPitState2 = 35;
inline constexpr std::uint32_t kCapIoeventfd = 36;
inline constexpr std::uint32_t kCapSetIdentityMapAddr = 37;
inline constexpr std::uint32_t kCapXenHvm = 38;
inline constexpr std::uint32_t kCapAdjustClock = 39;
inline constexpr std::uint32_t kCapInternalErrorData = 40;
inline constexpr std::uint32_t kCapVcpuEvents = 41;
inline constexpr std::uint32_t kCapHyperv = 44;
inline constexpr std::uint32_t kCapHypervVapic = 45;
inline constexpr std::uint32_t kCapHypervSpin = 46;
inline constexpr std::uint32_t kCapPciSegment = 47;
inline constexpr std::uint32_t kCapIntrShadow = 49;
inline constexpr std::uint32_t kCapDebugregs = 50;
inline constexpr std::uint32_t kCapX86RobustSinglestep = 51;
inline constexpr std::uint32_t kCapEnableCap = 54;
inline constexpr std::uint32_t kCapXsave = 55;
inline constexpr std::uint32_t kCapXcrs = 56;
inline constexpr std::uint32_t kCapAsyncPf = 59;
inline constexpr std::uint32_t kCapTscControl = 60;
inline constexpr std::uint32_t kCapGetTscKhz = 61;
inline constexpr std::uint32_t kCapMaxVcpus = 66;
inline constexpr std::uint32_t kCapSwTlb = 69;
inline constexpr std::uint32_t kCapOneReg = 70;
inline constexpr std::uint32_t kCapTscDeadlineTimer = 72;
inline constexpr std::uint32_t kCapSyncRegs = 74;
inline constexpr std::uint32_t kCapPci23 = 75;
inline constexpr std::uint32_t kCapKvmclockCtrl = 76;
inline constexpr std::uint32_t kCapSignalMsi = 77;
inline constexpr std::uint32_t kCapReadonlyMem = 81;
inline constexpr std::uint32_t kCapIrqfdResample = 82;
inline constexpr std::uint32_t kCapDeviceCtrl = 89;
inline constexpr std::uint32_t kCapExtEmulCpuid = 95;
inline constexpr std::uint32_t kCapHypervTime = 96;
inline constexpr std::uint32_t kCapIoapicPolarityIgnored = 97;
inline constexpr std::uint32_t kCapEnableCapVm = 98;
inline constexpr std::uint32_t kCapIoeventfdNoLength = 100;
inline constexpr std::uint32_t kCapVmAttributes = 101;
inline constexpr std::uint32_t kCapCheckExtensionVm = 105;
inline constexpr std::uint32_t kCapDisableQuirks = 116;
inline constexpr std::uint32_t kCapX86Smm = 117;
inline constexpr std::uint32_t kCapMultiAddressSpace = 118;
inline constexpr std::uint32_t kCapGuestDebugHwBps = 119;
inline constexpr std::uint32_t kCapGuestDebugHwWps = 120;
inline constexpr std::uint32_t kCapSplitIrqchip = 121;
inline constexpr std::uint32_t kCapIoeventfdAnyLength = 122;
inline constexpr std::uint32_t kCapHypervSynic = 123;
inline constexpr std::uint32_t kCapVcpuAttributes = 127;
inline constexpr std::uint32_t kCapMaxVcpuId = 128;
inline constexpr std::uint32_t kCapX2ApicApi = 129;
inline constexpr std::uint32_t kCapMsiDevid = 131;
inline constexpr std::uint32_t kCapImmediateExit = 136;
inline constexpr std::uint32_t kCapX86DisableExits = 143;
inline constexpr std::uint32_t kCapHypervSynic2 = 148;
inline constexpr std::uint32_t kCapHypervVpIndex = 149;
inline constexpr std::uint32_t kCapGetMsrFeatures = 153;
inline constexpr std::uint32_t kCapHypervEventfd = 154;
inline constexpr std::uint32_t kCapHypervTlbflush = 155;
inline constexpr std::uint32_t kCapNestedState = 157;
inline constexpr std::uint32_t kCapMsrPlatformInfo = 159;
inline constexpr std::uint32_t kCapHypervSendIpi = 161;
inline constexpr std::uint32_t kCapCoalescedPio = 162;
inline constexpr std::uint32_t kCapHypervEnlightenedVmcs = 163;
inline constexpr std::uint32_t kCapExceptionPayload = 164;
inline constexpr std::uint32_t kCapManualDirtyLogProtect = 166;
inline constexpr std::uint32_t kCapHypervCpuid = 167;
inline constexpr std::uint32_t kCapManualDirtyLogProtect2 = 168;
inline constexpr std::uint32_t kCapPmuEventFilter = 173;
inline constexpr std::uint32_t kCapHypervDirectTlbflush = 175;
inline constexpr std::uint32_t kCapHaltPoll = 182;
inline constexpr std::uint32_t kCapAsyncPfInt = 183;
inline constexpr std::uint32_t kCapLastCpu = 184;
inline constexpr std::uint32_t kCapSmallerMaxphyaddr = 185;
inline constexpr std::uint32_t kCapStealTime = 187;
inline constexpr std::uint32_t kCapX86UserSpaceMsr = 188;
inline constexpr std::uint32_t kCapX86MsrFilter = 189;
inline constexpr std::uint32_t kCapEnforcePvFeatureCpuid = 190;
inline constexpr std::uint32_t kCapSysHypervCpuid = 191;
inline constexpr std::uint32_t kCapDirtyLogRing = 192;
inline constexpr std::uint32_t kCapX86BusLockExit = 193;
inline constexpr std::uint32_t kCapSetGuestDebug2 = 195;
inline constexpr std::uint32_t kCapSgxAttribute = 196;
inline constexpr std::uint32_t kCapVmCopyEncContextFrom = 197;
inline constexpr std::uint32_t kCapPtpKvm = 198;
inline constexpr std::uint32_t kCapHypervEnforceCpuid = 199;
inline constexpr std::uint32_t kCapSregs2 = 200;
inline constexpr std::uint32_t kCapExitHypercall = 201;
inline constexpr std::uint32_t kCapBinaryStatsFd = 203;
inline constexpr std::uint32_t kCapExitOnEmulationFailure = 204;
inline constexpr std::uint32_t kCapVmMoveEncContextFrom = 206;
inline constexpr std::uint32_t kCapVmGpaBits = 207;
inline constexpr std::uint32_t kCapXsave2 = 208;
inline constexpr std::uint32_t kCapSysAttributes = 209;
inline constexpr std::uint32_t kCapPmuCapability = 212;
inline constexpr std::uint32_t kCapDisableQuirks2 = 213;
inline constexpr std::uint32_t kCapVmTscControl = 214;
inline constexpr std::uint32_t kCapSystemEventData = 215;
inline constexpr std::uint32_t kCapX86TripleFaultEvent = 218;
inline constexpr std::uint32_t kCapX86NotifyVmexit = 219;
inline constexpr std::uint32_t kCapVmDisableNxHugePages = 220;
inline constexpr std::uint32_t kCapDirtyLogRingAcqRel = 223;
inline constexpr std::uint32_t kCapDirtyLogRingWithBitmap = 225;
inline constexpr std::uint32_t kCapPmuEventMaskedEvents = 226;
inline constexpr std::uint32_t kCapUserMemory2 = 231;
inline constexpr std::uint32_t kCapMemoryFaultInfo = 232;
inline constexpr std::uint32_t kCapMemoryAttributes = 233;
inline constexpr std::uint32_t kCapGuestMemfd = 234;
inline constexpr std::uint32_t kCapVmTypes = 235;
inline constexpr std::uint32_t kCapPreFaultMemory = 236;
inline constexpr std::uint32_t kCapX86ApicBusCyclesNs = 237;
inline constexpr std::uint32_t kCapX86GuestMode = 238;
inline constexpr std::uint32_t kCapGuestMemfdFlags = 244;

namespace detail {
constexpr Symbol capability(std::string_view linux_name, std::uint32_t number, std::uint32_t major,
                            std::uint32_t minor) {
    return {.linux_name = linux_name, .value = number, .since = linux_version(major, minor)};
}
}  // namespace detail

/// The same, in the order of their numbers, with the Linux that brought each.
inline constexpr std::array kCapabilities{
    detail::capability("KVM_CAP_IRQCHIP", kCapIrqchip, 3, 0),
    detail::capability("KVM_CAP_HLT", kCapHlt, 3, 0),
    detail::capability("KVM_CAP_MMU_SHADOW_CACHE_CONTROL", kCapMmuShadowCacheControl, 3, 0),
    detail::capability("KVM_CAP_USER_MEMORY", kCapUserMemory, 3, 0),
    detail::capability("KVM_CAP_SET_TSS_ADDR", kCapSetTssAddr, 3, 0),
    detail::capability("KVM_CAP_VAPIC", kCapVapic, 3, 0),
    detail::capability("KVM_CAP_EXT_CPUID", kCapExtCpuid, 3, 0),
    detail::capability("KVM_CAP_CLOCKSOURCE", kCapClocksource, 3, 0),
    detail::capability("KVM_CAP_NR_VCPUS", kCapNrVcpus, 3, 0),
    detail::capability("KVM_CAP_NR_MEMSLOTS", kCapNrMemslots, 3, 0),
    detail::capability("KVM_CAP_PIT", kCapPit, 3, 0),
    detail::capability("KVM_CAP_NOP_IO_DELAY", kCapNopIoDelay, 3, 0),
    detail::capability("KVM_CAP_PV_MMU", kCapPvMmu, 3, 0),
    detail::capability("KVM_CAP_MP_STATE", kCapMpState, 3, 0),
    detail::capability("KVM_CAP_COALESCED_MMIO", kCapCoalescedMmio, 3, 0),
    detail::capability("KVM_CAP_SYNC_MMU", kCapSyncMmu, 3, 0),
    detail::capability("KVM_CAP_IOMMU", kCapIommu, 3, 0),
    detail::capability("KVM_CAP_DESTROY_MEMORY_REGION_WORKS", kCapDestroyMemoryRegionWorks, 3, 0),
    detail::capability("KVM_CAP_USER_NMI", kCapUserNmi, 3, 0),
    detail::capability("KVM_CAP_SET_GUEST_DEBUG", kCapSetGuestDebug, 3, 0),
    detail::capability("KVM_CAP_REINJECT_CONTROL", kCapReinjectControl, 3, 0),
    detail::capability("KVM_CAP_IRQ_ROUTING", kCapIrqRouting, 3, 0),
    detail::capability("KVM_CAP_IRQ_INJECT_STATUS", kCapIrqInjectStatus, 3, 0),
    detail::capability("KVM_CAP_ASSIGN_DEV_IRQ", kCapAssignDevIrq, 3, 0),
    detail::capability("KVM_CAP_JOIN_MEMORY_REGIONS_WORKS", kCapJoinMemoryRegionsWorks, 3, 0),
    detail::capability("KVM_CAP_MCE", kCapMce, 3, 0),
    detail::capability("KVM_CAP_IRQFD", kCapIrqfd, 3, 0),
    detail::capability("KVM_CAP_PIT2", kCapPit2, 3, 0),
    detail::capability("KVM_CAP_SET_BOOT_CPU_ID", kCapSetBootCpuId, 3, 0),
    detail::capability("KVM_CAP_PIT_STATE2", kCapPitState2, 3, 0),
    detail::capability("KVM_CAP_IOEVENTFD", kCapIoeventfd, 3, 0),
    detail::capability("KVM_CAP_SET_IDENTITY_MAP_ADDR", kCapSetIdentityMapAddr, 3, 0),
    detail::capability("KVM_CAP_XEN_HVM", kCapXenHvm, 3, 0),
    detail::capability("KVM_CAP_ADJUST_CLOCK", kCapAdjustClock, 3, 0),
    detail::capability("KVM_CAP_INTERNAL_ERROR_DATA", kCapInternalErrorData, 3, 0),
    detail::capability("KVM_CAP_VCPU_EVENTS", kCapVcpuEvents, 3, 0),
    detail::capability("KVM_CAP_HYPERV", kCapHyperv, 3, 0),
    detail::capability("KVM_CAP_HYPERV_VAPIC", kCapHypervVapic, 3, 0),
    detail::capability("KVM_CAP_HYPERV_SPIN", kCapHypervSpin, 3, 0),
    detail::capability("KVM_CAP_PCI_SEGMENT", kCapPciSegment, 3, 0),
    detail::capability("KVM_CAP_INTR_SHADOW", kCapIntrShadow, 3, 0),
    detail::capability("KVM_CAP_DEBUGREGS", kCapDebugregs, 3, 0),
    detail::capability("KVM_CAP_X86_ROBUST_SINGLESTEP", kCapX86RobustSinglestep, 3, 0),
    detail::capability("KVM_CAP_ENABLE_CAP", kCapEnableCap, 3, 0),
    detail::capability("KVM_CAP_XSAVE", kCapXsave, 3, 0),
    detail::capability("KVM_CAP_XCRS", kCapXcrs, 3, 0),
    detail::capability("KVM_CAP_ASYNC_PF", kCapAsyncPf, 3, 0),
    detail::capability("KVM_CAP_TSC_CONTROL", kCapTscControl, 3, 0),
    detail::capability("KVM_CAP_GET_TSC_KHZ", kCapGetTscKhz, 3, 0),
    detail::capability("KVM_CAP_MAX_VCPUS", kCapMaxVcpus, 3, 2),
    detail::capability("KVM_CAP_SW_TLB", kCapSwTlb, 3, 3),
    detail::capability("KVM_CAP_ONE_REG", kCapOneReg, 3, 3),
    detail::capability("KVM_CAP_TSC_DEADLINE_TIMER", kCapTscDeadlineTimer, 3, 2),
    detail::capability("KVM_CAP_SYNC_REGS", kCapSyncRegs, 3, 4),
    detail::capability("KVM_CAP_PCI_2_3", kCapPci23, 3, 4),
    detail::capability("KVM_CAP_KVMCLOCK_CTRL", kCapKvmclockCtrl, 3, 5),
    detail::capability("KVM_CAP_SIGNAL_MSI", kCapSignalMsi, 3, 5),
    detail::capability("KVM_CAP_READONLY_MEM", kCapReadonlyMem, 3, 7),
    detail::capability("KVM_CAP_IRQFD_RESAMPLE", kCapIrqfdResample, 3, 7),
    detail::capability("KVM_CAP_DEVICE_CTRL", kCapDeviceCtrl, 3, 10),
    detail::capability("KVM_CAP_EXT_EMUL_CPUID", kCapExtEmulCpuid, 3, 13),
    detail::capability("KVM_CAP_HYPERV_TIME", kCapHypervTime, 3, 14),
    detail::capability("KVM_CAP_IOAPIC_POLARITY_IGNORED", kCapIoapicPolarityIgnored, 3, 15),
    detail::capability("KVM_CAP_ENABLE_CAP_VM", kCapEnableCapVm, 3, 15),
    detail::capability("KVM_CAP_IOEVENTFD_NO_LENGTH", kCapIoeventfdNoLength, 3, 16),
    detail::capability("KVM_CAP_VM_ATTRIBUTES", kCapVmAttributes, 3, 16),
    detail::capability("KVM_CAP_CHECK_EXTENSION_VM", kCapCheckExtensionVm, 3, 17),
    detail::capability("KVM_CAP_DISABLE_QUIRKS", kCapDisableQuirks, 4, 1),
    detail::capability("KVM_CAP_X86_SMM", kCapX86Smm, 4, 2),
    detail::capability("KVM_CAP_MULTI_ADDRESS_SPACE", kCapMultiAddressSpace, 4, 2),
    detail::capability("KVM_CAP_GUEST_DEBUG_HW_BPS", kCapGuestDebugHwBps, 4, 2),
    detail::capability("KVM_CAP_GUEST_DEBUG_HW_WPS", kCapGuestDebugHwWps, 4, 2),
    detail::capability("KVM_CAP_SPLIT_IRQCHIP", kCapSplitIrqchip, 4, 4),
    detail::capability("KVM_CAP_IOEVENTFD_ANY_LENGTH", kCapIoeventfdAnyLength, 4, 4),
    detail::capability("KVM_CAP_HYPERV_SYNIC", kCapHypervSynic, 4, 5),
    detail::capability("KVM_CAP_VCPU_ATTRIBUTES", kCapVcpuAttributes, 4, 7),
    detail::capability("KVM_CAP_MAX_VCPU_ID", kCapMaxVcpuId, 4, 7),
    detail::capability("KVM_CAP_X2APIC_API", kCapX2ApicApi, 4, 8),
    detail::capability("KVM_CAP_MSI_DEVID", kCapMsiDevid, 4, 8),
    detail::capability("KVM_CAP_IMMEDIATE_EXIT", kCapImmediateExit, 4, 11),
    detail::capability("KVM_CAP_X86_DISABLE_EXITS", kCapX86DisableExits, 4, 17),
    detail::capability("KVM_CAP_HYPERV_SYNIC2", kCapHypervSynic2, 4, 13),
    detail::capability("KVM_CAP_HYPERV_VP_INDEX", kCapHypervVpIndex, 4, 13),
    detail::capability("KVM_CAP_GET_MSR_FEATURES", kCapGetMsrFeatures, 4, 16),
    detail::capability("KVM_CAP_HYPERV_EVENTFD", kCapHypervEventfd, 4, 17),
    detail::capability("KVM_CAP_HYPERV_TLBFLUSH", kCapHypervTlbflush, 4, 18),
    detail::capability("KVM_CAP_NESTED_STATE", kCapNestedState, 4, 20),
    detail::capability("KVM_CAP_MSR_PLATFORM_INFO", kCapMsrPlatformInfo, 4, 20),
    detail::capability("KVM_CAP_HYPERV_SEND_IPI", kCapHypervSendIpi, 4, 20),
    detail::capability("KVM_CAP_COALESCED_PIO", kCapCoalescedPio, 4, 20),
    detail::capability("KVM_CAP_HYPERV_ENLIGHTENED_VMCS", kCapHypervEnlightenedVmcs, 4, 20),
    detail::capability("KVM_CAP_EXCEPTION_PAYLOAD", kCapExceptionPayload, 4, 20),
    detail::capability("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT", kCapManualDirtyLogProtect, 5, 0),
    detail::capability("KVM_CAP_HYPERV_CPUID", kCapHypervCpuid, 5, 0),
    detail::capability("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2", kCapManualDirtyLogProtect2, 5, 2),
    detail::capability("KVM_CAP_PMU_EVENT_FILTER", kCapPmuEventFilter, 5, 3),
    detail::capability("KVM_CAP_HYPERV_DIRECT_TLBFLUSH", kCapHypervDirectTlbflush, 5, 4),
    detail::capability("KVM_CAP_HALT_POLL", kCapHaltPoll, 5, 8),
    detail::capability("KVM_CAP_ASYNC_PF_INT", kCapAsyncPfInt, 5, 8),
    detail::capability("KVM_CAP_LAST_CPU", kCapLastCpu, 5, 9),
    detail::capability("KVM_CAP_SMALLER_MAXPHYADDR", kCapSmallerMaxphyaddr, 5, 9),
    detail::capability("KVM_CAP_STEAL_TIME", kCapStealTime, 5, 10),
    detail::capability("KVM_CAP_X86_USER_SPACE_MSR", kCapX86UserSpaceMsr, 5, 10),
    detail::capability("KVM_CAP_X86_MSR_FILTER", kCapX86MsrFilter, 5, 10),
    detail::capability("KVM_CAP_ENFORCE_PV_FEATURE_CPUID", kCapEnforcePvFeatureCpuid, 5, 10),
    detail::capability("KVM_CAP_SYS_HYPERV_CPUID", kCapSysHypervCpuid, 5, 11),
    detail::capability("KVM_CAP_DIRTY_LOG_RING", kCapDirtyLogRing, 5, 11),
    detail::capability("KVM_CAP_X86_BUS_LOCK_EXIT", kCapX86BusLockExit, 5, 12),
    detail::capability("KVM_CAP_SET_GUEST_DEBUG2", kCapSetGuestDebug2, 5, 13),
    detail::capability("KVM_CAP_SGX_ATTRIBUTE", kCapSgxAttribute, 5, 13),
    detail::capability("KVM_CAP_VM_COPY_ENC_CONTEXT_FROM", kCapVmCopyEncContextFrom, 5, 13),
    detail::capability("KVM_CAP_PTP_KVM", kCapPtpKvm, 5, 14),
    detail::capability("KVM_CAP_HYPERV_ENFORCE_CPUID", kCapHypervEnforceCpuid, 5, 14),
    detail::capability("KVM_CAP_SREGS2", kCapSregs2, 5, 14),
    detail::capability("KVM_CAP_EXIT_HYPERCALL", kCapExitHypercall, 5, 14),
    detail::capability("KVM_CAP_BINARY_STATS_FD", kCapBinaryStatsFd, 5, 14),
    detail::capability("KVM_CAP_EXIT_ON_EMULATION_FAILURE", kCapExitOnEmulationFailure, 5, 15),
    detail::capability("KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM", kCapVmMoveEncContextFrom, 5, 16),
    detail::capability("KVM_CAP_VM_GPA_BITS", kCapVmGpaBits, 5, 17),
    detail::capability("KVM_CAP_XSAVE2", kCapXsave2, 5, 17),
    detail::capability("KVM_CAP_SYS_ATTRIBUTES", kCapSysAttributes, 5, 17),
    detail::capability("KVM_CAP_PMU_CAPABILITY", kCapPmuCapability, 5, 18),
    detail::capability("KVM_CAP_DISABLE_QUIRKS2", kCapDisableQuirks2, 5, 18),
    detail::capability("KVM_CAP_VM_TSC_CONTROL", kCapVmTscControl, 5, 18),
    detail::capability("KVM_CAP_SYSTEM_EVENT_DATA", kCapSystemEventData, 5, 19),
    detail::capability("KVM_CAP_X86_TRIPLE_FAULT_EVENT", kCapX86TripleFaultEvent, 6, 0),
    detail::capability("KVM_CAP_X86_NOTIFY_VMEXIT", kCapX86NotifyVmexit, 6, 0),
    detail::capability("KVM_CAP_VM_DISABLE_NX_HUGE_PAGES", kCapVmDisableNxHugePages, 6, 0),
    detail::capability("KVM_CAP_DIRTY_LOG_RING_ACQ_REL", kCapDirtyLogRingAcqRel, 6, 1),
    detail::capability("KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP", kCapDirtyLogRingWithBitmap, 6, 2),
    detail::capability("KVM_CAP_PMU_EVENT_MASKED_EVENTS", kCapPmuEventMaskedEvents, 6, 3),
    detail::capability("KVM_CAP_USER_MEMORY2", kCapUserMemory2, 6, 8),
    detail::capability("KVM_CAP_MEMORY_FAULT_INFO", kCapMemoryFaultInfo, 6, 8),
    detail::capability("KVM_CAP_MEMORY_ATTRIBUTES", kCapMemoryAttributes, 6, 8),
    detail::capability("KVM_CAP_GUEST_MEMFD", kCapGuestMemfd, 6, 8),
    detail::capability("KVM_CAP_VM_TYPES", kCapVmTypes, 6, 8),
    detail::capability("KVM_CAP_PRE_FAULT_MEMORY", kCapPreFaultMemory, 6, 11),
    detail::capability("KVM_CAP_X86_APIC_BUS_CYCLES_NS", kCapX86ApicBusCyclesNs, 6, 11),
    detail::capability("KVM_CAP_X86_GUEST_MODE", kCapX86GuestMode, 6, 11),
    detail::capability("KVM_CAP_GUEST_MEMFD_FLAGS", kCapGuestMemfdFlags, 6, 18),
};

}  // namespace pepita::abi::kvm
