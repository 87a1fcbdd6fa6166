#include "vmm/host/kvm_probe.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::vmm {
namespace {

using std::chrono_literals::operator""ns;

TEST(KvmProbe, AnswersWhereThereIsAKvm) {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "no /dev/kvm here";
    }
    const auto start = std::chrono::steady_clock::now();
    const auto probe = probe_kvm();
    const auto took = std::chrono::steady_clock::now() - start;
    ASSERT_TRUE(probe.has_value() || probe.error().code() == Code::DeadlineExceeded)
        << probe.error().message();
    EXPECT_LT(took, std::chrono::seconds(2));  // 50 ms, and a busy machine
}

TEST(KvmProbe, MissingDeviceIsNotFound) {
    const auto probe = probe_kvm("/dev/no-kvm-here");
    EXPECT_EQ(probe.error().code(), Code::NotFound);
    EXPECT_EQ(describe(probe), "open '/dev/no-kvm-here': No such file or directory (ENOENT)");
}

TEST(KvmProbe, AnotherDeviceIsRefused) {
    EXPECT_EQ(describe(probe_kvm("/dev/null")),
              "KVM_CREATE_VM: Inappropriate ioctl for device (ENOTTY)");
}

TEST(KvmProbe, HundredNanosecondsAreTheLimit) {
    EXPECT_TRUE(KvmProbe{.per_instruction = 100ns}.is_usable());
    EXPECT_FALSE(KvmProbe{.per_instruction = 101ns}.is_usable());
    EXPECT_EQ(describe(KvmProbe{.per_instruction = 700ns}),
              "a guest's kernel mode is interpreted here, 700 ns an instruction: Linux would seem "
              "to hang");
}

}  // namespace
}  // namespace pepita::vmm
