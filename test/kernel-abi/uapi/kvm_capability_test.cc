#include "kernel-abi/uapi/kvm_capability.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "kernel-abi/uapi/version.h"
#include "test/kernel-abi/uapi/kvm_machine.h"
#include "test/kernel-abi/uapi/newer_kvm.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi::kvm {
namespace {

static_assert(kCapIrqchip == KVM_CAP_IRQCHIP);
static_assert(kCapHlt == KVM_CAP_HLT);
static_assert(kCapMmuShadowCacheControl == KVM_CAP_MMU_SHADOW_CACHE_CONTROL);
static_assert(kCapUserMemory == KVM_CAP_USER_MEMORY);
static_assert(kCapSetTssAddr == KVM_CAP_SET_TSS_ADDR);
static_assert(kCapVapic == KVM_CAP_VAPIC);
static_assert(kCapExtCpuid == KVM_CAP_EXT_CPUID);
static_assert(kCapClocksource == KVM_CAP_CLOCKSOURCE);
static_assert(kCapNrVcpus == KVM_CAP_NR_VCPUS);
static_assert(kCapNrMemslots == KVM_CAP_NR_MEMSLOTS);
static_assert(kCapPit == KVM_CAP_PIT);
static_assert(kCapNopIoDelay == KVM_CAP_NOP_IO_DELAY);
static_assert(kCapPvMmu == KVM_CAP_PV_MMU);
static_assert(kCapMpState == KVM_CAP_MP_STATE);
static_assert(kCapCoalescedMmio == KVM_CAP_COALESCED_MMIO);
static_assert(kCapSyncMmu == KVM_CAP_SYNC_MMU);
static_assert(kCapIommu == KVM_CAP_IOMMU);
static_assert(kCapDestroyMemoryRegionWorks == KVM_CAP_DESTROY_MEMORY_REGION_WORKS);
static_assert(kCapUserNmi == KVM_CAP_USER_NMI);
static_assert(kCapSetGuestDebug == KVM_CAP_SET_GUEST_DEBUG);
static_assert(kCapReinjectControl == KVM_CAP_REINJECT_CONTROL);
static_assert(kCapIrqRouting == KVM_CAP_IRQ_ROUTING);
static_assert(kCapIrqInjectStatus == KVM_CAP_IRQ_INJECT_STATUS);
static_assert(kCapAssignDevIrq == KVM_CAP_ASSIGN_DEV_IRQ);
static_assert(kCapJoinMemoryRegionsWorks == KVM_CAP_JOIN_MEMORY_REGIONS_WORKS);
static_assert(kCapMce == KVM_CAP_MCE);
static_assert(kCapIrqfd == KVM_CAP_IRQFD);
static_assert(kCapPit2 == KVM_CAP_PIT2);
static_assert(kCapSetBootCpuId == KVM_CAP_SET_BOOT_CPU_ID);
static_assert(kCapPitState2 == KVM_CAP_PIT_STATE2);
static_assert(kCapIoeventfd == KVM_CAP_IOEVENTFD);
static_assert(kCapSetIdentityMapAddr == KVM_CAP_SET_IDENTITY_MAP_ADDR);
static_assert(kCapXenHvm == KVM_CAP_XEN_HVM);
static_assert(kCapAdjustClock == KVM_CAP_ADJUST_CLOCK);
static_assert(kCapInternalErrorData == KVM_CAP_INTERNAL_ERROR_DATA);
static_assert(kCapVcpuEvents == KVM_CAP_VCPU_EVENTS);
static_assert(kCapHyperv == KVM_CAP_HYPERV);
static_assert(kCapHypervVapic == KVM_CAP_HYPERV_VAPIC);
static_assert(kCapHypervSpin == KVM_CAP_HYPERV_SPIN);
static_assert(kCapPciSegment == KVM_CAP_PCI_SEGMENT);
static_assert(kCapIntrShadow == KVM_CAP_INTR_SHADOW);
static_assert(kCapDebugregs == KVM_CAP_DEBUGREGS);
static_assert(kCapX86RobustSinglestep == KVM_CAP_X86_ROBUST_SINGLESTEP);
static_assert(kCapEnableCap == KVM_CAP_ENABLE_CAP);
static_assert(kCapXsave == KVM_CAP_XSAVE);
static_assert(kCapXcrs == KVM_CAP_XCRS);
static_assert(kCapAsyncPf == KVM_CAP_ASYNC_PF);
static_assert(kCapTscControl == KVM_CAP_TSC_CONTROL);
static_assert(kCapGetTscKhz == KVM_CAP_GET_TSC_KHZ);
static_assert(kCapMaxVcpus == KVM_CAP_MAX_VCPUS);
static_assert(kCapSwTlb == KVM_CAP_SW_TLB);
static_assert(kCapOneReg == KVM_CAP_ONE_REG);
static_assert(kCapTscDeadlineTimer == KVM_CAP_TSC_DEADLINE_TIMER);
static_assert(kCapSyncRegs == KVM_CAP_SYNC_REGS);
static_assert(kCapPci23 == KVM_CAP_PCI_2_3);
static_assert(kCapKvmclockCtrl == KVM_CAP_KVMCLOCK_CTRL);
static_assert(kCapSignalMsi == KVM_CAP_SIGNAL_MSI);
static_assert(kCapReadonlyMem == KVM_CAP_READONLY_MEM);
static_assert(kCapIrqfdResample == KVM_CAP_IRQFD_RESAMPLE);
static_assert(kCapDeviceCtrl == KVM_CAP_DEVICE_CTRL);
static_assert(kCapExtEmulCpuid == KVM_CAP_EXT_EMUL_CPUID);
static_assert(kCapHypervTime == KVM_CAP_HYPERV_TIME);
static_assert(kCapIoapicPolarityIgnored == KVM_CAP_IOAPIC_POLARITY_IGNORED);
static_assert(kCapEnableCapVm == KVM_CAP_ENABLE_CAP_VM);
static_assert(kCapIoeventfdNoLength == KVM_CAP_IOEVENTFD_NO_LENGTH);
static_assert(kCapVmAttributes == KVM_CAP_VM_ATTRIBUTES);
static_assert(kCapCheckExtensionVm == KVM_CAP_CHECK_EXTENSION_VM);
static_assert(kCapDisableQuirks == KVM_CAP_DISABLE_QUIRKS);
static_assert(kCapX86Smm == KVM_CAP_X86_SMM);
static_assert(kCapMultiAddressSpace == KVM_CAP_MULTI_ADDRESS_SPACE);
static_assert(kCapGuestDebugHwBps == KVM_CAP_GUEST_DEBUG_HW_BPS);
static_assert(kCapGuestDebugHwWps == KVM_CAP_GUEST_DEBUG_HW_WPS);
static_assert(kCapSplitIrqchip == KVM_CAP_SPLIT_IRQCHIP);
static_assert(kCapIoeventfdAnyLength == KVM_CAP_IOEVENTFD_ANY_LENGTH);
static_assert(kCapHypervSynic == KVM_CAP_HYPERV_SYNIC);
static_assert(kCapVcpuAttributes == KVM_CAP_VCPU_ATTRIBUTES);
static_assert(kCapMaxVcpuId == KVM_CAP_MAX_VCPU_ID);
static_assert(kCapX2ApicApi == KVM_CAP_X2APIC_API);
static_assert(kCapMsiDevid == KVM_CAP_MSI_DEVID);
static_assert(kCapImmediateExit == KVM_CAP_IMMEDIATE_EXIT);
static_assert(kCapX86DisableExits == KVM_CAP_X86_DISABLE_EXITS);
static_assert(kCapHypervSynic2 == KVM_CAP_HYPERV_SYNIC2);
static_assert(kCapHypervVpIndex == KVM_CAP_HYPERV_VP_INDEX);
static_assert(kCapGetMsrFeatures == KVM_CAP_GET_MSR_FEATURES);
static_assert(kCapHypervEventfd == KVM_CAP_HYPERV_EVENTFD);
static_assert(kCapHypervTlbflush == KVM_CAP_HYPERV_TLBFLUSH);
static_assert(kCapNestedState == KVM_CAP_NESTED_STATE);
static_assert(kCapMsrPlatformInfo == KVM_CAP_MSR_PLATFORM_INFO);
static_assert(kCapHypervSendIpi == KVM_CAP_HYPERV_SEND_IPI);
static_assert(kCapCoalescedPio == KVM_CAP_COALESCED_PIO);
static_assert(kCapHypervEnlightenedVmcs == KVM_CAP_HYPERV_ENLIGHTENED_VMCS);
static_assert(kCapExceptionPayload == KVM_CAP_EXCEPTION_PAYLOAD);
static_assert(kCapManualDirtyLogProtect == KVM_CAP_MANUAL_DIRTY_LOG_PROTECT);
static_assert(kCapHypervCpuid == KVM_CAP_HYPERV_CPUID);
static_assert(kCapManualDirtyLogProtect2 == KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
static_assert(kCapPmuEventFilter == KVM_CAP_PMU_EVENT_FILTER);
static_assert(kCapHypervDirectTlbflush == KVM_CAP_HYPERV_DIRECT_TLBFLUSH);
static_assert(kCapHaltPoll == KVM_CAP_HALT_POLL);
static_assert(kCapAsyncPfInt == KVM_CAP_ASYNC_PF_INT);
static_assert(kCapLastCpu == KVM_CAP_LAST_CPU);
static_assert(kCapSmallerMaxphyaddr == KVM_CAP_SMALLER_MAXPHYADDR);
static_assert(kCapStealTime == KVM_CAP_STEAL_TIME);
static_assert(kCapX86UserSpaceMsr == KVM_CAP_X86_USER_SPACE_MSR);
static_assert(kCapX86MsrFilter == KVM_CAP_X86_MSR_FILTER);
static_assert(kCapEnforcePvFeatureCpuid == KVM_CAP_ENFORCE_PV_FEATURE_CPUID);
static_assert(kCapSysHypervCpuid == KVM_CAP_SYS_HYPERV_CPUID);
static_assert(kCapDirtyLogRing == KVM_CAP_DIRTY_LOG_RING);
static_assert(kCapX86BusLockExit == KVM_CAP_X86_BUS_LOCK_EXIT);
static_assert(kCapSetGuestDebug2 == KVM_CAP_SET_GUEST_DEBUG2);
static_assert(kCapSgxAttribute == KVM_CAP_SGX_ATTRIBUTE);
static_assert(kCapVmCopyEncContextFrom == KVM_CAP_VM_COPY_ENC_CONTEXT_FROM);
static_assert(kCapPtpKvm == KVM_CAP_PTP_KVM);
static_assert(kCapHypervEnforceCpuid == KVM_CAP_HYPERV_ENFORCE_CPUID);
static_assert(kCapSregs2 == KVM_CAP_SREGS2);
static_assert(kCapExitHypercall == KVM_CAP_EXIT_HYPERCALL);
static_assert(kCapBinaryStatsFd == KVM_CAP_BINARY_STATS_FD);
static_assert(kCapExitOnEmulationFailure == KVM_CAP_EXIT_ON_EMULATION_FAILURE);
static_assert(kCapVmMoveEncContextFrom == KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM);
static_assert(kCapVmGpaBits == KVM_CAP_VM_GPA_BITS);
static_assert(kCapXsave2 == KVM_CAP_XSAVE2);
static_assert(kCapSysAttributes == KVM_CAP_SYS_ATTRIBUTES);
static_assert(kCapPmuCapability == KVM_CAP_PMU_CAPABILITY);
static_assert(kCapDisableQuirks2 == KVM_CAP_DISABLE_QUIRKS2);
static_assert(kCapVmTscControl == KVM_CAP_VM_TSC_CONTROL);
static_assert(kCapSystemEventData == KVM_CAP_SYSTEM_EVENT_DATA);
static_assert(kCapX86TripleFaultEvent == KVM_CAP_X86_TRIPLE_FAULT_EVENT);
static_assert(kCapX86NotifyVmexit == KVM_CAP_X86_NOTIFY_VMEXIT);
static_assert(kCapVmDisableNxHugePages == KVM_CAP_VM_DISABLE_NX_HUGE_PAGES);
static_assert(kCapDirtyLogRingAcqRel == KVM_CAP_DIRTY_LOG_RING_ACQ_REL);
static_assert(kCapDirtyLogRingWithBitmap == KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP);
static_assert(kCapPmuEventMaskedEvents == KVM_CAP_PMU_EVENT_MASKED_EVENTS);
static_assert(kCapUserMemory2 == KVM_CAP_USER_MEMORY2);
static_assert(kCapMemoryFaultInfo == KVM_CAP_MEMORY_FAULT_INFO);
static_assert(kCapMemoryAttributes == KVM_CAP_MEMORY_ATTRIBUTES);
static_assert(kCapGuestMemfd == KVM_CAP_GUEST_MEMFD);
static_assert(kCapVmTypes == KVM_CAP_VM_TYPES);
static_assert(kCapPreFaultMemory == KVM_CAP_PRE_FAULT_MEMORY);
static_assert(kCapX86ApicBusCyclesNs == KVM_CAP_X86_APIC_BUS_CYCLES_NS);
static_assert(kCapX86GuestMode == KVM_CAP_X86_GUEST_MODE);
static_assert(kCapGuestMemfdFlags == KVM_CAP_GUEST_MEMFD_FLAGS);

static_assert(kCapabilities.front().value == 0);
static_assert([] {
    for (std::size_t i = 1; i < kCapabilities.size(); ++i) {
        if (kCapabilities[i - 1].value >= kCapabilities[i].value) {
            return false;
        }
    }
    return true;
}());

using KvmCapabilities = KvmMachine;

/// A kernel that has one brought it, or came after that: one with a wrong number would be another.
TEST_F(KvmCapabilities, WhatThisKernelHasIsNotNewerThanIt) {
    utsname name{};
    ASSERT_EQ(::uname(&name), 0);
    const std::string_view release(name.release);
    Version running{};
    const std::size_t dot = release.find('.');
    ASSERT_NE(dot, std::string_view::npos);
    const std::string_view major = release.substr(0, dot);
    const std::string_view minor = release.substr(dot + 1);
    std::from_chars(major.data(), major.data() + major.size(), running.major);
    std::from_chars(minor.data(), minor.data() + minor.size(), running.minor);
    ASSERT_GT(running.major, 0U);
    for (const Symbol& capability : kCapabilities) {
        const int value = has(static_cast<std::uint32_t>(capability.value));
        EXPECT_GE(value, 0) << capability.linux_name;
        EXPECT_TRUE(value == 0 || capability.since <= running) << capability.linux_name;
    }
}

/// What every x86-64 kernel since 4.11 says of itself, where KVM is there at all.
TEST_F(KvmCapabilities, WhatEveryKernelHas) {
    for (const std::uint32_t number :
         {kCapUserMemory, kCapHlt, kCapSetTssAddr, kCapExtCpuid, kCapMpState, kCapSyncMmu,
          kCapDestroyMemoryRegionWorks, kCapJoinMemoryRegionsWorks, kCapIoeventfd,
          kCapSetIdentityMapAddr, kCapAdjustClock, kCapVcpuEvents, kCapDebugregs, kCapEnableCapVm,
          kCapReadonlyMem, kCapDeviceCtrl, kCapCheckExtensionVm, kCapImmediateExit}) {
        EXPECT_GT(has(number), 0) << number;
    }
    EXPECT_GE(has(kCapNrMemslots), 32);
    EXPECT_GE(has(kCapMaxVcpus), has(kCapNrVcpus));
    EXPECT_GE(has(kCapMaxVcpuId), has(kCapMaxVcpus));
    EXPECT_EQ(has(kCapCoalescedMmio), static_cast<int>(kCoalescedMmioPageOffset));
}

TEST_F(KvmCapabilities, OneThatNobodyHasIsNotThere) { EXPECT_EQ(has(0xffff), 0); }

TEST_F(KvmCapabilities, EnablingOneThatNobodyHasIsRefused) {
    EnableCap enable{};
    enable.cap = 0xffff;
    EXPECT_EQ(error_of(vm_, kEnableCap, &enable), EINVAL);
    enable.cap = kCapSplitIrqchip;
    enable.flags = 1;
    EXPECT_EQ(error_of(vm_, kEnableCap, &enable), EINVAL);
}

}  // namespace
}  // namespace pepita::abi::kvm
