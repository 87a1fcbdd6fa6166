#include "cri/spec/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "test/cri/spec/spec_fixture.h"

namespace pepita {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

class ProcessOfContainer : public test::ContainerSpecTest {
protected:
    runtime::ProcessSpec process() const { return bundle().container.process; }

    void add_env(const std::string& key, const std::string& value) {
        auto& variable = *container.add_envs();
        variable.set_key(key);
        variable.set_value(value);
    }
};

TEST_F(ProcessOfContainer, ImageSaysWhatIsRun) {
    EXPECT_THAT(process().args, ElementsAre("nginx", "-g", "daemon off;"));
    image.entrypoint = {"/entry"};
    EXPECT_THAT(process().args, ElementsAre("/entry", "nginx", "-g", "daemon off;"));
}

TEST_F(ProcessOfContainer, ArgsReplaceTheImagesCmdAlone) {
    image.entrypoint = {"/entry"};
    container.add_args("-v");
    EXPECT_THAT(process().args, ElementsAre("/entry", "-v"));
}

TEST_F(ProcessOfContainer, CommandReplacesEntrypointAndCmd) {
    image.entrypoint = {"/entry"};
    container.add_command("/bin/sh");
    EXPECT_THAT(process().args, ElementsAre("/bin/sh"));
    container.add_args("-c");
    EXPECT_THAT(process().args, ElementsAre("/bin/sh", "-c"));
}

TEST_F(ProcessOfContainer, EntrypointOfOneEmptyWordIsNone) {
    image.entrypoint = {""};
    EXPECT_THAT(process().args, ElementsAre("nginx", "-g", "daemon off;"));
}

TEST_F(ProcessOfContainer, NothingToRunNamesTheImage) {
    image.cmd = {};
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "command: is empty, and image 'nginx:1.27' has "
                                             "neither entrypoint nor cmd"}));
}

TEST_F(ProcessOfContainer, EnvironmentIsTheUsualTheImagesThenItsOwn) {
    image.env = {"PATH=/image", "A=image", "B=image", "malformed"};
    add_env("B", "pod");
    add_env("C", "x=y");
    EXPECT_THAT(process().env,
                ElementsAre("PATH=/image", "HOSTNAME=web-0", "A=image", "B=pod", "C=x=y"));
}

TEST_F(ProcessOfContainer, TerminalHasItsName) {
    container.set_tty(true);
    EXPECT_EQ(process().terminal, runtime::Terminal::Yes);
    EXPECT_THAT(process().env, Contains("TERM=xterm"));
    container.set_tty(false);
    EXPECT_EQ(process().terminal, runtime::Terminal::No);
    EXPECT_THAT(process().env, Not(Contains("TERM=xterm")));
}

TEST_F(ProcessOfContainer, VariablesThatCannotBeAreRefused) {
    add_env("A=B", "");
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "envs[0].key: 'A=B' names no variable"}));
    container.clear_envs();
    add_env("A", "\xff");
    EXPECT_EQ(refusal(),
              (Refusal{.code = Code::InvalidArgument, .message = "envs[0].value: must be UTF-8"}));
}

TEST_F(ProcessOfContainer, WorkingDirectoryIsItsOwnOrTheImages) {
    EXPECT_EQ(process().cwd, "/");
    image.working_dir = "/srv";
    EXPECT_EQ(process().cwd, "/srv");
    container.set_working_dir("/work");
    EXPECT_EQ(process().cwd, "/work");
    container.set_working_dir("work");
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "working_dir: 'work' is not an absolute path"}));
}

TEST_F(ProcessOfContainer, PrivilegesAreNewOnlyWhereTheyMayBe) {
    security();
    EXPECT_FALSE(process().no_new_privileges);
    security().set_no_new_privs(true);
    EXPECT_TRUE(process().no_new_privileges);
}

TEST_F(ProcessOfContainer, LabelsOfModulesThatNoGuestHasAreRefused) {
    security().mutable_selinux_options()->set_level("s0:c1,c2");
    EXPECT_EQ(refusal(), (Refusal{.code = Code::Unsupported,
                                  .message = "linux.security_context.selinux_options: a microVM's "
                                             "guest has no SELinux"}));
    security().clear_selinux_options();
    security().mutable_apparmor()->set_profile_type(cri::v1::SecurityProfile::Localhost);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::Unsupported,
                                  .message = "linux.security_context.apparmor: a microVM's guest "
                                             "has no AppArmor"}));
    security().mutable_apparmor()->set_profile_type(cri::v1::SecurityProfile::Unconfined);
    EXPECT_EQ(process().apparmor_profile, "");
}

}  // namespace
}  // namespace pepita
