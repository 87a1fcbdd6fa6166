#include "shim/pod_directory.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
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
    void TearDown() override { (void)::rmdir(root_.c_str()); }

    static bool exists(const std::string& path) {
        struct stat about{};
        return ::lstat(path.c_str(), &about) == 0;
    }

    std::string root_ = "/tmp/pepita-pod-XXXXXX";
};

TEST_F(PodDirectoryTest, GoesWithAllThatIsInIt) {
    {
        const auto directory = PodDirectory::create(root_, "web", jail_user(1));
        ASSERT_TRUE(directory.has_value());
        EXPECT_TRUE((*directory)->listen_in_machine("vsock.sock", jail_user(1)).has_value());
        EXPECT_TRUE(exists(root_ + "/web/machine/vsock.sock"));
    }
    EXPECT_FALSE(exists(root_ + "/web"));
}

TEST_F(PodDirectoryTest, ATakenNameIsRefusedAndLeftAlone) {
    const auto first = PodDirectory::create(root_, "web", jail_user(1));
    const auto second = PodDirectory::create(root_, "web", jail_user(1));
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), Code::AlreadyExists);
    EXPECT_EQ(second.error().message(), "container 'web' already exists");
    EXPECT_TRUE(exists(root_ + "/web/machine"));
}

TEST_F(PodDirectoryTest, SocketsLongerThanASocketPathAreNoTrouble) {
    const std::string id(128, 'x');
    const auto directory = PodDirectory::create(root_, id, jail_user(1));
    ASSERT_TRUE(directory.has_value());
    EXPECT_TRUE((*directory)->listen_in_machine("vsock.sock_1024", jail_user(1)).has_value());
}

}  // namespace
}  // namespace pepita::shim
