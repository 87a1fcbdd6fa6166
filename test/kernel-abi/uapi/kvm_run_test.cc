#include "kernel-abi/uapi/kvm_run.h"

#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "test/kernel-abi/uapi/kvm_machine.h"

namespace pepita::abi::kvm {
namespace {

class KvmRun : public KvmMachine {
protected:
    void SetUp() override {
        KvmMachine::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        const int size = ::ioctl(kvm_.ref().number(), kGetVcpuMmapSize, 0);
        ASSERT_GE(size, static_cast<int>(sizeof(kvm::Run)));
        shared_ = Mapping::shared(vcpu_.ref(), Bytes(static_cast<std::uint64_t>(size))).value();
    }

    kvm::Run& run() const {
        // SAFETY: the mapping is at least sizeof(kvm::Run) long and laid out by KVM.
        return *reinterpret_cast<kvm::Run*>(shared_.bytes().data());
    }

    /// Runs 16-bit code at kPageAt up to its first exit.
    int go(std::span<const std::uint8_t> code) {
        std::ranges::copy(std::as_bytes(code), memory_.bytes().begin());
        Sregs sregs{};
        EXPECT_EQ(error_of(vcpu_, kGetSregs, &sregs), 0);
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        sregs.ds.base = 0xf'0000;  // where there is no memory
        EXPECT_EQ(error_of(vcpu_, kSetSregs, &sregs), 0);
        Regs regs{};
        regs.rip = kPageAt;
        regs.rflags = 2;
        regs.rax = 0x5a;
        EXPECT_EQ(error_of(vcpu_, kSetRegs, &regs), 0);
        return error_of(vcpu_, kRun, 0);
    }
    ExitReason reason() const { return static_cast<ExitReason>(run().exit_reason); }

    Mapping shared_;
};

TEST_F(KvmRun, AHaltIsAHalt) {
    ASSERT_EQ(go(std::array<std::uint8_t, 1>{0xf4}), 0);  // hlt
    EXPECT_EQ(reason(), ExitReason::Hlt);
}

TEST_F(KvmRun, APortIsToldWithItsData) {
    ASSERT_EQ(go(std::array<std::uint8_t, 3>{0xe6, 0x42, 0xf4}), 0);  // out 0x42, al
    ASSERT_EQ(reason(), ExitReason::Io);
    EXPECT_EQ(run().io.direction, kExitIoOut);
    EXPECT_EQ(run().io.size, 1U);
    EXPECT_EQ(run().io.port, 0x42U);
    EXPECT_EQ(run().io.count, 1U);
    ASSERT_LT(run().io.data_offset, shared_.bytes().size());
    EXPECT_EQ(shared_.bytes()[run().io.data_offset], std::byte{0x5a});
}

TEST_F(KvmRun, AWriteToNoMemoryIsToldWithItsData) {
    ASSERT_EQ(go(std::array<std::uint8_t, 4>{0xa2, 0x34, 0x12, 0xf4}), 0);  // mov [0x1234], al
    ASSERT_EQ(reason(), ExitReason::Mmio);
    EXPECT_EQ(run().mmio.phys_addr, 0xf'1234U);
    EXPECT_EQ(run().mmio.len, 1U);
    EXPECT_EQ(run().mmio.is_write, 1U);
    EXPECT_EQ(run().mmio.data[0], 0x5aU);
}

TEST_F(KvmRun, AnImmediateExitRunsNothing) {
    run().immediate_exit = 1;
    EXPECT_EQ(go(std::array<std::uint8_t, 1>{0xf4}), EINTR);
}

/// The registers of the shared page are those that KVM_GET_REGS reads.
TEST_F(KvmRun, RegistersComeWithTheExitWhereTheyAreAskedFor) {
    const int fields = has(kCapSyncRegs);
    if (fields <= 0) {
        GTEST_SKIP() << "this KVM shares no registers";
    }
    constexpr std::uint64_t all = kSyncX86Regs | kSyncX86Sregs | kSyncX86Events;
    EXPECT_EQ(static_cast<std::uint64_t>(fields) & all, all);
    run().kvm_valid_regs = kSyncX86Regs | kSyncX86Sregs;
    ASSERT_EQ(go(std::array<std::uint8_t, 3>{0xe6, 0x42, 0xf4}), 0);
    Regs regs{};
    Sregs sregs{};
    ASSERT_EQ(error_of(vcpu_, kGetRegs, &regs), 0);
    ASSERT_EQ(error_of(vcpu_, kGetSregs, &sregs), 0);
    EXPECT_EQ(std::memcmp(&run().s.regs.regs, &regs, sizeof(regs)), 0);
    EXPECT_EQ(std::memcmp(&run().s.regs.sregs, &sregs, sizeof(sregs)), 0);
    run().kvm_valid_regs = 1ULL << 31U;
    EXPECT_EQ(error_of(vcpu_, kRun, 0), EINVAL);
}

}  // namespace
}  // namespace pepita::abi::kvm
