#include "kernel-abi/uapi/kvm_vcpu.h"

#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "kernel-abi/uapi/kvm.h"
#include "test/kernel-abi/uapi/kvm_machine.h"

namespace pepita::abi::kvm {
namespace {

using KvmVcpu = KvmMachine;

TEST_F(KvmVcpu, RegistersAreReadAsTheyWereSet) {
    Regs regs{};
    regs.rax = 0x1111;
    regs.r15 = 0x2222;
    regs.rip = 0x3333;
    regs.rflags = 2;
    ASSERT_EQ(error_of(vcpu_, kSetRegs, &regs), 0);
    Regs read{};
    ASSERT_EQ(error_of(vcpu_, kGetRegs, &read), 0);
    EXPECT_EQ(std::memcmp(&read, &regs, sizeof(regs)), 0);
}

/// Intel SDM 9.1: the state after a reset.
TEST_F(KvmVcpu, AResetProcessorStandsAtItsVector) {
    Regs regs{};
    Sregs sregs{};
    ASSERT_EQ(error_of(vcpu_, kGetRegs, &regs), 0);
    ASSERT_EQ(error_of(vcpu_, kGetSregs, &sregs), 0);
    EXPECT_EQ(regs.rip, 0xfff0U);
    EXPECT_EQ(regs.rflags, 2U);
    EXPECT_EQ(sregs.cs.base, 0xffff'0000U);
    EXPECT_EQ(sregs.cs.limit, 0xffffU);
    EXPECT_EQ(sregs.cs.selector, 0xf000U);
    EXPECT_EQ(sregs.gdt.limit, 0xffffU);
    EXPECT_EQ(sregs.cr0, 0x6000'0010U);
    EXPECT_EQ(sregs.efer, 0U);
    MpState state{.mp_state = 99};
    ASSERT_EQ(error_of(vcpu_, kGetMpState, &state), 0);
    EXPECT_EQ(state.mp_state, kMpStateRunnable);
    Debugregs debug{};
    ASSERT_EQ(error_of(vcpu_, kGetDebugregs, &debug), 0);
    EXPECT_EQ(debug.dr6, 0xffff'0ff0U);
    EXPECT_EQ(debug.dr7, 0x400U);
}

TEST_F(KvmVcpu, TablesHaveTheirLimits) {
    Cpuid cpuid{};
    cpuid.count = static_cast<std::uint32_t>(cpuid.entries.size()) + 1;
    EXPECT_EQ(error_of(vcpu_, kSetCpuid2, &cpuid), E2BIG);
    Msrs msrs{};
    msrs.count = 257;
    EXPECT_EQ(error_of(vcpu_, kSetMsrs, &msrs), E2BIG);
}

TEST_F(KvmVcpu, AnMsrThatIsRefusedEndsTheirRow) {
    Msrs msrs{};
    msrs.count = 2;
    msrs.entries[0] = {.index = 0x10, .reserved = 0, .data = 0};  // TSC
    msrs.entries[1] = {.index = 0x5555'5555, .reserved = 0, .data = 0};
    EXPECT_EQ(::ioctl(vcpu_.ref().number(), kGetMsrs, &msrs), 1);
}

TEST_F(KvmVcpu, WhatIsNotUnderstoodIsRefused) {
    Debugregs debug{};
    debug.flags = 1;
    EXPECT_EQ(error_of(vcpu_, kSetDebugregs, &debug), EINVAL);
    VcpuEvents events{};
    events.flags = 1U << 31U;
    EXPECT_EQ(error_of(vcpu_, kSetVcpuEvents, &events), EINVAL);
    MpState state{.mp_state = 99};
    EXPECT_EQ(error_of(vcpu_, kSetMpState, &state), EINVAL);
}

}  // namespace
}  // namespace pepita::abi::kvm
