#include "runtime/pod_role.h"

#include <gtest/gtest.h>

namespace pepita::runtime {
namespace {

using Kind = PodRole::Kind;

TEST(PodRole, ABundleWithoutAnnotationsIsAlone) {
    EXPECT_EQ(pod_role({}), PodRole());
    EXPECT_EQ(pod_role({{"io.kubernetes.cri.sandbox-id", "pod"}}), PodRole());
    EXPECT_EQ(pod_role({{"io.kubernetes.cri.container-type", "other"}}), PodRole());
}

TEST(PodRole, ContainerdsAnnotationsAreKnown) {
    EXPECT_EQ(pod_role({{"io.kubernetes.cri.container-type", "sandbox"},
                        {"io.kubernetes.cri.sandbox-id", "pod"}}),
              (PodRole{.kind = Kind::Pod, .pod = ""}));
    EXPECT_EQ(pod_role({{"io.kubernetes.cri.container-type", "container"},
                        {"io.kubernetes.cri.sandbox-id", "pod"}}),
              (PodRole{.kind = Kind::Member, .pod = "pod"}));
}

TEST(PodRole, CriosAnnotationsAreKnown) {
    EXPECT_EQ(pod_role({{"io.kubernetes.cri-o.ContainerType", "sandbox"}}),
              (PodRole{.kind = Kind::Pod, .pod = ""}));
    EXPECT_EQ(pod_role({{"io.kubernetes.cri-o.ContainerType", "container"},
                        {"io.kubernetes.cri-o.SandboxID", "pod"}}),
              (PodRole{.kind = Kind::Member, .pod = "pod"}));
}

TEST(PodRole, AMemberOfNoPodIsAlone) {
    EXPECT_EQ(pod_role({{"io.kubernetes.cri.container-type", "container"}}), PodRole());
    EXPECT_EQ(pod_role({{"io.kubernetes.cri.container-type", "container"},
                        {"io.kubernetes.cri.sandbox-id", ""}}),
              PodRole());
}

}  // namespace
}  // namespace pepita::runtime
