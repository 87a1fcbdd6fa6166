#include "kernel-abi/sys/syscall_filter.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "test/support/sanitizer.h"

namespace pepita {
namespace {

constexpr std::array kRules = {
    SyscallRule{.number = SYS_exit_group, .only_if = {}},
    SyscallRule{.number = SYS_prctl, .only_if = {}},
    SyscallRule{.number = SYS_mmap,
                .only_if = SyscallRule::Condition{.argument = 2, .mask = PROT_EXEC, .value = 0}},
};

/// What becomes of a child that calls `body` behind the filter: a wait status.
template <typename Body>
int status_of(Body body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (!allow_only(kRules, FilterScope::Process).has_value()) {
            ::_exit(99);
        }
        ::_exit(body());
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
}

TEST(SyscallFilter, AllowedCallsWork) {
    PEPITA_SKIP_UNDER_SANITIZERS();
    const int status = status_of([] { return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); });
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 1);  // no_new_privs came with it
}

TEST(SyscallFilter, AForbiddenCallEndsTheProcess) {
    const int status = status_of([] { return static_cast<int>(::syscall(SYS_getppid)) & 0; });
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_EQ(WTERMSIG(status), SIGSYS);
}

int map_with(int protection) {
    return ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

TEST(SyscallFilter, ConditionsAreHeld) {
    PEPITA_SKIP_UNDER_SANITIZERS();
    const int data = status_of([] { return map_with(PROT_READ | PROT_WRITE); });
    ASSERT_TRUE(WIFEXITED(data));
    EXPECT_EQ(WEXITSTATUS(data), 0);
    const int code = status_of([] { return map_with(PROT_READ | PROT_EXEC); });
    ASSERT_TRUE(WIFSIGNALED(code));
    EXPECT_EQ(WTERMSIG(code), SIGSYS);
}

TEST(SyscallFilter, RefusesAConditionOnAnArgumentThatIsNone) {
    constexpr std::array kSeventh = {SyscallRule{
        .number = SYS_read, .only_if = SyscallRule::Condition{.argument = 6, .value = 0}}};
    // In a child: where the refusal failed, the filter would be on.
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::_exit(allow_only(kSeventh, FilterScope::Thread).has_value() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace pepita
