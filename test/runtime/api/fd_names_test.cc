#include "runtime/api/fd_names.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "runtime/task_api.h"

namespace pepita::runtime::api {
namespace {

class FdNamesTest : public testing::Test {
protected:
    void SetUp() override {
        fds_.push_back(*open_file("/dev/null", O_RDWR));
        fds_.push_back(*open_file("/dev/zero", O_RDWR));
    }
    std::vector<Fd> fds_;
};

TEST_F(FdNamesTest, NamesAreGivenInOrderAndNoneToWhatIsNotOpen) {
    FdTable table;
    EXPECT_EQ(table.name(Fd()), "");
    EXPECT_EQ(table.name(fds_[0]), "fd:0");
    EXPECT_EQ(table.name(std::optional<Fd>()), "");
    EXPECT_EQ(table.name(StreamEnd{.fd = {}, .path = "/run/out"}), "/run/out");
    EXPECT_EQ(table.name(fds_[1]), "fd:1");
    EXPECT_EQ(table.refs().size(), 2U);
}

TEST_F(FdNamesTest, ADescriptorIsTakenOnce) {
    const int number = fds_[1].ref().number();
    EXPECT_EQ(take_end("fd:1", fds_).value().fd.value_or(Fd()).ref().number(), number);
    EXPECT_EQ(take_fd("fd:1", fds_).error().message(), "'fd:1' did not come with the request");
    EXPECT_FALSE(take_fd("", fds_).value().has_value());
}

TEST_F(FdNamesTest, WhatIsNoNameIsAPathWhereOneMayBe) {
    EXPECT_EQ(take_end("/run/out", fds_).value().path, "/run/out");
    EXPECT_EQ(take_fd("/run/out", fds_).error().message(), "'/run/out' must be a descriptor");
}

TEST_F(FdNamesTest, WrongNumbersAreRefused) {
    EXPECT_EQ(take_end("fd:2", fds_).error().code(), Code::InvalidArgument);
    EXPECT_EQ(take_end("fd:", fds_).error().code(), Code::InvalidArgument);
    EXPECT_EQ(take_end("fd:-1", fds_).error().code(), Code::InvalidArgument);
    EXPECT_EQ(take_end("fd:0x", fds_).error().code(), Code::InvalidArgument);
    EXPECT_EQ(take_end("fd:99999999999999999999", fds_).error().code(), Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita::runtime::api
