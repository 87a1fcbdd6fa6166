#include "cri/cli/top.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "cri/api/cri.h"

namespace pepita::cri::cli {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

v1::PodSandboxStats& add_pod(v1::ListPodSandboxStatsResponse& all, const std::string& name) {
    v1::PodSandboxStats& pod = *all.add_stats();
    pod.mutable_attributes()->set_id("id-" + name);
    pod.mutable_attributes()->mutable_metadata()->set_name(name);
    pod.mutable_attributes()->mutable_metadata()->set_namespace_("shop");
    return pod;
}

void set_cpu(v1::CpuUsage& cpu, std::int64_t now_ns, std::uint64_t used_ns) {
    cpu.set_timestamp(now_ns);
    cpu.mutable_usage_core_nano_seconds()->set_value(used_ns);
}

v1::ListPodSandboxStatsResponse stats(std::int64_t now_ns, std::uint64_t used_ns) {
    v1::ListPodSandboxStatsResponse all;
    v1::PodSandboxStats& pod = add_pod(all, "web");
    set_cpu(*pod.mutable_linux()->mutable_cpu(), now_ns, used_ns);
    pod.mutable_linux()->mutable_memory()->mutable_working_set_bytes()->set_value(3U << 19U);
    pod.mutable_linux()->mutable_process()->mutable_process_count()->set_value(7);
    v1::ContainerStats& container = *pod.mutable_linux()->add_containers();
    container.mutable_attributes()->set_id("c1");
    container.mutable_attributes()->mutable_metadata()->set_name("main");
    set_cpu(*container.mutable_cpu(), now_ns, used_ns / 2);
    return all;
}

TEST(Top, CpuIsOfTheTimeInBetween) {
    const CpuTimes before = cpu_times(stats(10 * kSecond, 4 * kSecond));
    EXPECT_EQ(top_table(stats(12 * kSecond, 7 * kSecond), before),
              "POD       CONTAINER  CPU      MEMORY   PROCESSES\n"
              "shop/web             150.0 %  1.5 MiB  7\n"
              "          main       75.0 %   0.0 MiB\n");
}

TEST(Top, WhatWasNotThereBeforeHasNoCpuYet) {
    v1::ListPodSandboxStatsResponse now = stats(2 * kSecond, kSecond);
    set_cpu(*add_pod(now, "another").mutable_linux()->mutable_cpu(), 2 * kSecond, kSecond);
    // What has used less than before is another one.
    const CpuTimes before = cpu_times(stats(kSecond, 8 * kSecond));
    EXPECT_EQ(top_table(now, before),
              "POD           CONTAINER  CPU  MEMORY   PROCESSES\n"
              "shop/another             -    0.0 MiB  0\n"
              "shop/web                 -    1.5 MiB  7\n"
              "              main       -    0.0 MiB\n");
}

}  // namespace
}  // namespace pepita::cri::cli
