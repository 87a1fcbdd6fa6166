#include "runtime/container/users.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "test/support/container_test.h"

namespace pepita::runtime::container {
namespace {

using test::ContainerTest;
using test::ImageEntry;
using test::PipeEnds;
using test::reap_status;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# app:x:1:1:::\n"
    "app:x:1000:1001::/home/app:/bin/sh\n"
    "app:x:7:7:::\n"
    "short:x:8\n"
    "many:x:4294967295:0:::\n";
constexpr const char* kGroup =
    "root:x:0:root\n"
    "app:x:1001:\n"
    "web:x:33:other,app\n"
    "adm:x:4:app,root\n"
    "near:x:5:apple\n"
    "bad:x:4294967295:app\n";

Result<UserIds> find(const std::string& user, const std::string& group = "",
                     bool adds_groups = false) {
    return find_user({.user = user, .group = group, .adds_groups = adds_groups}, kPasswd, kGroup);
}

UserIds found(const std::string& user, const std::string& group = "", bool adds_groups = false) {
    auto ids = find(user, group, adds_groups);
    EXPECT_TRUE(ids.has_value()) << ids.error().message();
    return ids ? *ids : UserIds();
}

TEST(FindUser, NameIsTheFirstEntrysNumbers) {
    const UserIds ids = found("app");
    EXPECT_EQ(ids.uid, 1000U);
    EXPECT_EQ(ids.gid, 1001U);
    EXPECT_THAT(ids.groups, IsEmpty());
}

TEST(FindUser, NumberHasTheGroupOfItsEntryOrGroupZero) {
    EXPECT_EQ(found("1000").gid, 1001U);
    EXPECT_EQ(found("1234"), (UserIds{.uid = 1234, .gid = 0, .groups = {}}));
}

TEST(FindUser, GroupIsANameOrANumber) {
    EXPECT_EQ(found("app", "web").gid, 33U);
    EXPECT_EQ(found("app", "77").gid, 77U);
}

TEST(FindUser, GroupsAreThoseThatNameTheUser) {
    EXPECT_THAT(found("app", "", true).groups, ElementsAre(4, 33));
    EXPECT_THAT(found("1000", "77", true).groups, ElementsAre(4, 33));
    EXPECT_THAT(found("1234", "", true).groups, IsEmpty());
}

TEST(FindUser, NamesThatAreNotThereAreNamed) {
    EXPECT_EQ(find("nobody").error().code(), Code::NotFound);
    EXPECT_EQ(find("nobody").error().message(),
              "user 'nobody' is not in the container's /etc/passwd");
    EXPECT_EQ(find("app", "none").error().message(),
              "group 'none' is not in the container's /etc/group");
    EXPECT_FALSE(find("# app").value_or(UserIds{}).uid == 1000U);
    EXPECT_FALSE(find("short").has_value());
    EXPECT_FALSE(find("many").has_value());
    EXPECT_FALSE(find("app", "bad").has_value());
}

TEST(FindUser, NumbersThatAreNoIdsAreRefused) {
    EXPECT_EQ(find("4294967294").value_or(UserIds{}).uid, 4294967294U);
    EXPECT_EQ(find("4294967295").error().message(), "user '4294967295' is beyond 4294967294");
    EXPECT_EQ(find("0", "99999999999999999999").error().message(),
              "group '99999999999999999999' is beyond 4294967294");
}

class ContainersUser : public ContainerTest {
protected:
    void use_files() {
        use_image({{.kind = ImageEntry::Kind::File,
                    .path = "etc/passwd",
                    .content = kPasswd,
                    .mode = 0644},
                   {.kind = ImageEntry::Kind::File,
                    .path = "etc/group",
                    .content = kGroup,
                    .mode = 0644}});
    }

    static ContainerSpec spec_for(const UserLookup& user, const std::string& script) {
        ContainerSpec spec = spec_of(script);
        spec.process.user = user;
        spec.process.additional_gids = {1234};
        return spec;
    }
};

TEST_F(ContainersUser, IsFoundInTheFilesOfItsImage) {
    use_files();
    EXPECT_EQ(output_of(spec_for({.user = "app", .group = "", .adds_groups = true},
                                 "id -u; id -g; id -G; echo $HOME")),
              "1000\n1001\n1001 4 33 1234\n/home/app\n");
    EXPECT_EQ(output_of(spec_for({.user = "1000", .group = "web", .adds_groups = false},
                                 "id -u; id -g; id -G")),
              "1000\n33\n33 1234\n");
}

TEST_F(ContainersUser, IsToldInNumbers) {
    use_files();
    auto container = create(spec_for({.user = "app", .group = "", .adds_groups = true}, "true"));
    ASSERT_TRUE(container.has_value()) << container.error().message();
    EXPECT_EQ((*container)->process().user(),
              (UserIds{.uid = 1000, .gid = 1001, .groups = {4, 33, 1001, 1234}}));
    EXPECT_TRUE((*container)->remove().has_value());
    (void)reap_status((*container)->process().pid());
}

TEST_F(ContainersUser, MayWriteToItsStreamsByTheirNames) {
    use_files();
    EXPECT_EQ(output_of(spec_for({.user = "app"}, "echo out >/dev/stdout")), "out\n");
}

TEST_F(ContainersUser, ThatIsNotThereIsNamed) {
    use_files();
    EXPECT_EQ(refusal_of(spec_for({.user = "nobody"}, "true")),
              "user 'nobody' is not in the container's /etc/passwd");
}

TEST_F(ContainersUser, WithoutFilesIsANumber) {
    use_bare_image();
    ContainerSpec spec = spec_for({.user = "1000"}, "");
    spec.process.args = {"/busybox", "id", "-G"};
    EXPECT_EQ(output_of(spec), "0 1234\n");
    spec.process.user->user = "root";
    EXPECT_EQ(refusal_of(spec), "user 'root' is not in the container's /etc/passwd");
}

TEST_F(ContainersUser, FilesThatAreLinksLeadNowhereElse) {
    use_image({{.kind = ImageEntry::Kind::Link,
                .path = "etc/group",
                .content = "../../../../../etc/group"},
               {.kind = ImageEntry::Kind::Link, .path = "etc/shadow", .content = "/proc/1/root"}});
    // To itself, in the container.
    EXPECT_EQ(refusal_of(spec_for({.user = "0", .group = "daemon"}, "true")),
              "open '/etc/group': Too many levels of symbolic links (ELOOP)");
}

TEST_F(ContainersUser, OfOneMoreProcessIsLookedUpToo) {
    use_files();
    PipeEnds pipe = test::make_pipe();
    auto container = create(spec_for({.user = "app"}, "echo up; exec sleep 1000"),
                            {.in = Fd(), .out = std::move(pipe.in), .err = Fd()});
    ASSERT_TRUE(container.has_value()) << container.error().message();
    ASSERT_EQ((*container)->process().start().value_or(99), 0U);
    std::string up(3, '\0');
    ASSERT_EQ(::read(pipe.out.ref().number(), up.data(), up.size()), 3);
    ProcessSpec process = process_of("id -u; id -G");
    process.user = UserLookup{.user = "app", .group = "", .adds_groups = true};
    const auto ran = exec(**container, process);
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->out, "1000\n1001 4 33\n");
    process.user->user = "nobody";
    EXPECT_EQ(exec(**container, process).error().message(),
              "user 'nobody' is not in the container's /etc/passwd");
    EXPECT_TRUE((*container)->remove().has_value());
    EXPECT_EQ(reap_status((*container)->process().pid()), 128U + SIGKILL);
}

}  // namespace
}  // namespace pepita::runtime::container
