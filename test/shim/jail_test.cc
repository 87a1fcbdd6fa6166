#include "shim/jail.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"

namespace pepita::shim {
namespace {

bool is_limited(__rlimit_resource resource, rlim_t most) {
    rlimit limit{};
    return ::getrlimit(resource, &limit) == 0 && limit.rlim_cur <= most && limit.rlim_max <= most;
}

/// 0 where all is given up.
int what_is_left(JailUser user) {
    if (!drop_privileges(user)) {
        return 1;
    }
    if (::getuid() != user.id || ::getegid() != user.id || ::getgroups(0, nullptr) != 0 ||
        ::setresuid(0, 0, 0) == 0 || ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        return 2;
    }
    if (!is_limited(RLIMIT_NOFILE, 4096) || !is_limited(RLIMIT_NPROC, 512) ||
        !is_limited(RLIMIT_CORE, 0)) {
        return 3;
    }
    const rlimit more{.rlim_cur = 8192, .rlim_max = 8192};
    return ::setrlimit(RLIMIT_NOFILE, &more) == 0 ? 4 : 0;
}

TEST(Jail, X7_NothingIsLeftButLimits) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "only root has something to give up";
    }
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::_exit(what_is_left(JailUser{.id = 0x7000'0001}));
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

class JailUsers : public testing::Test {
public:
    JailUsers() {
        std::string name = testing::TempDir() + "jail-users-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    ~JailUsers() override { std::filesystem::remove_all(directory_); }
    JailUsers(const JailUsers&) = delete;
    JailUsers& operator=(const JailUsers&) = delete;
    JailUsers(JailUsers&&) = delete;
    JailUsers& operator=(JailUsers&&) = delete;

    void SetUp() override {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "the file is root's";
        }
    }

protected:
    std::string file() const { return directory_ / "users"; }
    std::filesystem::path directory_;
};

TEST_F(JailUsers, X7_NoTwoHaveOneUser) {
    auto first = hold_jail_user(file(), 7);
    auto second = hold_jail_user(file(), 7);
    auto last = hold_jail_user(file(), UINT32_MAX);
    ASSERT_TRUE(first.has_value() && second.has_value() && last.has_value());
    EXPECT_EQ(second->user.id, first->user.id + 1);
    EXPECT_GE(last->user.id, 0x7000'0000U);
    EXPECT_LT(last->user.id, 0x8000'0000U);
    const uid_t given_back = first->user.id;
    first->lock = Fd();
    EXPECT_EQ(hold_jail_user(file(), 7)->user.id, given_back);
}

TEST_F(JailUsers, X7_FileOfOthersIsRefused) {
    std::ofstream(file()).close();
    ASSERT_EQ(::chmod(file().c_str(), 0644), 0);
    EXPECT_EQ(hold_jail_user(file(), 0).error().code(), Code::PermissionDenied);
    std::filesystem::remove(file());
    std::filesystem::create_symlink("elsewhere", file());
    EXPECT_FALSE(hold_jail_user(file(), 0).has_value());
    EXPECT_FALSE(std::filesystem::exists(directory_ / "elsewhere"));
}

}  // namespace
}  // namespace pepita::shim
