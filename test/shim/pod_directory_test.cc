#include "shim/pod_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/state.h"
#include "shim/jail.h"

namespace pepita::shim {
namespace {

class PodDirectoryTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "needs root to give a directory to the machine's user";
        }
        ASSERT_NE(::mkdtemp(root_.data()), nullptr);
    }
    void TearDown() override {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }

    Result<std::unique_ptr<PodDirectory>> make(
        const std::string& name,
        runtime::ContainerStatus status = runtime::ContainerStatus::Creating) const {
        runtime::ContainerState state;
        state.id = name;
        state.status = status;
        return PodDirectory::create(
            {.root = root_, .name = name, .state = state, .machine = JailUser{.id = 0x7000'0001}});
    }
    /// What a shim leaves that is killed: the directory, and no lock on it.
    void leave(const std::string& name, runtime::ContainerStatus status) const {
        const pid_t shim = ::fork();
        if (shim == 0) {
            const auto made = make(name, status);
            ::_exit(made.has_value() ? 0 : 1);
        }
        int result = -1;
        ASSERT_EQ(::waitpid(shim, &result, 0), shim);
        ASSERT_EQ(result, 0);
        ASSERT_TRUE(exists(root_ + "/" + name + "/shim.sock"));
    }

    static bool exists(const std::string& path) {
        struct stat about{};
        return ::lstat(path.c_str(), &about) == 0;
    }

    std::string root_ = "/tmp/pepita-pod-XXXXXX";
};

TEST_F(PodDirectoryTest, GoesWithAllThatIsInIt) {
    {
        const auto directory = make("web");
        ASSERT_TRUE(directory.has_value());
        EXPECT_TRUE((*directory)->listen_in_machine("vsock.sock").has_value());
        EXPECT_TRUE(exists(root_ + "/web/machine/vsock.sock"));
    }
    EXPECT_FALSE(exists(root_ + "/web"));
}

TEST_F(PodDirectoryTest, ATakenNameIsRefusedAndLeftAlone) {
    const auto first = make("web");
    const auto second = make("web");
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), Code::AlreadyExists);
    EXPECT_EQ(second.error().message(), "container 'web' already exists");
    EXPECT_TRUE(exists(root_ + "/web/machine"));
}

TEST_F(PodDirectoryTest, R2_ItAppearsWithItsStateAndItsSocket) {
    const auto directory = make("web");
    const auto state = runtime::read_state((*directory)->fd());
    EXPECT_EQ(state.value().status, runtime::ContainerStatus::Creating);
    EXPECT_TRUE((*directory)->take_listener());
    EXPECT_TRUE(connect_unix_at((*directory)->fd(), "shim.sock").error().sys_errno() ==
                ECONNREFUSED);
}

TEST_F(PodDirectoryTest, R4_WhatAKilledShimLeftOfACreateIsSwept) {
    leave("web", runtime::ContainerStatus::Creating);
    { EXPECT_TRUE(make("web").has_value()); }
    EXPECT_TRUE(std::filesystem::is_empty(root_));
}

TEST_F(PodDirectoryTest, R4_AStateThatCannotBeReadIsSweptToo) {
    leave("web", runtime::ContainerStatus::Creating);
    ASSERT_EQ(::truncate((root_ + "/web/state.json").c_str(), 3), 0);
    EXPECT_TRUE(make("web").has_value());
}

TEST_F(PodDirectoryTest, R4_AContainerThatWasCreatedStaysUntilItIsDeleted) {
    leave("web", runtime::ContainerStatus::Running);
    EXPECT_EQ(make("web").error().code(), Code::AlreadyExists);
    EXPECT_TRUE(exists(root_ + "/web/state.json"));
}

TEST_F(PodDirectoryTest, R4_HalfADirectoryIsSweptWhenItIsOld) {
    const std::string half = root_ + "/new~1~web";
    ASSERT_EQ(::mkdir(half.c_str(), 0711), 0);
    { EXPECT_TRUE(make("web").has_value()); }
    EXPECT_TRUE(exists(half)) << "its shim may be about to lock it";
    const timespec long_ago{.tv_sec = 1, .tv_nsec = 0};
    const std::array<timespec, 2> times{long_ago, long_ago};
    ASSERT_EQ(::utimensat(AT_FDCWD, half.c_str(), times.data(), 0), 0);
    { EXPECT_TRUE(make("web").has_value()); }
    EXPECT_FALSE(exists(half));
}

TEST_F(PodDirectoryTest, SocketsLongerThanASocketPathAreNoTrouble) {
    const std::string id(128, 'x');
    const auto directory = make(id);
    ASSERT_TRUE(directory.has_value());
    EXPECT_TRUE((*directory)->listen_in_machine("vsock.sock_1024").has_value());
}

}  // namespace
}  // namespace pepita::shim
