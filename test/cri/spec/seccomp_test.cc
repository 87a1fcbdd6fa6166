#include "cri/spec/seccomp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <string>

#include "cri/api/cri.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "runtime/rpc/json.h"
#include "test/cri/spec/spec_fixture.h"

namespace pepita {
namespace {

using cri::profile_json;
using cri::v1::SecurityProfile;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kDefault = PEPITA_SOURCE_ROOT "/deploy/seccomp-default.json";

std::string profile_of(const char* text, const std::set<std::string>& capabilities = {}) {
    const auto profile = profile_json(text, capabilities);
    return profile ? runtime::oci::dump(*profile) : profile.error().message();
}

TEST(SeccompProfile, OfOciIsLeftAsItIs) {
    constexpr const char* text =
        R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"flags":["SECCOMP_FILTER_FLAG_LOG"],)"
        R"("architectures":["SCMP_ARCH_X86_64"],)"
        R"("syscalls":[{"names":["chmod"],"action":"SCMP_ACT_ALLOW",)"
        R"("args":[{"index":1,"op":"SCMP_CMP_EQ","value":7}]}]})";
    EXPECT_EQ(profile_of(text), text);
}

TEST(SeccompProfile, RulesDependOnCapabilities) {
    constexpr const char* text = R"({"defaultAction":"A","syscalls":[
        {"names":["mount"],"action":"B","includes":{"caps":["CAP_SYS_ADMIN"]}},
        {"names":["clone"],"action":"B","excludes":{"caps":["CAP_SYS_ADMIN"]}}]})";
    EXPECT_THAT(profile_of(text), HasSubstr(R"([{"names":["clone"],"action":"B"}])"));
    EXPECT_THAT(profile_of(text, {"CAP_SYS_ADMIN"}),
                HasSubstr(R"([{"names":["mount"],"action":"B"}])"));
}

TEST(SeccompProfile, RulesDependOnArchitectureAndKernel) {
    EXPECT_EQ(profile_of(R"({"defaultAction":"A",
        "archMap":[{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]},
                   {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
        "syscalls":[{"names":["a"],"action":"B","includes":{"arches":["amd64","x32"]}},
                    {"names":["b"],"action":"B","includes":{"arches":["s390"]}},
                    {"names":["c"],"action":"B","excludes":{"arches":["amd64"]}},
                    {"names":["d"],"action":"B","includes":{"minKernel":"4.8"}},
                    {"names":["e"],"action":"B","includes":{"minKernel":"9.0"}},
                    {"name":"f","action":"B","comment":"old"}]})"),
              R"({"defaultAction":"A","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],)"
              R"("syscalls":[{"names":["a"],"action":"B"},{"names":["d"],"action":"B"},)"
              R"({"names":["f"],"action":"B"}]})");
}

TEST(SeccompProfile, WhatIsWrongIsNamed) {
    EXPECT_THAT(profile_of(R"({"syscalls":[{"names":"chmod"}]})"), HasSubstr("syscalls[0].names"));
    EXPECT_THAT(profile_of(R"({"syscalls":[{"includes":{"minKernel":"new"}}]})"),
                HasSubstr("syscalls[0].includes.minKernel: 'new' is no version of a kernel"));
    EXPECT_FALSE(profile_json("[]", {}).has_value());
}

class SeccompOfContainer : public test::ContainerSpecTest {
protected:
    SeccompOfContainer() { place.default_seccomp = kDefault; }
    ~SeccompOfContainer() override {
        if (!path_.empty()) {
            (void)::unlink(path_.c_str());
        }
    }

    std::size_t filter_size() const {
        const auto& seccomp = bundle().container.seccomp;
        return seccomp ? seccomp->program.size() : 0;
    }

    /// A profile of the node with `text` in it.
    void use_local(const std::string& text) {
        path_ = "/tmp/pepita-seccomp-XXXXXX";
        const Fd file(::mkstemp(path_.data()));
        ASSERT_TRUE(write_all(file.ref(), text, path_).has_value());
        security().mutable_seccomp()->set_profile_type(SecurityProfile::Localhost);
        security().mutable_seccomp()->set_localhost_ref(path_);
    }

    std::string path_;
};

TEST_F(SeccompOfContainer, IsNoneWhereNoneIsAskedFor) {
    EXPECT_EQ(filter_size(), 0U);
    security().mutable_seccomp()->set_profile_type(SecurityProfile::Unconfined);
    EXPECT_EQ(filter_size(), 0U);
}

TEST_F(SeccompOfContainer, DefaultIsCompiledAndGrowsWithCapabilities) {
    security().mutable_seccomp();  // RuntimeDefault
    const std::size_t usual = filter_size();
    EXPECT_GT(usual, 0U);
    security().mutable_capabilities()->add_add_capabilities("ALL");
    EXPECT_GT(filter_size(), 0U);
    EXPECT_NE(filter_size(), usual);
}

TEST_F(SeccompOfContainer, PrivilegedOneHasNone) {
    security().mutable_seccomp();
    security().set_privileged(true);
    EXPECT_EQ(filter_size(), 0U);
}

TEST_F(SeccompOfContainer, OfTheNodeIsRead) {
    use_local(R"({"defaultAction":"SCMP_ACT_ALLOW",
                  "syscalls":[{"names":["chmod"],"action":"SCMP_ACT_ERRNO"}]})");
    EXPECT_GT(filter_size(), 0U);
}

TEST_F(SeccompOfContainer, FilesThatAreNoProfileAreNamed) {
    use_local("{");
    EXPECT_THAT(refusal().message,
                StartsWith("linux.security_context.seccomp.localhost_ref: '" + path_ + "': "));
    security().mutable_seccomp()->set_localhost_ref("/no/such.json");
    EXPECT_EQ(refusal(), (Refusal{.code = Code::NotFound,
                                  .message = "linux.security_context.seccomp.localhost_ref: open "
                                             "'/no/such.json': No such file or directory "
                                             "(ENOENT)"}));
    security().mutable_seccomp()->set_localhost_ref("/dev/zero");
    EXPECT_EQ(refusal().message,
              "linux.security_context.seccomp.localhost_ref: '/dev/zero' is no plain file");
    security().mutable_seccomp()->set_localhost_ref("such.json");
    EXPECT_EQ(refusal().message,
              "linux.security_context.seccomp.localhost_ref: 'such.json' is not an absolute path");
}

}  // namespace
}  // namespace pepita
