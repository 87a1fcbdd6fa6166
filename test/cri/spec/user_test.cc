#include "cri/spec/user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "cri/api/cri.h"
#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "test/cri/spec/spec_fixture.h"

namespace pepita {
namespace {

using runtime::UserLookup;
using testing::ElementsAre;

class UserOfContainer : public test::ContainerSpecTest {
protected:
    runtime::ProcessSpec process() const { return bundle().container.process; }
};

TEST_F(UserOfContainer, IsRootWhereNobodySaysMore) {
    EXPECT_EQ(process().uid, 0U);
    EXPECT_EQ(process().gid, 0U);
    EXPECT_EQ(process().user, (UserLookup{.user = "0", .group = "", .adds_groups = true}));
}

TEST_F(UserOfContainer, IsTheImages) {
    image.user = "1000:1001";
    EXPECT_EQ(process().uid, 1000U);
    EXPECT_EQ(process().gid, 1001U);
    EXPECT_EQ(process().user, (UserLookup{.user = "1000", .group = "1001", .adds_groups = true}));
    image.user = "app:web";
    EXPECT_EQ(process().user, (UserLookup{.user = "app", .group = "web", .adds_groups = true}));
    image.user = "app";
    EXPECT_EQ(process().user, (UserLookup{.user = "app", .group = "", .adds_groups = true}));
}

TEST_F(UserOfContainer, AskedForIsNotTheImages) {
    image.user = "app:web";
    security().mutable_run_as_user()->set_value(7);
    EXPECT_EQ(process().user, (UserLookup{.user = "7", .group = "", .adds_groups = true}));
    security().mutable_run_as_group()->set_value(8);
    security().add_supplemental_groups(12);
    security().add_supplemental_groups(11);
    EXPECT_EQ(process().user, (UserLookup{.user = "7", .group = "8", .adds_groups = true}));
    EXPECT_THAT(process().additional_gids, ElementsAre(8, 11, 12));
    security().set_run_as_username("bin");
    EXPECT_EQ(process().user, (UserLookup{.user = "bin", .group = "8", .adds_groups = true}));
}

TEST_F(UserOfContainer, StrictPolicyTakesNoGroupsOfTheImage) {
    security().set_supplemental_groups_policy(cri::v1::Strict);
    security().mutable_run_as_user()->set_value(7);
    EXPECT_EQ(process().user, (UserLookup{.user = "7", .group = "", .adds_groups = false}));
    security().mutable_run_as_group()->set_value(8);
    EXPECT_EQ(process().user, std::nullopt);  // all is known
    EXPECT_EQ(process().uid, 7U);
    EXPECT_EQ(process().gid, 8U);
    EXPECT_THAT(process().additional_gids, ElementsAre(8));
}

TEST_F(UserOfContainer, NamesThatCannotBeAreRefused) {
    image.user = "app:";
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "image config: config.User: '' is no name of a user "
                                             "or a group"}));
    security().set_run_as_username("a:b");
    EXPECT_EQ(refusal().message,
              "linux.security_context.run_as_username: 'a:b' is no name of a user or a group");
}

TEST_F(UserOfContainer, GroupNeedsAUser) {
    security().mutable_run_as_group()->set_value(8);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "linux.security_context.run_as_group: needs "
                                             "run_as_user or run_as_username"}));
}

TEST_F(UserOfContainer, IdsAreThoseOfLinux) {
    security().mutable_run_as_user()->set_value(-1);
    EXPECT_EQ(refusal().message, "linux.security_context.run_as_user: must be 0 to 4294967294");
}

}  // namespace
}  // namespace pepita
