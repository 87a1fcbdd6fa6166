#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/personality.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "kernel-abi/sys/error.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/container_test.h"

namespace pepita::runtime::container {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

SeccompSpec compiled(const std::string& profile) {
    const auto bundle = parse_config(
        R"({"ociVersion": "1.2.0", "root": {"path": "r"}, "process": {"cwd": "/", "args": ["a"]},
            "linux": {"seccomp": )" +
            profile + "}}",
        "/b");
    if (!bundle) {
        ADD_FAILURE() << bundle.error().message();
        return {};
    }
    return bundle->container.seccomp.value_or(SeccompSpec());
}

// A profile with one rule, for everything else `otherwise`.
SeccompSpec one_rule(const std::string& rule, const std::string& otherwise = "SCMP_ACT_ALLOW") {
    return compiled(R"({"defaultAction": ")" + otherwise + R"(", "syscalls": [)" + rule + "]}");
}

// What podman makes of /usr/share/containers/seccomp.json: rules for other architectures and other
// capabilities are left out. Source: containers/common pkg/seccomp.
std::optional<std::string> podmans_profile() {
    std::ifstream file("/usr/share/containers/seccomp.json");
    if (!file) {
        return std::nullopt;
    }
    const auto all = nlohmann::json::parse(file, nullptr, false);
    nlohmann::json out{{"defaultAction", all["defaultAction"]},
                       {"defaultErrnoRet", all["defaultErrnoRet"]},
                       {"architectures", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}},
                       {"syscalls", nlohmann::json::array()}};
    for (const auto& rule : all["syscalls"]) {
        const auto& arches = rule["includes"].value("arches", nlohmann::json::array());
        const bool is_ours =
            arches.empty() || std::find(arches.begin(), arches.end(), "amd64") != arches.end();
        if (!is_ours || rule["includes"].contains("caps")) {
            continue;
        }
        nlohmann::json made{{"names", rule["names"]}, {"action", rule["action"]}};
        if (rule["args"].is_array()) {
            made["args"] = rule["args"];
        }
        if (rule.contains("errnoRet")) {
            made["errnoRet"] = rule["errnoRet"];
        }
        out["syscalls"].push_back(std::move(made));
    }
    return out.dump();
}

class ContainerConfinement : public test::ContainerTest {
protected:
    static ContainerSpec filtered(SeccompSpec filter, const std::string& script) {
        ContainerSpec spec = spec_of(script);
        spec.seccomp = std::move(filter);
        return spec;
    }
};

constexpr const char* kNoMkdir =
    R"({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95})";

TEST_F(ContainerConfinement, ASystemCallFailsWithTheErrnoOfTheProfile) {
    EXPECT_EQ(output_of(filtered(one_rule(kNoMkdir), "mkdir /x 2>&1; touch /y && echo made")),
              "mkdir: can't create directory '/x': Operation not supported\nmade\n");
}

// chmod(path, mode), where `condition` holds.
std::string no_chmod(const std::string& condition) {
    return R"({"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": [{)" +
           condition + "}]}";
}

TEST_F(ContainerConfinement, AnArgumentDecides) {
    // 0700 is 448 and 0755 is 493.
    for (const char* condition :
         {R"("index": 1, "value": 448, "op": "SCMP_CMP_EQ")",
          R"("index": 1, "value": 449, "op": "SCMP_CMP_LT")",
          R"("index": 1, "value": 448, "op": "SCMP_CMP_LE")",
          R"("index": 1, "value": 511, "valueTwo": 448, "op": "SCMP_CMP_MASKED_EQ")",
          R"("index": 1, "value": 493, "op": "SCMP_CMP_NE")"}) {
        EXPECT_EQ(output_of(filtered(one_rule(no_chmod(condition)),
                                     "touch /x /y; chmod 755 /y; chmod 700 /x 2>&1; "
                                     "stat -c %a /x /y")),
                  "chmod: /x: Operation not supported\n644\n755\n")
            << condition;
    }
}

TEST_F(ContainerConfinement, GreaterIsGreater) {
    for (const char* condition : {R"("index": 1, "value": 448, "op": "SCMP_CMP_GT")",
                                  R"("index": 1, "value": 449, "op": "SCMP_CMP_GE")"}) {
        EXPECT_EQ(output_of(filtered(one_rule(no_chmod(condition)),
                                     "touch /x /y; chmod 700 /y; chmod 755 /x 2>&1; "
                                     "stat -c %a /x /y")),
                  "chmod: /x: Operation not supported\n644\n700\n")
            << condition;
    }
}

TEST_F(ContainerConfinement, AKilledProcessDiesOfSigsys) {
    const auto ran = run(filtered(
        one_rule(R"({"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"})"), "mkdir /x"));
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->status, 128U + 31U);
}

TEST_F(ContainerConfinement, TheFilterIsOfItsProcessesThatAreExecutedToo) {
    auto container = create(filtered(one_rule(kNoMkdir), "cat; sleep 600"));
    ASSERT_TRUE(container.has_value()) << container.error().message();
    const auto ran = exec(**container, process_of("mkdir /x; grep Seccomp: /proc/self/status"));
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(ran->out, "Seccomp:\t2\n");
    EXPECT_THAT(ran->err, HasSubstr("Operation not supported"));
    ASSERT_TRUE((*container)->remove().has_value());
    (void)test::reap_status((*container)->process().pid());
}

// Without no_new_privs those two are all that a profile has to allow of what we do: no setresuid,
// chdir, umask or close_range. The others are busybox's.
TEST_F(ContainerConfinement, OfOurOwnCallsAProfileAllowsCapsetAndExecveAlone) {
    const std::string allowed =
        R"({"names": ["capset", "execve", "prctl", "brk", "arch_prctl", "set_tid_address",
        "set_robust_list", "rseq", "prlimit64", "readlink", "readlinkat", "getrandom", "mprotect",
        "mmap", "munmap", "uname", "getuid", "geteuid", "getpid", "getppid", "rt_sigaction",
        "rt_sigprocmask", "rt_sigreturn", "stat", "newfstatat", "fstat", "getcwd", "write",
        "ioctl", "fcntl", "poll", "read", "close", "exit_group", "dup2", "set_thread_area", "futex"
        ], "action": "SCMP_ACT_ALLOW"})";
    for (const bool no_new_privileges : {false, true}) {
        ContainerSpec spec = filtered(one_rule(allowed, "SCMP_ACT_KILL_PROCESS"), "echo runs");
        spec.process.no_new_privileges = no_new_privileges;
        EXPECT_EQ(output_of(spec), "runs\n") << no_new_privileges;
    }
}

TEST_F(ContainerConfinement, ACapabilityThatTheFilterNeedsIsNotKept) {
    ContainerSpec spec =
        filtered(one_rule(kNoMkdir), "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status");
    spec.process.uid = 1000;
    spec.process.no_new_privileges = false;
    spec.process.capabilities = Capabilities{.bounding = 1};
    EXPECT_EQ(output_of(spec),
              "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000001\n");
}

TEST_F(ContainerConfinement, PodmansDefaultProfileRunsAShellAndForbidsMounts) {
    const auto profile = podmans_profile();
    if (!profile) {
        GTEST_SKIP() << "no /usr/share/containers/seccomp.json (golang-github-containers-common)";
    }
    for (const bool no_new_privileges : {false, true}) {
        ContainerSpec spec =
            filtered(compiled(*profile),
                     "mount -t tmpfs none /tmp 2>&1; ls / | head -n 1; unshare -m true "
                     "2>&1; (echo a; echo b) | sort -r; grep Seccomp: /proc/self/status");
        spec.process.no_new_privileges = no_new_privileges;
        const std::string out = output_of(spec);
        EXPECT_THAT(out, StartsWith("mount: permission denied")) << no_new_privileges;
        EXPECT_THAT(out, HasSubstr("bin\n"));
        EXPECT_THAT(out, HasSubstr("b\na\nSeccomp:\t2\n"));
    }
}

TEST_F(ContainerConfinement, ThePersonalityIsSet) {
    ContainerSpec spec = spec_of("uname -m; cat /proc/self/personality");
    spec.personality = PER_LINUX32;
    EXPECT_EQ(output_of(spec), "i686\n00000008\n");
}

TEST_F(ContainerConfinement, TheSchedulerAndThePriorityAreSet) {
    // Fields 18, 19 and 41 of /proc/PID/stat: priority, nice and policy.
    ContainerSpec spec = spec_of("cut -d' ' -f 18,19,41 /proc/self/stat; ionice -p $$");
    spec.process.scheduler = SchedulerSpec{.policy = 3, .nice = 7};  // SCHED_BATCH
    spec.process.io_priority = IoPrioritySpec{.io_class = 2, .priority = 6};
    EXPECT_EQ(output_of(spec), "27 7 3\nbest-effort: prio 6\n");
}

TEST_F(ContainerConfinement, ASchedulerThatTheKernelRefusesIsNamed) {
    ContainerSpec spec = spec_of("true");
    spec.process.scheduler = SchedulerSpec{.policy = 1, .priority = 0};  // SCHED_FIFO needs one
    const auto ran = run(spec);
    ASSERT_FALSE(ran.has_value());
    EXPECT_EQ(ran.error().message(), "set the scheduler: Invalid argument (EINVAL)");
}

TEST_F(ContainerConfinement, LabelsOfModulesThatTheKernelLacksAreRefusedByName) {
    ContainerSpec spec = spec_of("true");
    spec.process.apparmor_profile = "no-such-profile";
    EXPECT_THAT(run(spec).error().message(), StartsWith("AppArmor profile 'no-such-profile': "));
    spec.process.apparmor_profile = "unconfined";
    EXPECT_EQ(output_of(spec), "");
    spec.process.selinux_label = "a:b:c";
    EXPECT_THAT(run(spec).error().message(), StartsWith("SELinux label 'a:b:c': "));
}

TEST_F(ContainerConfinement, HooksInTheContainerRunWithItsStateAndCredentials) {
    ContainerSpec spec = spec_of("cat /made");
    spec.process.uid = 1000;
    spec.hooks.create_state = R"({"pid":0,"status":"creating"})";
    spec.hooks.start_state = R"({"pid":0,"status":"created"})";
    const HookSpec hook{.path = "/bin/sh",
                        .args = {"sh", "-c", "(id -u; cat; echo; echo $A) >> /made"},
                        .env = {"A=b"}};
    spec.hooks.create_container = {
        {.path = "/bin/sh", .args = {"sh", "-c", "touch /made; chmod 666 /made"}}, hook};
    spec.hooks.start_container = {hook};
    EXPECT_EQ(output_of(spec),
              "0\n{\"pid\":1,\"status\":\"creating\"}\nb\n"
              "1000\n{\"pid\":1,\"status\":\"created\"}\nb\n");
}

TEST_F(ContainerConfinement, AHookThatFailsIsNamedWithWhatItSays) {
    ContainerSpec spec = spec_of("true");
    spec.hooks.create_container = {
        {.path = "/bin/sh", .args = {"sh", "-c", "echo no network; exit 3"}}};
    EXPECT_EQ(refusal_of(spec), "createContainer hook '/bin/sh': exit status 3: no network");
    spec.hooks.create_container = {
        {.path = "/bin/sleep", .args = {"sleep", "600"}, .timeout_seconds = 1}};
    EXPECT_EQ(refusal_of(spec), "createContainer hook '/bin/sleep': it has not ended within 1 s");
    spec.hooks.create_container = {{.path = "/usr/bin/on-the-host"}};
    EXPECT_EQ(refusal_of(spec),
              "createContainer hook '/usr/bin/on-the-host': a hook of this kind runs in the "
              "container, which does not have it as a program: No such file or directory (ENOENT)");
    spec.hooks.start_container = std::exchange(spec.hooks.create_container, {});
    EXPECT_THAT(run(spec).error().message(), StartsWith("startContainer hook '/usr/bin/on-"));
}

TEST_F(ContainerConfinement, PropagationIsThatOfItsOwnMounts) {
    // Of the root and the four mounts of the spec.
    ContainerSpec spec = spec_of("grep -c shared: /proc/self/mountinfo");
    spec.root_propagation = Propagation::Shared;
    EXPECT_EQ(output_of(spec), "5\n");
    spec.process = process_of("grep -c unbindable /proc/self/mountinfo");
    spec.root_propagation = Propagation::Unbindable;
    EXPECT_EQ(output_of(spec), "5\n");
}

}  // namespace
}  // namespace pepita::runtime::container
