#include "kernel-abi/uapi/kvm.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/version.h"
#include "test/kernel-abi/uapi/kvm_machine.h"
#include "test/kernel-abi/uapi/newer_kvm.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi::kvm {
namespace {

static_assert(kApiVersion == KVM_API_VERSION);
static_assert(request(Direction::None, 0, 0) == _IO(KVMIO, 0));

// As SAME_REQUEST, where Debian 12's header makes the size of a flexible array wrong in C++.
#define SAME_REQUEST(ours, theirs, size)                                    \
    static_assert(((ours) & ~0x3fff0000UL) == ((theirs) & ~0x3fff0000UL) && \
                  ((ours) >> 16U & 0x3fffU) == (size))

static_assert(kGetApiVersion == KVM_GET_API_VERSION);
static_assert(kCreateVm == KVM_CREATE_VM);
SAME_REQUEST(kGetMsrIndexList, KVM_GET_MSR_INDEX_LIST, 4);
static_assert(kCheckExtension == KVM_CHECK_EXTENSION);
static_assert(kGetVcpuMmapSize == KVM_GET_VCPU_MMAP_SIZE);
SAME_REQUEST(kGetSupportedCpuid, KVM_GET_SUPPORTED_CPUID, 8);
SAME_REQUEST(kGetEmulatedCpuid, KVM_GET_EMULATED_CPUID, 8);
SAME_REQUEST(kGetMsrFeatureIndexList, KVM_GET_MSR_FEATURE_INDEX_LIST, 4);
static_assert(kCreateVcpu == KVM_CREATE_VCPU);
static_assert(kGetDirtyLog == KVM_GET_DIRTY_LOG);
static_assert(kSetNrMmuPages == KVM_SET_NR_MMU_PAGES);
static_assert(kGetNrMmuPages == KVM_GET_NR_MMU_PAGES);
static_assert(kSetUserMemoryRegion == KVM_SET_USER_MEMORY_REGION);
static_assert(kSetTssAddr == KVM_SET_TSS_ADDR);
static_assert(kSetIdentityMapAddr == KVM_SET_IDENTITY_MAP_ADDR);
static_assert(kSetUserMemoryRegion2 == 0x40a0ae49);
#ifdef KVM_SET_USER_MEMORY_REGION2
static_assert(kSetUserMemoryRegion2 == KVM_SET_USER_MEMORY_REGION2);
#endif
static_assert(kCreateIrqchip == KVM_CREATE_IRQCHIP);
static_assert(kIrqLine == KVM_IRQ_LINE);
static_assert(kGetIrqchip == KVM_GET_IRQCHIP);
static_assert(kSetIrqchip == KVM_SET_IRQCHIP);
static_assert(kCreatePit == KVM_CREATE_PIT);
static_assert(kGetPit == KVM_GET_PIT);
static_assert(kSetPit == KVM_SET_PIT);
static_assert(kIrqLineStatus == KVM_IRQ_LINE_STATUS);
static_assert(kRegisterCoalescedMmio == KVM_REGISTER_COALESCED_MMIO);
static_assert(kUnregisterCoalescedMmio == KVM_UNREGISTER_COALESCED_MMIO);
SAME_REQUEST(kSetGsiRouting, KVM_SET_GSI_ROUTING, 8);
static_assert(kReinjectControl == KVM_REINJECT_CONTROL);
static_assert(kIrqfd == KVM_IRQFD);
static_assert(kCreatePit2 == KVM_CREATE_PIT2);
static_assert(kSetBootCpuId == KVM_SET_BOOT_CPU_ID);
static_assert(kIoEventFd == KVM_IOEVENTFD);
static_assert(kXenHvmConfig == KVM_XEN_HVM_CONFIG);
static_assert(kSetClock == KVM_SET_CLOCK);
static_assert(kGetClock == KVM_GET_CLOCK);
static_assert(kGetPit2 == KVM_GET_PIT2);
static_assert(kSetPit2 == KVM_SET_PIT2);
static_assert(kSignalMsi == KVM_SIGNAL_MSI);
SAME_REQUEST(kSetPmuEventFilter, KVM_SET_PMU_EVENT_FILTER, 32);
static_assert(kMemoryEncryptOp == KVM_MEMORY_ENCRYPT_OP);
static_assert(kMemoryEncryptRegRegion == KVM_MEMORY_ENCRYPT_REG_REGION);
static_assert(kMemoryEncryptUnregRegion == KVM_MEMORY_ENCRYPT_UNREG_REGION);
static_assert(kHypervEventfd == KVM_HYPERV_EVENTFD);
static_assert(kClearDirtyLog == KVM_CLEAR_DIRTY_LOG);
static_assert(kX86SetMsrFilter == KVM_X86_SET_MSR_FILTER);
static_assert(kResetDirtyRings == KVM_RESET_DIRTY_RINGS);
static_assert(kXenHvmGetAttr == KVM_XEN_HVM_GET_ATTR);
static_assert(kXenHvmSetAttr == KVM_XEN_HVM_SET_ATTR);
static_assert(kXenHvmEvtchnSend == KVM_XEN_HVM_EVTCHN_SEND);
static_assert(kSetMemoryAttributes == 0x4020aed2);
#ifdef KVM_SET_MEMORY_ATTRIBUTES
static_assert(kSetMemoryAttributes == KVM_SET_MEMORY_ATTRIBUTES);
#endif
static_assert(kCreateGuestMemfd == 0xc040aed4);
#ifdef KVM_CREATE_GUEST_MEMFD
static_assert(kCreateGuestMemfd == KVM_CREATE_GUEST_MEMFD);
#endif
static_assert(kCreateDevice == KVM_CREATE_DEVICE);
static_assert(kSetDeviceAttr == KVM_SET_DEVICE_ATTR);
static_assert(kGetDeviceAttr == KVM_GET_DEVICE_ATTR);
static_assert(kHasDeviceAttr == KVM_HAS_DEVICE_ATTR);
static_assert(kRun == KVM_RUN);
static_assert(kGetRegs == KVM_GET_REGS);
static_assert(kSetRegs == KVM_SET_REGS);
static_assert(kGetSregs == KVM_GET_SREGS);
static_assert(kSetSregs == KVM_SET_SREGS);
static_assert(kTranslate == KVM_TRANSLATE);
static_assert(kInterrupt == KVM_INTERRUPT);
SAME_REQUEST(kGetMsrs, KVM_GET_MSRS, 8);
SAME_REQUEST(kSetMsrs, KVM_SET_MSRS, 8);
SAME_REQUEST(kSetCpuid, KVM_SET_CPUID, 8);
SAME_REQUEST(kSetSignalMask, KVM_SET_SIGNAL_MASK, 4);
static_assert(kGetFpu == KVM_GET_FPU);
static_assert(kSetFpu == KVM_SET_FPU);
static_assert(kGetLapic == KVM_GET_LAPIC);
static_assert(kSetLapic == KVM_SET_LAPIC);
SAME_REQUEST(kSetCpuid2, KVM_SET_CPUID2, 8);
SAME_REQUEST(kGetCpuid2, KVM_GET_CPUID2, 8);
static_assert(kTprAccessReporting == KVM_TPR_ACCESS_REPORTING);
static_assert(kSetVapicAddr == KVM_SET_VAPIC_ADDR);
static_assert(kGetMpState == KVM_GET_MP_STATE);
static_assert(kSetMpState == KVM_SET_MP_STATE);
static_assert(kNmi == KVM_NMI);
static_assert(kSetGuestDebug == KVM_SET_GUEST_DEBUG);
static_assert(kX86SetupMce == KVM_X86_SETUP_MCE);
static_assert(kX86GetMceCapSupported == KVM_X86_GET_MCE_CAP_SUPPORTED);
static_assert(kX86SetMce == KVM_X86_SET_MCE);
static_assert(kGetVcpuEvents == KVM_GET_VCPU_EVENTS);
static_assert(kSetVcpuEvents == KVM_SET_VCPU_EVENTS);
static_assert(kGetDebugregs == KVM_GET_DEBUGREGS);
static_assert(kSetDebugregs == KVM_SET_DEBUGREGS);
static_assert(kSetTscKhz == KVM_SET_TSC_KHZ);
static_assert(kGetTscKhz == KVM_GET_TSC_KHZ);
static_assert(kEnableCap == KVM_ENABLE_CAP);
SAME_REQUEST(kGetXsave, KVM_GET_XSAVE, 4096);
SAME_REQUEST(kSetXsave, KVM_SET_XSAVE, 4096);
static_assert(kGetXcrs == KVM_GET_XCRS);
static_assert(kSetXcrs == KVM_SET_XCRS);
static_assert(kGetOneReg == KVM_GET_ONE_REG);
static_assert(kSetOneReg == KVM_SET_ONE_REG);
static_assert(kKvmclockCtrl == KVM_KVMCLOCK_CTRL);
SAME_REQUEST(kGetRegList, KVM_GET_REG_LIST, 8);
static_assert(kSmi == KVM_SMI);
SAME_REQUEST(kGetNestedState, KVM_GET_NESTED_STATE, 128);
SAME_REQUEST(kSetNestedState, KVM_SET_NESTED_STATE, 128);
SAME_REQUEST(kGetSupportedHvCpuid, KVM_GET_SUPPORTED_HV_CPUID, 8);
static_assert(kXenVcpuGetAttr == KVM_XEN_VCPU_GET_ATTR);
static_assert(kXenVcpuSetAttr == KVM_XEN_VCPU_SET_ATTR);
static_assert(kGetSregs2 == KVM_GET_SREGS2);
static_assert(kSetSregs2 == KVM_SET_SREGS2);
static_assert(kGetStatsFd == KVM_GET_STATS_FD);
SAME_REQUEST(kGetXsave2, KVM_GET_XSAVE2, 4096);
static_assert(kPreFaultMemory == 0xc040aed5);
#ifdef KVM_PRE_FAULT_MEMORY
static_assert(kPreFaultMemory == KVM_PRE_FAULT_MEMORY);
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
