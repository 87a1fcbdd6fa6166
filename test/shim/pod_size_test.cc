#include "shim/pod_size.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/units.h"
#include "runtime/container.h"
#include "runtime/pod_spec.h"

namespace pepita::shim {
namespace {

using runtime::PodSpec;
using runtime::ResourcesSpec;

constexpr std::int64_t kMiB = 1 << 20;

ResourcesSpec memory(std::int64_t mib) { return {.memory_limit_bytes = mib * kMiB}; }

PodSize mib(std::uint64_t memory, std::uint64_t cpus) {
    return {.memory_bytes = memory << 20U, .cpus = cpus};
}

PodSpec spec(std::uint64_t memory_mib, std::uint64_t memory_max_mib) {
    PodSpec made;
    made.memory_mib = memory_mib;
    made.memory_max_mib = memory_max_mib;
    return made;
}

TEST(PodSize, BeginsAsTheSpecificationSays) {
    PodSpec pod = spec(300, 1000);
    pod.vcpus = 3;
    EXPECT_EQ(first_size(pod), mib(300, 3));
    EXPECT_EQ(largest_size(pod), mib(1000, 4));
}

TEST(PodSize, APodThatBeginsLargerThanTheMaximumDoesNotGrow) {
    PodSpec pod = spec(3000, 1000);
    pod.vcpus = 8;
    EXPECT_EQ(largest_size(pod), mib(3000, 8));
}

TEST(PodSize, TheMachineHasRoomForItsKernelToo) {
    EXPECT_EQ(machine_memory(spec(512, 960)), 1044_MiB);  // 960 + 64 + 960 / 48
    EXPECT_EQ(machine_memory(spec(65'536, 64)), 65'536_MiB) << "no machine has more";
}

TEST(PodSize, AMachineHasRoomForItsFirstContainersLimits) {
    PodSpec pod = spec(512, 2048);
    make_room(pod, {.memory_limit_bytes = 3000 * kMiB + 1, .cpu_quota_us = 550'000});
    EXPECT_EQ(largest_size(pod), mib(3001, 6));
    EXPECT_EQ(first_size(pod), mib(512, 1));
    make_room(pod, {.memory_limit_bytes = INT64_MAX, .cpu_quota_us = 9'900'000});
    EXPECT_EQ(largest_size(pod), mib(65'536, 8)) << "no pod has more";
}

TEST(PodSize, ALimitThatIsNoneMakesNoRoom) {
    PodSpec pod = spec(512, 2048);
    make_room(pod, {.memory_limit_bytes = -1, .cpu_quota_us = -1});
    make_room(pod, {.memory_limit_bytes = 0, .cpu_quota_us = 0});
    make_room(pod, {});
    EXPECT_EQ(largest_size(pod), mib(2048, 4));
}

TEST(PodSize, APodWithoutLimitsNeedsTheSumOfItsContainers) {
    EXPECT_EQ(needed_size(mib(512, 1), false, {}), mib(512, 1));
    EXPECT_EQ(needed_size(mib(512, 1), false, {memory(100), memory(200)}), mib(512, 1));
    EXPECT_EQ(needed_size(mib(512, 1), false, {memory(400), memory(200)}).memory_bytes,
              mib(600, 0).memory_bytes);
}

TEST(PodSize, AContainerWithoutALimitCountsAsThePodItself) {
    EXPECT_EQ(needed_size(mib(512, 1), false, {memory(400), {}, {}}).memory_bytes,
              mib(912, 0).memory_bytes);
}

TEST(PodSize, ThePodsOwnLimitHoldsItsContainersTogether) {
    EXPECT_EQ(needed_size(mib(512, 1), true, {memory(400), memory(400)}), mib(512, 1));
    EXPECT_EQ(needed_size(mib(512, 1), true, {memory(400), memory(700)}), mib(700, 1))
        << "one that was resized before its pod";
}

TEST(PodSize, CpusAreTheQuotasRoundedUp) {
    const ResourcesSpec one_and_a_half{.cpu_quota_us = 150'000, .cpu_period_us = 100'000};
    const ResourcesSpec two{.cpu_quota_us = 20'000, .cpu_period_us = 10'000};
    EXPECT_EQ(needed_size(mib(512, 1), true, {one_and_a_half}).cpus, 2U);
    EXPECT_EQ(needed_size(mib(512, 1), false, {one_and_a_half, two}).cpus, 4U);
    EXPECT_EQ(needed_size(mib(512, 1), false, {{.cpu_quota_us = 300'000}}).cpus, 3U)
        << "the period is 100 ms where nobody says";
}

TEST(PodSize, SumsDoNotWrap) {
    const ResourcesSpec all{.memory_limit_bytes = INT64_MAX, .cpu_quota_us = INT64_MAX};
    EXPECT_EQ(needed_size(mib(512, 1), false, {all, all, all}).memory_bytes, UINT64_MAX);
}

TEST(PodSize, AnUpdateLeavesWhatItDoesNotName) {
    EXPECT_EQ(changed(mib(512, 2), memory(700)), mib(700, 2));
    EXPECT_EQ(changed(mib(512, 2), {.cpu_quota_us = 300'000}), mib(512, 3));
    EXPECT_EQ(changed(mib(512, 2), {.memory_limit_bytes = -1, .cpu_quota_us = -1}), mib(512, 2));
}

TEST(PodSize, ALimitBeyondTheMachineIsRefusedByItsName) {
    EXPECT_TRUE(check_limits(memory(1000), mib(1000, 4)).has_value());
    const auto refused = check_limits({.memory_limit_bytes = 1000 * kMiB + 1}, mib(1000, 4));
    EXPECT_EQ(refused.error().code(), Code::ResourceExhausted);
    EXPECT_EQ(refused.error().message(),
              "memory.limit 1048576001: the pod's microVM has booted with room for 1048576000 B "
              "(--memory-max)");
    EXPECT_TRUE(check_limits({.cpu_quota_us = 400'000}, mib(1000, 4)).has_value());
    EXPECT_EQ(check_limits({.cpu_quota_us = 400'001}, mib(1000, 4)).error().message(),
              "cpu.quota of 5 CPUs: the pod's microVM has booted with room for 4 CPUs "
              "(--cpus-max)");
}

TEST(PodSize, IsALimitOfTheGuestsCgroup) {
    EXPECT_EQ(to_resources(mib(100, 3)), (ResourcesSpec{.memory_limit_bytes = 100 * kMiB,
                                                        .cpu_quota_us = 300'000,
                                                        .cpu_period_us = 100'000}));
}

}  // namespace
}  // namespace pepita::shim
