#include "runtime/pod_spec.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"

namespace pepita::runtime {
namespace {

// No member has its default.
PodSpec full_spec() {
    return {.name = "web-1",
            .root = "/run/other",
            .data = "/srv/pepita",
            .vmm = "/opt/pepita-vmm",
            .qemu = "/opt/qemu",
            .isolation = IsolationChoice::Tcg,
            .memory_mib = 96,
            .vcpus = 3,
            .is_sized = true,
            .memory_max_mib = 97,
            .vcpus_max = 5,
            .scratch_mib = 17,
            .boot_deadline = std::chrono::seconds(5),
            .guest_console = "/tmp/console",
            .log_format = LogFormat::Json,
            .end = PodEnd::WhenStopped,
            .packs_roots = true,
            .network_namespace = "/run/netns/web",
            .cgroup = "/kubepods/pod1/pepita"};
}

std::string refusal_of(void (*change)(PodSpec&)) {
    PodSpec spec = full_spec();
    change(spec);
    const auto checked = check(spec);
    return checked ? "" : checked.error().message();
}

TEST(PodSpec, EveryMemberArrives) {
    const auto decoded = decode_pod_spec(encode(full_spec()));
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(*decoded, full_spec());
    EXPECT_EQ(decode_pod_spec(encode(PodSpec())).value(), PodSpec());
}

TEST(PodSpec, RefusesBytesThatAreNoSpec) {
    EXPECT_EQ(decode_pod_spec("\xff\xff").error().code(), Code::InvalidArgument);
    // Field 6 (isolation) with a value of a later version.
    const auto later = decode_pod_spec(std::string("\x30\x09"));
    EXPECT_EQ(later.error().message(), "pod: a value that this version does not know");
}

TEST(PodSpec, R5_LimitsHoldAtTheLimitAndOneBeyond) {
    EXPECT_EQ(refusal_of([](PodSpec& /*as it is*/) {}), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.memory_mib = 64; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.memory_mib = 63; }),
              "memory 63: must be a whole number from 64 to 65536");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.memory_mib = 65'536; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.memory_mib = 65'537; }),
              "memory 65537: must be a whole number from 64 to 65536");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.vcpus = 8; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.vcpus = 0; }),
              "cpus 0: must be a whole number from 1 to 8");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.vcpus = 9; }),
              "cpus 9: must be a whole number from 1 to 8");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.memory_max_mib = 0; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.vcpus_max = 0; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.memory_max_mib = 63; }),
              "memory max 63: must be a whole number from 64 to 65536");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.vcpus_max = 9; }),
              "cpus max 9: must be a whole number from 1 to 8");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.scratch_mib = 0; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.scratch_mib = 16; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.scratch_mib = 15; }),
              "scratch 15: must be a whole number from 16 to 65536");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.scratch_mib = 65'537; }),
              "scratch 65537: must be a whole number from 16 to 65536");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.boot_deadline = std::chrono::seconds(3601); }),
              "boot deadline 3601: must be a whole number from 1 to 3600");
    EXPECT_NE(refusal_of([](PodSpec& spec) { spec.boot_deadline = std::chrono::seconds(-1); }), "");
}

TEST(PodSpec, R5_NamesWhatIsNoName) {
    EXPECT_NE(refusal_of([](PodSpec& spec) { spec.name = "../x"; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.root = "state"; }),
              "root 'state': must be an absolute path");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.guest_console = "console"; }),
              "guest console 'console': must be an absolute path");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.vmm = ""; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.network_namespace = "web"; }),
              "network namespace 'web': must be an absolute path");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.network_namespace = ""; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.cgroup = "kubepods/../.."; }),
              "cgroup 'kubepods/../..': must not contain '..'");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.cgroup = "a.slice:pepita:web"; }), "");
    EXPECT_EQ(refusal_of([](PodSpec& spec) { spec.cgroup = ""; }), "");
}

TEST(PodSpec, R28_PathsNeedNotBeUtf8) {
    testing::internal::CaptureStderr();
    PodSpec spec;
    spec.name = "a";
    spec.root = "/srv/b\xff";
    const auto decoded = decode_pod_spec(encode(spec));
    ASSERT_TRUE(decoded.has_value()) << decoded.error().message();
    EXPECT_EQ(*decoded, spec);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace pepita::runtime
