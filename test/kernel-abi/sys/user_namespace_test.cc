#include "kernel-abi/sys/user_namespace.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"

namespace pepita {
namespace {

// What uid_map and gid_map are for a process in the namespace: 0 as the exit status where they have
// these numbers.
int look_inside(FdRef space, const std::string& uids, const std::string& gids) {
    const pid_t child = ::fork();
    if (child == 0) {
        const bool is_in = ::setns(space.number(), CLONE_NEWUSER) == 0;
        const auto has = [](const char* path, const std::string& numbers) {
            std::string text = read_file(path).value_or("");
            std::erase(text, ' ');
            return text == numbers;
        };
        ::_exit(is_in && has("/proc/self/uid_map", uids) && has("/proc/self/gid_map", gids) ? 0
                                                                                            : 1);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

TEST(UserNamespace, HasItsIdsAndNobodyInIt) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root";
    }
    const std::array<IdMapping, 2> uids{IdMapping{.container_id = 0, .host_id = 1000, .size = 10},
                                        IdMapping{.container_id = 20, .host_id = 3000, .size = 1}};
    const std::array<IdMapping, 1> gids{IdMapping{.container_id = 0, .host_id = 7, .size = 8}};
    const auto made = make_user_namespace(uids, gids);
    ASSERT_TRUE(made.has_value()) << made.error().message();
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    EXPECT_EQ(look_inside(made->ref(), "0100010\n2030001\n", "078\n"), 0);
}

TEST(UserNamespace, MappingsThatTheKernelRefusesAreNamed) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root";
    }
    const std::array<IdMapping, 2> twice{IdMapping{.container_id = 0, .host_id = 0, .size = 2},
                                         IdMapping{.container_id = 1, .host_id = 9, .size = 1}};
    const auto made = make_user_namespace(twice, twice);
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().code(), Code::InvalidArgument);
    EXPECT_TRUE(made.error().message().starts_with("map user ids: ")) << made.error().message();
}

TEST(ToMap, IsALineForEach) {
    const std::array<IdMapping, 1> one{IdMapping{.container_id = 1, .host_id = 2, .size = 3}};
    EXPECT_EQ(to_map(one), "1 2 3\n");
    EXPECT_EQ(to_map({}), "");
}

}  // namespace
}  // namespace pepita
