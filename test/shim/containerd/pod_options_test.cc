#include "shim/containerd/pod_options.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"

namespace pepita::shim::containerd {
namespace {

using runtime::IsolationChoice;
using runtime::PodSpec;

TEST(PodOptions, TheNodesFileSetsEachMember) {
    PodSpec spec;
    const auto applied = apply_config(
        R"({"data": "/d", "vmm": "/v", "qemu": "/q", "guest-console": "/c", "isolation": "tcg",
            "memory-mib": 128, "vcpus": "2", "boot-deadline-s": 5})",
        spec);
    ASSERT_TRUE(applied.has_value()) << applied.error().message();
    PodSpec expected;
    expected.data = "/d";
    expected.vmm = "/v";
    expected.qemu = "/q";
    expected.guest_console = "/c";
    expected.isolation = IsolationChoice::Tcg;
    expected.memory_mib = 128;
    expected.vcpus = 2;
    expected.boot_deadline = std::chrono::seconds(5);
    EXPECT_EQ(spec, expected);
}

std::string refusal(std::string_view json) {
    PodSpec spec;
    const auto applied = apply_config(json, spec);
    return applied ? "" : applied.error().message();
}

TEST(PodOptions, AFileThatIsWrongIsRefusedByTheMembersName) {
    EXPECT_EQ(refusal(R"({"nosuch": 1})"), "'nosuch': no such option");
    EXPECT_EQ(refusal(R"({"data": "d"})"), "'data': must be an absolute path");
    EXPECT_EQ(refusal(R"({"isolation": "none"})"), "'isolation': must be kvm, tcg or auto");
    EXPECT_EQ(refusal(R"({"vcpus": 0})"), "'vcpus': must be a whole number from 1 to 8");
    EXPECT_TRUE(refusal(R"({"vcpus": [1]})").contains("must be a text or a whole number"));
    EXPECT_NE(refusal("[]"), "");
    EXPECT_NE(refusal("{"), "");
}

TEST(PodOptions, APodsLimitsMakeItsSize) {
    PodSpec spec;
    ASSERT_TRUE(apply_annotations({{"io.kubernetes.cri.sandbox-memory", "104857601"},
                                   {"io.kubernetes.cri.sandbox-cpu-quota", "150000"},
                                   {"io.kubernetes.cri.sandbox-cpu-period", "100000"}},
                                  spec)
                    .has_value());
    EXPECT_EQ(spec.memory_mib, 101U);
    EXPECT_TRUE(spec.is_sized);
    EXPECT_EQ(spec.vcpus, 2U);
    PodSpec none;
    ASSERT_TRUE(apply_annotations({{"io.kubernetes.cri.sandbox-memory", "0"},
                                   {"io.kubernetes.cri.sandbox-cpu-quota", "-1"},
                                   {"io.kubernetes.cri.sandbox-cpu-period", "100000"}},
                                  none)
                    .has_value());
    EXPECT_EQ(none, PodSpec());
}

TEST(PodOptions, AnnotationsSetWhatAPodMayChoose) {
    PodSpec spec;
    ASSERT_TRUE(apply_annotations({{"io.kubernetes.cri.sandbox-memory", "104857600"},
                                   {"io.pepita.memory-mib", "300"},
                                   {"io.pepita.memory-max-mib", "900"},
                                   {"io.pepita.vcpus-max", "6"},
                                   {"io.other", "x"}},
                                  spec)
                    .has_value());
    EXPECT_EQ(spec.memory_mib, 300U);
    EXPECT_EQ(spec.memory_max_mib, 900U);
    EXPECT_EQ(spec.vcpus_max, 6U);
    const auto refused = apply_annotations({{"io.pepita.qemu", "/bin/sh"}}, spec);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message(),
              "annotation 'io.pepita.qemu': no option that a pod may set");
}

}  // namespace
}  // namespace pepita::shim::containerd
