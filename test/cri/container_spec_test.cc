#include "cri/container_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "kernel-abi/sys/error.h"
#include "runtime/bundle.h"
#include "runtime/pod_role.h"
#include "test/cri/spec/spec_fixture.h"

namespace pepita {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

class ContainerSpec : public test::ContainerSpecTest {};

TEST_F(ContainerSpec, PlainOneIsAMemberOfItsPod) {
    const runtime::Bundle read = bundle();
    EXPECT_EQ(read.root_path, "/bundle/rootfs");
    EXPECT_FALSE(read.container.root_read_only);
    EXPECT_EQ(read.container.hostname, "web-0");
    EXPECT_EQ(read.network_namespace, "/run/netns/p1");
    const runtime::PodRole role = runtime::pod_role(read.annotations);
    EXPECT_EQ(role.kind, runtime::PodRole::Kind::Member);
    EXPECT_EQ(role.pod, "p1");
}

TEST_F(ContainerSpec, AnnotationsOfPodAndContainerAreMergedAndNotTrusted) {
    (*pod.mutable_annotations())["team"] = "a";
    (*pod.mutable_annotations())["tier"] = "front";
    (*pod.mutable_annotations())["io.kubernetes.cri.container-type"] = "sandbox";
    (*pod.mutable_annotations())["io.kubernetes.cri-o.ContainerType"] = "sandbox";
    (*container.mutable_annotations())["team"] = "b";
    const runtime::Bundle read = bundle();
    EXPECT_THAT(read.annotations, Contains(Pair("team", "b")));
    EXPECT_THAT(read.annotations, Contains(Pair("tier", "front")));
    EXPECT_THAT(read.annotations, Contains(Pair("io.kubernetes.cri.container-type", "container")));
    EXPECT_THAT(read.annotations, Contains(Pair("io.kubernetes.cri.container-name", "nginx")));
    EXPECT_THAT(read.annotations, Contains(Pair("io.kubernetes.cri.image-name", "nginx:1.27")));
    EXPECT_THAT(read.annotations, Contains(Pair("io.kubernetes.cri.sandbox-namespace", "shop")));
    EXPECT_FALSE(read.annotations.contains("io.kubernetes.cri-o.ContainerType"));
}

TEST_F(ContainerSpec, ResourcesAreLimitsOfTheGuestAndTheHostsCpus) {
    auto& resources = *container.mutable_linux()->mutable_resources();
    resources.set_cpu_shares(512);
    resources.set_cpu_quota(50'000);
    resources.set_cpu_period(100'000);
    resources.set_memory_limit_in_bytes(64 << 20);
    resources.set_memory_swap_limit_in_bytes(96 << 20);
    resources.set_cpuset_cpus("0-1");
    resources.set_oom_score_adj(-998);
    (*resources.mutable_unified())["memory.high"] = "1000000";
    auto& hugepages = *resources.add_hugepage_limits();
    hugepages.set_page_size("2MB");
    hugepages.set_limit(4 << 20);
    place.cgroups_path = "/kubepods/pod1/c1";
    const runtime::Bundle read = bundle();
    const runtime::ResourcesSpec& limits = read.container.resources;
    EXPECT_EQ(limits.cpu_shares, 512U);
    EXPECT_EQ(limits.cpu_quota_us, 50'000);
    EXPECT_EQ(limits.cpu_period_us, 100'000U);
    EXPECT_EQ(limits.memory_limit_bytes, 64 << 20);
    EXPECT_EQ(limits.memory_swap_bytes, 96 << 20);
    EXPECT_THAT(limits.unified,
                ElementsAre(runtime::UnifiedLimit{.file = "memory.high", .value = "1000000"}));
    EXPECT_THAT(limits.hugepage_limits,
                ElementsAre(runtime::HugepageLimit{.page_size = "2MB", .limit_bytes = 4 << 20}));
    EXPECT_EQ(read.container.process.oom_score_adj, -998);
    EXPECT_EQ(read.cpuset_cpus, "0-1");
    EXPECT_EQ(read.cgroups_path, "/kubepods/pod1/c1");
}

TEST_F(ContainerSpec, LimitsOfZeroAreNone) {
    container.mutable_linux()->mutable_resources();
    const runtime::ResourcesSpec limits = bundle().container.resources;
    EXPECT_EQ(limits.memory_limit_bytes, std::nullopt);
    EXPECT_EQ(limits.cpu_shares, std::nullopt);
    EXPECT_EQ(limits.cpu_quota_us, std::nullopt);
}

TEST_F(ContainerSpec, DevicesAreDeniedButToAPrivilegedOne) {
    EXPECT_THAT(bundle().container.resources.devices,
                ElementsAre(runtime::DeviceRule{
                    .allow = false, .type = 'a', .major = {}, .minor = {}, .access = "rwm"}));
    security().set_privileged(true);
    EXPECT_THAT(bundle().container.resources.devices,
                ElementsAre(runtime::DeviceRule{
                    .allow = true, .type = 'a', .major = {}, .minor = {}, .access = "rwm"}));
}

TEST_F(ContainerSpec, PathsAreMaskedAsAsked) {
    security().add_masked_paths("/bin/ls");
    security().add_readonly_paths("/tmp");
    EXPECT_THAT(bundle().container.masked_paths, ElementsAre("/bin/ls"));
    EXPECT_THAT(bundle().container.read_only_paths, ElementsAre("/tmp"));
    security().set_privileged(true);
    EXPECT_THAT(bundle().container.masked_paths, IsEmpty());
    EXPECT_THAT(bundle().container.read_only_paths, IsEmpty());
}

TEST_F(ContainerSpec, WithoutASecurityContextTheUsualPathsAreMasked) {
    EXPECT_THAT(bundle().container.masked_paths, Contains("/proc/kcore"));
    EXPECT_THAT(bundle().container.read_only_paths, Contains("/proc/sys"));
    security();  // that of a pod with procMount: Unmasked has empty lists
    EXPECT_THAT(bundle().container.masked_paths, IsEmpty());
}

TEST_F(ContainerSpec, RootIsReadOnlyAsAsked) {
    security().set_readonly_rootfs(true);
    EXPECT_TRUE(bundle().container.root_read_only);
}

TEST_F(ContainerSpec, DevicesOfTheHostAreRefusedByName) {
    auto& device = *container.add_devices();
    device.set_host_path("/dev/null");
    device.set_container_path("/dev/null");
    EXPECT_THAT(bundle().container.devices, IsEmpty());  // each container has it
    device.set_host_path("/dev/sda");
    EXPECT_EQ(refusal(),
              (Refusal{.code = Code::Unsupported,
                       .message = "devices[0].host_path: '/dev/sda' is the host's: a microVM has "
                                  "its own"}));
}

TEST_F(ContainerSpec, DevicesOfCdiAreRefusedByName) {
    container.add_cdi_devices()->set_name("nvidia.com/gpu=0");
    EXPECT_EQ(refusal(), (Refusal{.code = Code::Unsupported,
                                  .message = "CDI_devices[0]: 'nvidia.com/gpu=0' is a device of "
                                             "the host: a microVM has its own"}));
}

}  // namespace
}  // namespace pepita
