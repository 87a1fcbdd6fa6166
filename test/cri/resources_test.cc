#include "cri/resources.h"

#include <gtest/gtest.h>

#include "cri/api/cri.h"
#include "runtime/bundle.h"

namespace pepita::cri {
namespace {

TEST(OciResources, UpdateHasWhatIsNamed) {
    v1::LinuxContainerResources resources;
    resources.set_cpu_quota(20'000);
    resources.set_memory_limit_in_bytes(1 << 20);
    resources.set_oom_score_adj(5);
    const std::string json = oci_resources_json(resources);
    EXPECT_EQ(json, R"({"memory":{"limit":1048576},"cpu":{"quota":20000}})");
    const auto read = runtime::parse_resources(json);
    ASSERT_TRUE(read.has_value()) << read.error().message();
    EXPECT_EQ(read->memory_limit_bytes, 1 << 20);
    EXPECT_EQ(read->cpu_quota_us, 20'000);
}

TEST(OciResources, NothingNamedChangesNothing) {
    EXPECT_EQ(oci_resources_json(v1::LinuxContainerResources()), "{}");
}

TEST(MicrovmCgroup, IsInThatOfThePodWhereItsMachineIsCounted) {
    v1::LinuxPodSandboxConfig pod;
    EXPECT_EQ(microvm_cgroup(pod, "id"), "");
    pod.set_cgroup_parent("/kubepods/burstable/pod1");
    EXPECT_EQ(microvm_cgroup(pod, "id"), "/kubepods/burstable/pod1/pepita-id");
    pod.mutable_resources()->set_memory_limit_in_bytes(1 << 26);
    EXPECT_EQ(microvm_cgroup(pod, "id"), "/kubepods/burstable/pepita-id");
    pod.mutable_overhead()->set_memory_limit_in_bytes(1 << 27);
    EXPECT_EQ(microvm_cgroup(pod, "id"), "/kubepods/burstable/pod1/pepita-id");
    pod.clear_overhead();
    pod.set_cgroup_parent("/pod1");
    EXPECT_EQ(microvm_cgroup(pod, "id"), "/pepita-id");
    pod.set_cgroup_parent("pod1");
    EXPECT_EQ(microvm_cgroup(pod, "id"), "/pepita-id");
}

}  // namespace
}  // namespace pepita::cri
