#include "kernel-abi/uapi/kvm_nested.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

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

static_assert(kStateNestedVmxVmcsSize == KVM_STATE_NESTED_VMX_VMCS_SIZE);
static_assert(kStateNestedSvmVmcbSize == KVM_STATE_NESTED_SVM_VMCB_SIZE);

SAME_SIZE(VmxNestedStateData, kvm_vmx_nested_state_data);
SAME_PLACE(VmxNestedStateData, vmcs12, kvm_vmx_nested_state_data, vmcs12);
SAME_PLACE(VmxNestedStateData, shadow_vmcs12, kvm_vmx_nested_state_data, shadow_vmcs12);

SAME_SIZE(VmxNestedStateHdr, kvm_vmx_nested_state_hdr);
SAME_PLACE(VmxNestedStateHdr, vmxon_pa, kvm_vmx_nested_state_hdr, vmxon_pa);
SAME_PLACE(VmxNestedStateHdr, vmcs12_pa, kvm_vmx_nested_state_hdr, vmcs12_pa);
SAME_PLACE(VmxNestedStateHdr, smm, kvm_vmx_nested_state_hdr, smm);
SAME_PLACE(VmxNestedStateHdr, smm.flags, kvm_vmx_nested_state_hdr, smm.flags);
SAME_PLACE(VmxNestedStateHdr, pad, kvm_vmx_nested_state_hdr, pad);
SAME_PLACE(VmxNestedStateHdr, flags, kvm_vmx_nested_state_hdr, flags);
SAME_PLACE(VmxNestedStateHdr, preemption_timer_deadline, kvm_vmx_nested_state_hdr,
           preemption_timer_deadline);

SAME_SIZE(SvmNestedStateData, kvm_svm_nested_state_data);
SAME_PLACE(SvmNestedStateData, vmcb12, kvm_svm_nested_state_data, vmcb12);

static_assert(sizeof(SvmNestedStateHdr) == 16);  // 8 before 7.2
SAME_PLACE(SvmNestedStateHdr, vmcb_pa, kvm_svm_nested_state_hdr, vmcb_pa);
AT(SvmNestedStateHdr, gpat, 8, 8);  // kvm_svm_nested_state_hdr.gpat

static_assert(sizeof(NestedState) == 128);  // what follows is not counted
SAME_PLACE(NestedState, flags, kvm_nested_state, flags);
SAME_PLACE(NestedState, format, kvm_nested_state, format);
SAME_PLACE(NestedState, size, kvm_nested_state, size);
SAME_PLACE(NestedState, hdr, kvm_nested_state, hdr);
SAME_PLACE(NestedState, hdr.vmx, kvm_nested_state, hdr.vmx);
AT(NestedState, hdr.svm, 8, 16);  // kvm_nested_state.hdr.svm
SAME_PLACE(NestedState, hdr.pad, kvm_nested_state, hdr.pad);

static_assert(kStateNestedFormatVmx == KVM_STATE_NESTED_FORMAT_VMX);
static_assert(kStateNestedFormatSvm == KVM_STATE_NESTED_FORMAT_SVM);

static_assert(kStateNestedGuestMode == KVM_STATE_NESTED_GUEST_MODE);
static_assert(kStateNestedRunPending == KVM_STATE_NESTED_RUN_PENDING);
static_assert(kStateNestedEvmcs == KVM_STATE_NESTED_EVMCS);
static_assert(kStateNestedMtfPending == KVM_STATE_NESTED_MTF_PENDING);
static_assert(kStateNestedGifSet == KVM_STATE_NESTED_GIF_SET);

static_assert(kStateNestedSmmGuestMode == KVM_STATE_NESTED_SMM_GUEST_MODE);
static_assert(kStateNestedSmmVmxon == KVM_STATE_NESTED_SMM_VMXON);

static_assert(kStateVmxPreemptionTimerDeadline == KVM_STATE_VMX_PREEMPTION_TIMER_DEADLINE);

static_assert(sizeof(PmuEventFilter) == 32);  // what follows is not counted
SAME_PLACE(PmuEventFilter, action, kvm_pmu_event_filter, action);
SAME_PLACE(PmuEventFilter, nevents, kvm_pmu_event_filter, nevents);
SAME_PLACE(PmuEventFilter, fixed_counter_bitmap, kvm_pmu_event_filter, fixed_counter_bitmap);
SAME_PLACE(PmuEventFilter, flags, kvm_pmu_event_filter, flags);
SAME_PLACE(PmuEventFilter, pad, kvm_pmu_event_filter, pad);

static_assert(kPmuEventAllow == KVM_PMU_EVENT_ALLOW);
static_assert(kPmuEventDeny == KVM_PMU_EVENT_DENY);

static_assert(kPmuEventFlagMaskedEvents == KVM_PMU_EVENT_FLAG_MASKED_EVENTS);
static_assert(kPmuEventFlagsValidMask == KVM_PMU_EVENT_FLAGS_VALID_MASK);

static_assert(kPmuMaskedEntryEventSelect == KVM_PMU_MASKED_ENTRY_EVENT_SELECT);
static_assert(kPmuMaskedEntryUmaskMask == KVM_PMU_MASKED_ENTRY_UMASK_MASK);
static_assert(kPmuMaskedEntryUmaskMatch == KVM_PMU_MASKED_ENTRY_UMASK_MATCH);
static_assert(kPmuMaskedEntryExclude == KVM_PMU_MASKED_ENTRY_EXCLUDE);
static_assert(kPmuMaskedEntryUmaskMaskShift == KVM_PMU_MASKED_ENTRY_UMASK_MASK_SHIFT);

static_assert(kPmuCapDisable == KVM_PMU_CAP_DISABLE);

using KvmNested = KvmMachine;

TEST_F(KvmNested, AStateThatDoesNotFitIsToldSo) {
    if (has(kCapNestedState) <= 0) {
        GTEST_SKIP() << "this KVM has no guests of guests";
    }
    NestedState state{};
    state.size = 8;
    EXPECT_EQ(error_of(vcpu_, kGetNestedState, &state), E2BIG);
    state.size = 8;
    EXPECT_EQ(error_of(vcpu_, kSetNestedState, &state), EINVAL);
    state.size = sizeof(state);
    state.flags = 1U << 15U;
    EXPECT_EQ(error_of(vcpu_, kSetNestedState, &state), EINVAL);
}

TEST_F(KvmNested, AFilterOfCountersIsOneThatThereIs) {
    PmuEventFilter filter{};
    if (has(kCapPmuEventFilter) <= 0) {
        GTEST_SKIP() << "this KVM has no filter of counters";
    }
    filter.action = kPmuEventDeny + 1;
    EXPECT_EQ(error_of(vm_, kSetPmuEventFilter, &filter), EINVAL);
    filter.action = kPmuEventDeny;
    filter.flags = 1U << 31U;
    EXPECT_EQ(error_of(vm_, kSetPmuEventFilter, &filter), EINVAL);
    filter.flags = 0;
    filter.nevents = 1U << 20U;
    EXPECT_EQ(error_of(vm_, kSetPmuEventFilter, &filter), E2BIG);
}

}  // namespace
}  // namespace pepita::abi::kvm
