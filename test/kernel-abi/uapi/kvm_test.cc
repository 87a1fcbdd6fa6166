#include "kernel-abi/uapi/kvm.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <linux/version.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "test/kernel-abi/uapi/kvm_machine.h"

namespace pepita::abi::kvm {
namespace {

// Against Linux's header.
#define SAME(ours, theirs) static_assert((ours) == (theirs))
#define NUMBER(ours, theirs) static_assert(std::to_underlying(ours) == (theirs))
/// A request of which Debian 12's header states a wrong size in C++: that of a flexible array.
#define REQUEST(ours, theirs, size)                                         \
    static_assert(((ours) & ~0x3fff0000UL) == ((theirs) & ~0x3fff0000UL) && \
                  ((ours) >> 16U & 0x3fffU) == (size))
SAME(kGetApiVersion, KVM_GET_API_VERSION);
SAME(kCreateVm, KVM_CREATE_VM);
REQUEST(kGetMsrIndexList, KVM_GET_MSR_INDEX_LIST, 4);
SAME(kCheckExtension, KVM_CHECK_EXTENSION);
SAME(kGetVcpuMmapSize, KVM_GET_VCPU_MMAP_SIZE);
REQUEST(kGetSupportedCpuid, KVM_GET_SUPPORTED_CPUID, 8);
REQUEST(kGetMsrFeatureIndexList, KVM_GET_MSR_FEATURE_INDEX_LIST, 4);
SAME(kCreateVcpu, KVM_CREATE_VCPU);
SAME(kGetDirtyLog, KVM_GET_DIRTY_LOG);
SAME(kSetUserMemoryRegion, KVM_SET_USER_MEMORY_REGION);
SAME(kSetTssAddr, KVM_SET_TSS_ADDR);
SAME(kSetIdentityMapAddr, KVM_SET_IDENTITY_MAP_ADDR);
SAME(kCreateIrqchip, KVM_CREATE_IRQCHIP);
REQUEST(kSetGsiRouting, KVM_SET_GSI_ROUTING, 8);
SAME(kIrqfd, KVM_IRQFD);
SAME(kIoEventFd, KVM_IOEVENTFD);
SAME(kSetClock, KVM_SET_CLOCK);
SAME(kGetClock, KVM_GET_CLOCK);
SAME(kSignalMsi, KVM_SIGNAL_MSI);
SAME(kClearDirtyLog, KVM_CLEAR_DIRTY_LOG);
SAME(kSetDeviceAttr, KVM_SET_DEVICE_ATTR);
SAME(kGetDeviceAttr, KVM_GET_DEVICE_ATTR);
SAME(kHasDeviceAttr, KVM_HAS_DEVICE_ATTR);
SAME(kRun, KVM_RUN);
SAME(kGetRegs, KVM_GET_REGS);
SAME(kSetRegs, KVM_SET_REGS);
SAME(kGetSregs, KVM_GET_SREGS);
SAME(kSetSregs, KVM_SET_SREGS);
REQUEST(kGetMsrs, KVM_GET_MSRS, 8);
REQUEST(kSetMsrs, KVM_SET_MSRS, 8);
SAME(kGetLapic, KVM_GET_LAPIC);
SAME(kSetLapic, KVM_SET_LAPIC);
REQUEST(kSetCpuid2, KVM_SET_CPUID2, 8);
REQUEST(kGetCpuid2, KVM_GET_CPUID2, 8);
SAME(kGetMpState, KVM_GET_MP_STATE);
SAME(kSetMpState, KVM_SET_MP_STATE);
SAME(kGetVcpuEvents, KVM_GET_VCPU_EVENTS);
SAME(kSetVcpuEvents, KVM_SET_VCPU_EVENTS);
SAME(kGetDebugregs, KVM_GET_DEBUGREGS);
SAME(kSetDebugregs, KVM_SET_DEBUGREGS);
SAME(kSetTscKhz, KVM_SET_TSC_KHZ);
SAME(kGetTscKhz, KVM_GET_TSC_KHZ);
SAME(kEnableCap, KVM_ENABLE_CAP);
REQUEST(kGetXsave, KVM_GET_XSAVE, 4096);
REQUEST(kSetXsave, KVM_SET_XSAVE, 4096);
SAME(kGetXcrs, KVM_GET_XCRS);
SAME(kSetXcrs, KVM_SET_XCRS);
SAME(kKvmclockCtrl, KVM_KVMCLOCK_CTRL);
REQUEST(kGetXsave2, KVM_GET_XSAVE2, 4096);
SAME(kApiVersion, KVM_API_VERSION);
SAME(kCapUserMemory, KVM_CAP_USER_MEMORY);
SAME(kCapSetTssAddr, KVM_CAP_SET_TSS_ADDR);
SAME(kCapExtCpuid, KVM_CAP_EXT_CPUID);
SAME(kCapNrVcpus, KVM_CAP_NR_VCPUS);
SAME(kCapNrMemslots, KVM_CAP_NR_MEMSLOTS);
SAME(kCapMpState, KVM_CAP_MP_STATE);
SAME(kCapSyncMmu, KVM_CAP_SYNC_MMU);
SAME(kCapIrqRouting, KVM_CAP_IRQ_ROUTING);
SAME(kCapIrqfd, KVM_CAP_IRQFD);
SAME(kCapIoeventfd, KVM_CAP_IOEVENTFD);
SAME(kCapSetIdentityMapAddr, KVM_CAP_SET_IDENTITY_MAP_ADDR);
SAME(kCapAdjustClock, KVM_CAP_ADJUST_CLOCK);
SAME(kCapVcpuEvents, KVM_CAP_VCPU_EVENTS);
SAME(kCapDebugregs, KVM_CAP_DEBUGREGS);
SAME(kCapXsave, KVM_CAP_XSAVE);
SAME(kCapXcrs, KVM_CAP_XCRS);
SAME(kCapTscControl, KVM_CAP_TSC_CONTROL);
SAME(kCapGetTscKhz, KVM_CAP_GET_TSC_KHZ);
SAME(kCapMaxVcpus, KVM_CAP_MAX_VCPUS);
SAME(kCapTscDeadlineTimer, KVM_CAP_TSC_DEADLINE_TIMER);
SAME(kCapSyncRegs, KVM_CAP_SYNC_REGS);
SAME(kCapKvmclockCtrl, KVM_CAP_KVMCLOCK_CTRL);
SAME(kCapSignalMsi, KVM_CAP_SIGNAL_MSI);
SAME(kCapReadonlyMem, KVM_CAP_READONLY_MEM);
SAME(kCapEnableCapVm, KVM_CAP_ENABLE_CAP_VM);
SAME(kCapCheckExtensionVm, KVM_CAP_CHECK_EXTENSION_VM);
SAME(kCapSplitIrqchip, KVM_CAP_SPLIT_IRQCHIP);
SAME(kCapIoeventfdAnyLength, KVM_CAP_IOEVENTFD_ANY_LENGTH);
SAME(kCapVcpuAttributes, KVM_CAP_VCPU_ATTRIBUTES);
SAME(kCapMaxVcpuId, KVM_CAP_MAX_VCPU_ID);
SAME(kCapX2ApicApi, KVM_CAP_X2APIC_API);
SAME(kCapImmediateExit, KVM_CAP_IMMEDIATE_EXIT);
SAME(kCapX86DisableExits, KVM_CAP_X86_DISABLE_EXITS);
SAME(kCapGetMsrFeatures, KVM_CAP_GET_MSR_FEATURES);
SAME(kCapExceptionPayload, KVM_CAP_EXCEPTION_PAYLOAD);
SAME(kCapManualDirtyLogProtect2, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
SAME(kCapXsave2, KVM_CAP_XSAVE2);
SAME(kCapX86TripleFaultEvent, KVM_CAP_X86_TRIPLE_FAULT_EVENT);
SAME(kMemLogDirtyPages, KVM_MEM_LOG_DIRTY_PAGES);
SAME(kMemReadonly, KVM_MEM_READONLY);
SAME(kDirtyLogManualProtectEnable, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
SAME(kDirtyLogInitiallySet, KVM_DIRTY_LOG_INITIALLY_SET);
SAME(kIrqRoutingIrqchip, KVM_IRQ_ROUTING_IRQCHIP);
SAME(kIrqRoutingMsi, KVM_IRQ_ROUTING_MSI);
SAME(kIrqfdFlagDeassign, KVM_IRQFD_FLAG_DEASSIGN);
SAME(kIrqfdFlagResample, KVM_IRQFD_FLAG_RESAMPLE);
SAME(kIoEventFdDatamatch, KVM_IOEVENTFD_FLAG_DATAMATCH);
SAME(kIoEventFdPio, KVM_IOEVENTFD_FLAG_PIO);
SAME(kIoEventFdDeassign, KVM_IOEVENTFD_FLAG_DEASSIGN);
SAME(kX2apicApiUse32bitIds, KVM_X2APIC_API_USE_32BIT_IDS);
SAME(kX2apicApiDisableBroadcastQuirk, KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
SAME(kClockTscStable, KVM_CLOCK_TSC_STABLE);
SAME(kClockRealtime, KVM_CLOCK_REALTIME);
SAME(kClockHostTsc, KVM_CLOCK_HOST_TSC);
SAME(kVcpuTscCtrl, KVM_VCPU_TSC_CTRL);
SAME(kVcpuTscOffset, KVM_VCPU_TSC_OFFSET);
SAME(kX86DisableExitsMwait, KVM_X86_DISABLE_EXITS_MWAIT);
SAME(kX86DisableExitsHlt, KVM_X86_DISABLE_EXITS_HLT);
SAME(kX86DisableExitsPause, KVM_X86_DISABLE_EXITS_PAUSE);
SAME(kX86DisableExitsCstate, KVM_X86_DISABLE_EXITS_CSTATE);
SAME(kMpStateRunnable, KVM_MP_STATE_RUNNABLE);
SAME(kMpStateUninitialized, KVM_MP_STATE_UNINITIALIZED);
SAME(kMpStateInitReceived, KVM_MP_STATE_INIT_RECEIVED);
SAME(kMpStateHalted, KVM_MP_STATE_HALTED);
SAME(kMpStateSipiReceived, KVM_MP_STATE_SIPI_RECEIVED);
SAME(kVcpueventValidNmiPending, KVM_VCPUEVENT_VALID_NMI_PENDING);
SAME(kVcpueventValidSipiVector, KVM_VCPUEVENT_VALID_SIPI_VECTOR);
SAME(kVcpueventValidShadow, KVM_VCPUEVENT_VALID_SHADOW);
SAME(kVcpueventValidSmm, KVM_VCPUEVENT_VALID_SMM);
SAME(kVcpueventValidPayload, KVM_VCPUEVENT_VALID_PAYLOAD);
SAME(kVcpueventValidTripleFault, KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
SAME(kX86ShadowIntMovSs, KVM_X86_SHADOW_INT_MOV_SS);
SAME(kX86ShadowIntSti, KVM_X86_SHADOW_INT_STI);
SAME(kCpuidSignificantIndex, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
SAME(kCpuidFlagStatefulFunc, KVM_CPUID_FLAG_STATEFUL_FUNC);
SAME(kCpuidFlagStateReadNext, KVM_CPUID_FLAG_STATE_READ_NEXT);
NUMBER(ExitReason::Unknown, KVM_EXIT_UNKNOWN);
NUMBER(ExitReason::Exception, KVM_EXIT_EXCEPTION);
NUMBER(ExitReason::Io, KVM_EXIT_IO);
NUMBER(ExitReason::Hypercall, KVM_EXIT_HYPERCALL);
NUMBER(ExitReason::Debug, KVM_EXIT_DEBUG);
NUMBER(ExitReason::Hlt, KVM_EXIT_HLT);
NUMBER(ExitReason::Mmio, KVM_EXIT_MMIO);
NUMBER(ExitReason::InterruptWindowOpen, KVM_EXIT_IRQ_WINDOW_OPEN);
NUMBER(ExitReason::Shutdown, KVM_EXIT_SHUTDOWN);
NUMBER(ExitReason::FailEntry, KVM_EXIT_FAIL_ENTRY);
NUMBER(ExitReason::Interrupted, KVM_EXIT_INTR);
NUMBER(ExitReason::SetTpr, KVM_EXIT_SET_TPR);
NUMBER(ExitReason::TprAccess, KVM_EXIT_TPR_ACCESS);
NUMBER(ExitReason::Nmi, KVM_EXIT_NMI);
NUMBER(ExitReason::InternalError, KVM_EXIT_INTERNAL_ERROR);
NUMBER(ExitReason::SystemEvent, KVM_EXIT_SYSTEM_EVENT);
NUMBER(ExitReason::IoapicEoi, KVM_EXIT_IOAPIC_EOI);
NUMBER(ExitReason::Hyperv, KVM_EXIT_HYPERV);
NUMBER(ExitReason::X86Rdmsr, KVM_EXIT_X86_RDMSR);
NUMBER(ExitReason::X86Wrmsr, KVM_EXIT_X86_WRMSR);
NUMBER(ExitReason::DirtyRingFull, KVM_EXIT_DIRTY_RING_FULL);
NUMBER(ExitReason::ApResetHold, KVM_EXIT_AP_RESET_HOLD);
NUMBER(ExitReason::X86BusLock, KVM_EXIT_X86_BUS_LOCK);
NUMBER(ExitReason::Xen, KVM_EXIT_XEN);
NUMBER(ExitReason::Notify, KVM_EXIT_NOTIFY);
SAME(kExitIoIn, KVM_EXIT_IO_IN);
SAME(kExitIoOut, KVM_EXIT_IO_OUT);
SAME(kInternalErrorEmulation, KVM_INTERNAL_ERROR_EMULATION);
SAME(kInternalErrorSimulEx, KVM_INTERNAL_ERROR_SIMUL_EX);
SAME(kInternalErrorDeliveryEv, KVM_INTERNAL_ERROR_DELIVERY_EV);
SAME(kInternalErrorUnexpectedExitReason, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON);
SAME(kInternalErrorEmulationFlagInstructionBytes,
     KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
SAME(kSystemEventShutdown, KVM_SYSTEM_EVENT_SHUTDOWN);
SAME(kSystemEventReset, KVM_SYSTEM_EVENT_RESET);
SAME(kSystemEventCrash, KVM_SYSTEM_EVENT_CRASH);
SAME(kSyncX86Regs, KVM_SYNC_X86_REGS);
SAME(kSyncX86Sregs, KVM_SYNC_X86_SREGS);
SAME(kSyncX86Events, KVM_SYNC_X86_EVENTS);
SAME(kSyncRegsSizeBytes, SYNC_REGS_SIZE_BYTES);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
NUMBER(ExitReason::MemoryFault, KVM_EXIT_MEMORY_FAULT);
#endif

using KvmRequests = KvmMachine;

TEST_F(KvmRequests, VersionIsTwelve) {
    EXPECT_EQ(::ioctl(kvm_.ref().number(), kGetApiVersion, 0), kApiVersion);
}

TEST_F(KvmRequests, WhatIsNoRequestIsRefused) {
    constexpr unsigned long none = request(Direction::None, 0xff, 0);
    EXPECT_EQ(error_of(kvm_, none, 0), EINVAL);
    EXPECT_EQ(error_of(vm_, none, 0), ENOTTY);
    EXPECT_EQ(error_of(vcpu_, none, 0), EINVAL);
    EXPECT_EQ(error_of(kvm_, kGetApiVersion, 1), EINVAL);
}

TEST_F(KvmRequests, VcpusHaveNumbersOfTheirOwn) {
    EXPECT_EQ(error_of(vm_, kCreateVcpu, 0), EEXIST);
    EXPECT_EQ(error_of(vm_, kCreateVcpu, has(kCapMaxVcpuId)), EINVAL);
}

TEST_F(KvmRequests, MachinesOfAKindThatThereIsNotAreRefused) {
    EXPECT_EQ(error_of(kvm_, kCreateVm, 0xffffUL), EINVAL);
}

TEST_F(KvmRequests, TablesThatAreTooSmallAreToldSo) {
    Cpuid cpuid{};
    cpuid.count = 1;
    EXPECT_EQ(error_of(kvm_, kGetSupportedCpuid, &cpuid), E2BIG);
    MsrList list{};
    EXPECT_EQ(error_of(kvm_, kGetMsrIndexList, &list), E2BIG);
    EXPECT_GT(list.nmsrs, 0U);
}

TEST_F(KvmRequests, MemoryThatIsNotThereIsABadAddress) {
    EXPECT_EQ(error_of(kvm_, kGetSupportedCpuid, nullptr), EFAULT);
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, nullptr), EFAULT);
    EXPECT_EQ(error_of(vcpu_, kSetRegs, nullptr), EFAULT);
}

}  // namespace
}  // namespace pepita::abi::kvm
