#include "kernel-abi/uapi/kvm_vm.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/uapi/kvm.h"
#include "test/kernel-abi/uapi/kvm_machine.h"

// A real /dev/kvm takes our requests and structures, and refuses what is wrong in them.
namespace pepita::abi::kvm {
namespace {

using KvmMemory = KvmMachine;

TEST_F(KvmMemory, RegionsThatCannotBeAreRefused) {
    UserMemoryRegion region = page();
    region.guest_phys_addr += 1;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
    region = page();
    region.memory_size -= 1;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
    region = page();
    region.flags = 1U << 15U;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
    region = page();
    region.slot = static_cast<std::uint32_t>(has(kCapNrMemslots));
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
}

TEST_F(KvmMemory, APlaceIsTakenOnce) {
    UserMemoryRegion region = page();
    region.slot = kSlot + 1;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EEXIST);
    region = page();
    region.memory_size = 0;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), 0);  // gone
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
}

TEST_F(KvmMemory, OnlyWhatIsLoggedHasALog) {
    std::uint64_t bits = 0;
    // SAFETY: `bits` outlives the calls.
    DirtyLog log{
        .slot = kSlot, .padding1 = 0, .dirty_bitmap = reinterpret_cast<std::uint64_t>(&bits)};
    EXPECT_EQ(error_of(vm_, kGetDirtyLog, &log), ENOENT);
    UserMemoryRegion region = page();
    region.flags = kMemLogDirtyPages;
    ASSERT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), 0);
    EXPECT_EQ(error_of(vm_, kGetDirtyLog, &log), 0);
    log.slot = kSlot + 1;
    EXPECT_EQ(error_of(vm_, kGetDirtyLog, &log), ENOENT);
}

class KvmIrq : public KvmMachine {
protected:
    /// A VM whose local APICs alone are in the kernel.
    void split_irqchip() {
        if (has(kCapSplitIrqchip) <= 0) {
            GTEST_SKIP() << "this kernel has no split irqchip";
        }
        vcpu_ = {};
        vm_ = Fd(::ioctl(kvm_.ref().number(), kCreateVm, 0));
        ASSERT_TRUE(vm_);
        EnableCap enable{};
        enable.cap = kCapSplitIrqchip;
        enable.args[0] = 24;  // pins of the I/O APIC
        ASSERT_EQ(error_of(vm_, kEnableCap, &enable), 0);
    }
};

TEST_F(KvmIrq, WithoutAChipThereAreNoInterrupts) {
    Msi msi{};
    EXPECT_EQ(error_of(vm_, kSignalMsi, &msi), EINVAL);
    LapicState lapic{};
    EXPECT_EQ(error_of(vcpu_, kGetLapic, &lapic), EINVAL);
}

TEST_F(KvmIrq, KicksThatCannotBeAreRefused) {
    const Fd event(::eventfd(0, EFD_CLOEXEC));
    IoEventFd kick{};
    kick.addr = 0x1000'0000;
    kick.len = 4;
    kick.fd = event.ref().number();
    IoEventFd wrong = kick;
    wrong.len = 3;
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), EINVAL);
    wrong = kick;
    wrong.flags = 1U << 31U;
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), EINVAL);
    wrong = kick;
    wrong.fd = -1;
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), EBADF);
    wrong = kick;
    wrong.flags = kIoEventFdDeassign;
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), ENOENT);
    EXPECT_EQ(error_of(vm_, kIoEventFd, &kick), 0);
    EXPECT_EQ(error_of(vm_, kIoEventFd, &kick), EEXIST);
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), 0);
}

TEST_F(KvmIrq, DescriptorsOfInterruptsThatCannotBeAreRefused) {
    split_irqchip();
    IrqFd irq{};
    irq.fd = static_cast<std::uint32_t>(kvm_.ref().number());  // no eventfd
    EXPECT_EQ(error_of(vm_, kIrqfd, &irq), EINVAL);
    irq.flags = 1U << 2U;
    EXPECT_EQ(error_of(vm_, kIrqfd, &irq), EINVAL);
    irq.flags = 0;
    irq.fd = std::uint32_t{0} - 1;
    EXPECT_EQ(error_of(vm_, kIrqfd, &irq), EBADF);
}

TEST_F(KvmIrq, RoutesAreOfAKindThatThereIs) {
    split_irqchip();
    struct {
        IrqRouting head{};
        IrqRoutingEntry entry{};
    } routing;
    routing.head.nr = 1;
    routing.entry.gsi = 0;
    routing.entry.type = kIrqRoutingMsi;
    routing.entry.u.msi.address_lo = 0xfee0'0000;
    EXPECT_EQ(error_of(vm_, kSetGsiRouting, &routing), 0);
    routing.entry.type = 77;
    EXPECT_EQ(error_of(vm_, kSetGsiRouting, &routing), EINVAL);
    routing.entry.type = kIrqRoutingMsi;
    routing.entry.flags = 2;
    EXPECT_EQ(error_of(vm_, kSetGsiRouting, &routing), EINVAL);
    routing.head.flags = 1;
    EXPECT_EQ(error_of(vm_, kSetGsiRouting, &routing), EINVAL);
}

using KvmCapabilities = KvmMachine;

/// What every x86-64 kernel since 4.11 says of itself, where KVM is there at all.
TEST_F(KvmCapabilities, WhatEveryKernelHas) {
    for (const std::uint32_t number :
         {kCapUserMemory, kCapSetTssAddr, kCapExtCpuid, kCapMpState, kCapSyncMmu, kCapIoeventfd,
          kCapSetIdentityMapAddr, kCapAdjustClock, kCapVcpuEvents, kCapDebugregs, kCapEnableCapVm,
          kCapReadonlyMem, kCapCheckExtensionVm, kCapImmediateExit}) {
        EXPECT_GT(has(number), 0) << number;
    }
    EXPECT_GE(has(kCapNrMemslots), 32);
    EXPECT_GE(has(kCapMaxVcpus), has(kCapNrVcpus));
    EXPECT_GE(has(kCapMaxVcpuId), has(kCapMaxVcpus));
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

using KvmVm = KvmMachine;

TEST_F(KvmVm, AttributeThatDoesNotExistIsRefused) {
    DeviceAttr attribute{};
    attribute.group = 0xffff;
    EXPECT_EQ(error_of(vcpu_, kHasDeviceAttr, &attribute), ENXIO);
    attribute.group = kVcpuTscCtrl;
    attribute.attr = kVcpuTscOffset;
    EXPECT_EQ(error_of(vcpu_, kHasDeviceAttr, &attribute), 0);
}

TEST_F(KvmVm, AClockGoesOnFromWhereItWasSet) {
    ClockData clock{};
    clock.clock = 1'000'000'000'000;
    ASSERT_EQ(error_of(vm_, kSetClock, &clock), 0);
    ClockData read{};
    ASSERT_EQ(error_of(vm_, kGetClock, &read), 0);
    EXPECT_GE(read.clock, clock.clock);
    clock.flags = 1U << 31U;
    EXPECT_EQ(error_of(vm_, kSetClock, &clock), EINVAL);
}

}  // namespace
}  // namespace pepita::abi::kvm
