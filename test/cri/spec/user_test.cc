#include "cri/spec/user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "test/cri/spec/spec_fixture.h"

namespace pepita {
namespace {

using testing::ElementsAre;

class UserOfContainer : public test::ContainerSpecTest {
protected:
    runtime::ProcessSpec process() const { return bundle().container.process; }
};

TEST_F(UserOfContainer, IsRootWhereNobodySaysMore) {
    EXPECT_EQ(process().uid, 0U);
    EXPECT_EQ(process().gid, 0U);
    EXPECT_THAT(process().additional_gids, ElementsAre(0));
}

TEST_F(UserOfContainer, IsTheImages) {
    image.user = "1000:1001";
    EXPECT_EQ(process().uid, 1000U);
    EXPECT_EQ(process().gid, 1001U);
}

TEST_F(UserOfContainer, AskedForIsNotTheImages) {
    image.user = "1000:1001";
    security().mutable_run_as_user()->set_value(7);
    EXPECT_EQ(process().uid, 7U);
    EXPECT_EQ(process().gid, 0U);
    security().mutable_run_as_group()->set_value(8);
    security().add_supplemental_groups(12);
    security().add_supplemental_groups(11);
    EXPECT_EQ(process().gid, 8U);
    EXPECT_THAT(process().additional_gids, ElementsAre(8, 11, 12));
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
