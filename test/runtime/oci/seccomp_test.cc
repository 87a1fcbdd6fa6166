#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "runtime/bundle.h"
#include "runtime/container.h"

// What the programs do is seen in container/confinement_test.
namespace pepita::runtime {
namespace {

SeccompSpec compiled(std::string_view members) {
    const auto bundle = parse_config(
        R"({"ociVersion": "1.2.0", "root": {"path": "r"}, "process": {"cwd": "/", "args": ["a"]},
            "linux": {"seccomp": {)" +
            std::string(members) + "}}}",
        "/b");
    if (!bundle) {
        ADD_FAILURE() << bundle.error().message();
        return {};
    }
    return bundle->container.seccomp.value_or(SeccompSpec());
}

bool has_return(const SeccompSpec& filter, std::uint32_t value) {
    for (std::size_t at = 0; at < filter.program.size(); at += sizeof(sock_filter)) {
        sock_filter instruction{};
        std::memcpy(&instruction, filter.program.data() + at, sizeof(instruction));
        if (instruction.code == (BPF_RET | BPF_K) && instruction.k == value) {
            return true;
        }
    }
    return false;
}

TEST(Seccomp, EachActionIsInTheProgram) {
    const SeccompSpec filter = compiled(R"(
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["write"], "action": "SCMP_ACT_KILL"},
        {"names": ["open"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": ["close"], "action": "SCMP_ACT_TRAP"},
        {"names": ["stat"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["fstat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7},
        {"names": ["lstat"], "action": "SCMP_ACT_TRACE", "errnoRet": 9},
        {"names": ["poll"], "action": "SCMP_ACT_LOG"}])");
    for (const std::uint32_t value :
         {SECCOMP_RET_ERRNO | 38U, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_THREAD,
          SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO | 1U,
          SECCOMP_RET_ERRNO | 7U, SECCOMP_RET_TRACE | 9U, SECCOMP_RET_LOG}) {
        EXPECT_TRUE(has_return(filter, value)) << std::hex << value;
    }
}

TEST(Seccomp, FlagsAreThoseOfTheKernelAndTheirAbsenceIsRuncs) {
    constexpr std::string_view allow = R"("defaultAction": "SCMP_ACT_ALLOW")";
    EXPECT_EQ(compiled(allow).flags, SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    EXPECT_EQ(compiled(std::string(allow) + R"(, "flags": [])").flags, 0U);
    EXPECT_EQ(compiled(std::string(allow) + R"(, "flags": ["SECCOMP_FILTER_FLAG_TSYNC",
                                                           "SECCOMP_FILTER_FLAG_LOG"])")
                  .flags,
              SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG);
}

TEST(Seccomp, ArchitecturesOfOtherMachinesAreLeftOut) {
    constexpr std::string_view rest = R"("defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["reboot"], "action": "SCMP_ACT_KILL"}], "architectures": )";
    EXPECT_EQ(compiled(std::string(rest) + R"(["SCMP_ARCH_X86_64", "SCMP_ARCH_S390X"])"),
              compiled(std::string(rest) + "[]"));
    EXPECT_NE(compiled(std::string(rest) + R"(["SCMP_ARCH_X86"])"),
              compiled(std::string(rest) + "[]"));
}

TEST(Seccomp, NamesThatLibseccompDoesNotKnowAreSkipped) {
    constexpr std::string_view rest = R"("defaultAction": "SCMP_ACT_ALLOW", "syscalls": [)";
    EXPECT_EQ(compiled(std::string(rest) +
                       R"({"names": ["no_such_call", "reboot"], "action": "SCMP_ACT_KILL"}])"),
              compiled(std::string(rest) + R"({"names": ["reboot"], "action": "SCMP_ACT_KILL"}])"));
}

TEST(Seccomp, ARuleOfTheDefaultActionChangesNothing) {
    EXPECT_EQ(compiled(R"("defaultAction": "SCMP_ACT_ALLOW")"),
              compiled(R"("defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                          {"names": ["read"], "action": "SCMP_ACT_ALLOW"}])"));
}

// The errno of a call without arguments, under the filter.
int errno_of(const SeccompSpec& filter, long number) {
    const pid_t child = ::fork();
    if (child == 0) {
        std::string program = filter.program;
        const sock_fprog loaded{
            .len = static_cast<unsigned short>(program.size() / sizeof(sock_filter)),
            .filter = reinterpret_cast<sock_filter*>(program.data())};
        (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        (void)::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &loaded);
        ::_exit(::syscall(number) < 0 ? errno : 0);
    }
    int status = 0;
    (void)::waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

TEST(Seccomp, ACallNewerThanTheProfileDoesNotExist) {
    const SeccompSpec filter = compiled(R"("defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["exit_group"], "action": "SCMP_ACT_ALLOW"}])");
    constexpr long exit_group = 231;
    EXPECT_EQ(errno_of(filter, exit_group - 1), EPERM);
    EXPECT_EQ(errno_of(filter, exit_group + 1), ENOSYS);
    const SeccompSpec permissive = compiled(R"("defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO"}])");
    EXPECT_EQ(errno_of(permissive, SYS_getppid), EPERM);
    EXPECT_EQ(errno_of(permissive, SYS_gettid), 0);
}

TEST(Seccomp, AProgramIsWholeInstructionsWithinTheKernelsBound) {
    const std::size_t size = compiled(R"("defaultAction": "SCMP_ACT_LOG")").program.size();
    EXPECT_GT(size, 0U);
    EXPECT_EQ(size % SeccompSpec::kInstructionBytes, 0U);
    EXPECT_EQ(SeccompSpec::kInstructionBytes, sizeof(sock_filter));
    EXPECT_EQ(SeccompSpec::kProgramBytesMax, BPF_MAXINSNS * sizeof(sock_filter));
}

}  // namespace
}  // namespace pepita::runtime
