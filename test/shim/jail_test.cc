#include "shim/jail.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

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
        ::_exit(what_is_left(jail_user(1)));
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace pepita::shim
