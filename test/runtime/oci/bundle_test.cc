#include "runtime/bundle.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "runtime/container.h"
#include "test/support/golden.h"

namespace pepita::runtime {
namespace {

// Each AT_x is a place where a test puts its own members.
constexpr std::string_view kTemplate = R"({
  "ociVersion": "1.2.0",
  "root": {"path": "rootfs"},
  AT_TOP
  "mounts": [AT_MOUNTS],
  "process": {
    AT_PROCESS
    "user": {AT_USER "uid": 0, "gid": 0},
    "args": ["true"],
    "cwd": "/"
  },
  "linux": {
    AT_LINUX
    "resources": {AT_RESOURCES "devices": []},
    "namespaces": [{"type": "mount"}, {"type": "uts"}]
  }
})";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
}

std::string config(std::string_view from = "AT_TOP", std::string_view to = "") {
    std::string text = replaced(std::string(kTemplate), from, to);
    for (const std::string_view place :
         {"AT_TOP", "AT_MOUNTS", "AT_PROCESS", "AT_USER", "AT_LINUX", "AT_RESOURCES"}) {
        if (text.contains(place)) {
            text = replaced(std::move(text), place, "");
        }
    }
    return text;
}

Bundle parsed(std::string_view from, std::string_view to) {
    auto bundle = parse_config(config(from, to), "/b");
    EXPECT_TRUE(bundle.has_value()) << bundle.error().message();
    return bundle.has_value() ? *std::move(bundle) : Bundle();
}

struct BadCase {
    std::string name;
    std::string from;
    std::string to;
    std::string message;  // after "config.json: "

    BadCase(std::string its_name, std::string its_from, std::string its_to, std::string its_message)
        : name(std::move(its_name)),
          from(std::move(its_from)),
          to(std::move(its_to)),
          message(std::move(its_message)) {}
    friend std::ostream& operator<<(std::ostream& out, const BadCase& bad) {
        return out << bad.name;
    }
};
std::string name_of(const testing::TestParamInfo<BadCase>& info) { return info.param.name; }

class Refused : public testing::TestWithParam<BadCase> {};
TEST_P(Refused, IsUnsupportedByName) {
    const auto bundle = parse_config(config(GetParam().from, GetParam().to), "/b");
    ASSERT_FALSE(bundle.has_value());
    EXPECT_EQ(bundle.error().message(), "config.json: " + GetParam().message);
    EXPECT_EQ(bundle.error().code(), Code::Unsupported);
}

const std::vector<BadCase> kUnsupported = {
    {"Windows", "AT_TOP", R"("windows": {"x": 1},)", "windows: is not supported"},
    {"Solaris", "AT_TOP", R"("solaris": {"x": 1},)", "solaris: is not supported"},
    {"Vm", "AT_TOP", R"("vm": {"kernel": {"path": "/k"}},)", "vm: is not supported"},
    {"Zos", "AT_TOP", R"("zos": {"x": 1},)", "zos: is not supported"},
    {"Freebsd", "AT_TOP", R"("freebsd": {"x": 1},)", "freebsd: is not supported"},
    {"Version2", "1.2.0", "2.0.0", "ociVersion: version '2.0.0' is not supported"},
    {"ExecCpuAffinity", "AT_PROCESS", R"("execCPUAffinity": {"initial": "0"},)",
     "process.execCPUAffinity: is not supported"},
    {"CommandLine", "AT_PROCESS", R"("commandLine": "x",)",
     "process.commandLine: is not supported"},
    {"UnbindableBind", "AT_MOUNTS",
     R"({"destination": "/m", "type": "bind", "source": "/", "options": ["runbindable"]})",
     "mounts[0].options[0]: mount option 'runbindable' is not supported"},
    {"BindWithData", "AT_MOUNTS",
     R"({"destination": "/m", "source": "/", "options": ["bind", "size=1m"]})",
     "mounts[0].options[1]: mount option 'size=1m' is not supported"},
    {"RecursiveOptionOfATmpfs", "AT_MOUNTS",
     R"({"destination": "/m", "type": "tmpfs", "options": ["rro"]})",
     "mounts[0].options[0]: mount option 'rro' is not supported"},
    {"SharedMount", "AT_MOUNTS", R"({"destination": "/m", "type": "tmpfs", "options": ["shared"]})",
     "mounts[0].options[0]: mount option 'shared' is not supported"},
    {"TmpCopyUp", "AT_MOUNTS", R"({"destination": "/m", "type": "proc", "options": ["tmpcopyup"]})",
     "mounts[0].options[0]: mount option 'tmpcopyup' is not supported"},
    {"MountIdMap", "AT_MOUNTS",
     R"({"destination": "/m", "type": "tmpfs", "uidMappings": [{"containerID": 0}]})",
     "mounts[0].uidMappings: is not supported"},
    {"FileSystemType", "AT_MOUNTS", R"({"destination": "/m", "type": "ext4"})",
     "mounts[0].type: mount type 'ext4' is not supported"},
    {"MountLabel", "AT_LINUX", R"("mountLabel": "l",)", "linux.mountLabel: is not supported"},
    {"IntelRdt", "AT_LINUX", R"("intelRdt": {"closID": "x"},)", "linux.intelRdt: is not supported"},
    {"MemoryPolicy", "AT_LINUX", R"("memoryPolicy": {"mode": "x"},)",
     "linux.memoryPolicy: is not supported"},
    {"NetDevices", "AT_LINUX", R"("netDevices": {"eth0": {"name": "eth1"}},)",
     "linux.netDevices: is not supported"},
    {"GlobalSysctl", "AT_LINUX", R"("sysctl": {"vm.swappiness": "1"},)",
     "linux.sysctl['vm.swappiness']: belongs to no namespace of the container"},
    {"NetSysctlWithoutNamespace", "AT_LINUX", R"("sysctl": {"net.ipv4.ip_forward": "1"},)",
     "linux.sysctl['net.ipv4.ip_forward']: belongs to no namespace of the container"},
    {"IoThrottle", "AT_RESOURCES",
     R"("blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]},)",
     "linux.resources.blockIO.throttleReadBpsDevice: is not supported"},
    {"Swappiness", "AT_RESOURCES", R"("memory": {"swappiness": 5},)",
     "linux.resources.memory.swappiness: is not supported"},
    {"OomKiller", "AT_RESOURCES", R"("memory": {"disableOOMKiller": true},)",
     "linux.resources.memory.disableOOMKiller: is not supported"},
    {"RealTime", "AT_RESOURCES", R"("cpu": {"realtimeRuntime": 5},)",
     "linux.resources.cpu.realtimeRuntime: is not supported"},
    {"SeccompNotify", "AT_LINUX", R"("seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"},)",
     "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is not supported: its listener would be a "
     "process of the host"},
    {"SeccompListener", "AT_LINUX",
     R"("seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s"},)",
     "linux.seccomp.listenerPath: is not supported"},
    {"PersonalityFlags", "AT_LINUX", R"("personality": {"domain": "LINUX", "flags": ["x"]},)",
     "linux.personality.flags: is not supported"},
    {"NetworkPriority", "AT_RESOURCES", R"("network": {"classID": 1},)",
     "linux.resources.network: is not supported"},
    {"Rdma", "AT_RESOURCES", R"("rdma": {"mlx": {"hcaHandles": 1}},)",
     "linux.resources.rdma: is not supported"},
};
INSTANTIATE_TEST_SUITE_P(Config, Refused, testing::ValuesIn(kUnsupported), name_of);

class Invalid : public testing::TestWithParam<BadCase> {};
TEST_P(Invalid, IsRefusedWithPathAndReason) {
    const auto bundle = parse_config(config(GetParam().from, GetParam().to), "/b");
    ASSERT_FALSE(bundle.has_value());
    EXPECT_EQ(bundle.error().message(), "config.json: " + GetParam().message);
    EXPECT_EQ(bundle.error().code(), Code::InvalidArgument);
}

const std::vector<BadCase> kInvalid = {
    {"NoVersion", R"("ociVersion": "1.2.0",)", "", "ociVersion: is missing"},
    {"HalfVersion", "1.2.0", "1.2", "ociVersion: must be a version as 1.2.0"},
    {"LongVersion", "1.2.0", "1.2.0.4", "ociVersion: must be a version as 1.2.0"},
    {"VersionOfNumber", R"("1.2.0")", "1", "ociVersion: must be a string"},
    {"NullVersion", R"("1.2.0")", "null", "ociVersion: is missing"},
    {"NoRoot", R"("root": {"path": "rootfs"},)", "", "root: is missing"},
    {"NoRootPath", R"("path": "rootfs")", "", "root.path: is missing"},
    {"EmptyRootPath", R"("rootfs")", R"("")", "root.path: must not be empty"},
    {"RootOfString", R"({"path": "rootfs"})", R"("x")", "root: must be an object"},
    {"NoArgs", R"("args": ["true"],)", "", "process.args: is missing"},
    {"EmptyArgs", R"(["true"])", "[]", "process.args: must begin with the name of a program"},
    {"EmptyProgram", R"(["true"])", R"(["", "x"])",
     "process.args: must begin with the name of a program"},
    {"ArgOfNumber", R"(["true"])", R"(["true", 1])", "process.args[1]: must be a string"},
    {"ArgWithNul", R"(["true"])", R"(["a\u0000b"])", "process.args[0]: must not contain NUL"},
    {"ArgsOfString", R"(["true"])", R"("true")", "process.args: must be an array"},
    {"NoCwd", ",\n    \"cwd\": \"/\"", "", "process.cwd: is missing"},
    {"RelativeCwd", R"("cwd": "/")", R"("cwd": "tmp")", "process.cwd: must be an absolute path"},
    {"UidOfNobody", R"("uid": 0)", R"("uid": 4294967295)",
     "process.user.uid: must be a whole number from 0 to 4294967294"},
    {"NegativeGid", R"("gid": 0)", R"("gid": -1)",
     "process.user.gid: must be a whole number from 0 to 4294967294"},
    {"Umask", "AT_USER", R"("umask": 512,)",
     "process.user.umask: must be a whole number from 0 to 511"},
    {"EnvWithoutValue", "AT_PROCESS", R"("env": ["A=1", "B"],)",
     "process.env[1]: must be KEY=VALUE"},
    {"EnvWithoutKey", "AT_PROCESS", R"("env": ["=1"],)", "process.env[0]: must be KEY=VALUE"},
    {"Capability", "AT_PROCESS", R"("capabilities": {"bounding": ["CAP_KILL", "KILL"]},)",
     "process.capabilities.bounding[1]: no such capability: 'KILL'"},
    {"Rlimit", "AT_PROCESS", R"("rlimits": [{"type": "NOFILE", "soft": 1, "hard": 1}],)",
     "process.rlimits[0].type: no such limit: 'NOFILE'"},
    {"RlimitTwice", "AT_PROCESS",
     R"("rlimits": [{"type": "RLIMIT_AS", "soft": 1, "hard": 1},
                    {"type": "RLIMIT_AS", "soft": 1, "hard": 1}],)",
     "process.rlimits[1].type: 'RLIMIT_AS' is there twice"},
    {"SoftAboveHard", "AT_PROCESS", R"("rlimits": [{"type": "RLIMIT_AS", "soft": 2, "hard": 1}],)",
     "process.rlimits[0].soft: must not be above 'hard'"},
    {"TerminalOfNumber", "AT_PROCESS", R"("terminal": 1,)",
     "process.terminal: must be true or false"},
    {"ConsoleSize", "AT_PROCESS", R"("consoleSize": {"height": 65536, "width": 1},)",
     "process.consoleSize.height: must be a whole number from 0 to 65535"},
    {"OomScore", "AT_PROCESS", R"("oomScoreAdj": 1001,)",
     "process.oomScoreAdj: must be a whole number from -1000 to 1000"},
    {"RelativeMount", "AT_MOUNTS", R"({"destination": "m", "type": "tmpfs"})",
     "mounts[0].destination: must be an absolute path"},
    {"MountOutside", "AT_MOUNTS", R"({"destination": "/m/../../x", "type": "tmpfs"})",
     "mounts[0].destination: must not contain '..'"},
    {"NoMountType", "AT_MOUNTS", R"({"destination": "/m"})", "mounts[0].type: is missing"},
    {"TwoOptionsInOne", "AT_MOUNTS",
     R"({"destination": "/m", "type": "tmpfs", "options": ["ro,suid"]})",
     "mounts[0].options[0]: must be one mount option"},
    {"Namespace", R"({"type": "uts"})", R"({"type": "disk"})",
     "linux.namespaces[1].type: no such namespace: 'disk'"},
    {"NamespaceTwice", R"({"type": "uts"})", R"({"type": "mount"})",
     "linux.namespaces[1].type: 'mount' is there twice"},
    {"HostnameWithoutUts", R"("1.2.0",)", R"("1.2.0", "hostname": "h", "linux": 1,)",
     "member 'linux' is there twice"},
    {"LongHostname", "AT_TOP",
     R"("hostname": "0123456789012345678901234567890123456789012345678901234567890123x",)",
     "hostname: must have at most 64 bytes"},
    {"SchedulerPolicy", "AT_PROCESS", R"("scheduler": {"policy": "SCHED_ISO"},)",
     "process.scheduler.policy: no such name: 'SCHED_ISO'"},
    {"IoPriorityLevel", "AT_PROCESS",
     R"("ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8},)",
     "process.ioPriority.priority: must be a whole number from 0 to 7"},
    {"PersonalityDomain", "AT_LINUX", R"("personality": {"domain": "BSD"},)",
     "linux.personality.domain: must be LINUX or LINUX32"},
    {"Propagation", "AT_LINUX", R"("rootfsPropagation": "upwards",)",
     "linux.rootfsPropagation: no such propagation"},
    {"SwapBelowMemory", "AT_RESOURCES", R"("memory": {"limit": 5, "swap": 4},)",
     "linux.resources.memory.swap: must not be below 'limit'"},
    {"IoWeight", "AT_RESOURCES", R"("blockIO": {"weight": 9},)",
     "linux.resources.blockIO.weight: must be 10 to 1000"},
    {"HugepageSize", "AT_RESOURCES", R"("hugepageLimits": [{"pageSize": "../MB", "limit": 1}],)",
     "linux.resources.hugepageLimits[0].pageSize: must be a number with KB, MB or GB"},
    {"UnifiedPath", "AT_RESOURCES", R"("unified": {"../memory.max": "1"},)",
     "linux.resources.unified['../memory.max']: must be the name of a controller's file"},
    {"UnifiedCore", "AT_RESOURCES", R"("unified": {"cgroup.procs": "1"},)",
     "linux.resources.unified['cgroup.procs']: must be the name of a controller's file"},
    {"SeccompAction", "AT_LINUX", R"("seccomp": {"defaultAction": "SCMP_ACT_SHOUT"},)",
     "linux.seccomp.defaultAction: no such action: 'SCMP_ACT_SHOUT'"},
    {"SeccompArchitecture", "AT_LINUX",
     R"("seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"]},)",
     "linux.seccomp.architectures[0]: no such architecture: 'x86'"},
    {"SeccompFlag", "AT_LINUX",
     R"("seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]},)",
     "linux.seccomp.flags[0]: no such flag: 'SECCOMP_FILTER_FLAG_X'"},
    {"SeccompArgument", "AT_LINUX",
     R"("seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
        "action": "SCMP_ACT_KILL", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]},)",
     "linux.seccomp.syscalls[0].args[0].index: must be a whole number from 0 to 5"},
    {"SeccompOperator", "AT_LINUX",
     R"("seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
        "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 0, "op": "=="}]}]},)",
     "linux.seccomp.syscalls[0].args[0].op: no such operator: '=='"},
    {"SeccompErrno", "AT_LINUX",
     R"("seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1},)",
     "linux.seccomp.defaultErrnoRet: the action has no errno"},
    {"AnnotationOfNumber", "AT_TOP", R"("annotations": {"a": 1},)",
     "annotations['a']: must be a string"},
    {"MaskedPath", "AT_LINUX", R"("maskedPaths": ["proc"],)",
     "linux.maskedPaths[0]: must be an absolute path"},
    {"ReadonlyPath", "AT_LINUX", R"("readonlyPaths": ["/a/.."],)",
     "linux.readonlyPaths[0]: must not contain '..'"},
    {"SysctlPath", "AT_LINUX", R"("sysctl": {"kernel/../x": "1"},)",
     "linux.sysctl['kernel/../x']: must be named by words and dots"},
    {"DeviceType", "AT_LINUX", R"("devices": [{"path": "/dev/x", "type": "d"}],)",
     "linux.devices[0].type: must be c, b, u or p"},
    {"DeviceTwice", "AT_LINUX",
     R"("devices": [{"path": "/dev/x", "type": "p"}, {"path": "/dev/x", "type": "p", "uid": 1}],)",
     "linux.devices[1]: '/dev/x' is there twice, and differs"},
    {"DeviceMajor", "AT_LINUX", R"("devices": [{"path": "/dev/x", "type": "c", "major": 4096}],)",
     "linux.devices[0].major: must be a whole number from 0 to 4095"},
    {"DeviceRule", R"("devices": [])", R"("devices": [{"allow": true, "access": "rx"}])",
     "linux.resources.devices[0].access: must be made of r, w and m"},
    {"PidsLimit", "AT_RESOURCES", R"("pids": {},)", "linux.resources.pids.limit: is missing"},
    {"MemoryLimitOfFraction", "AT_RESOURCES", R"("memory": {"limit": 1.5},)",
     "linux.resources.memory.limit: must be a whole number from -1 to 9223372036854775807"},
};
INSTANTIATE_TEST_SUITE_P(Config, Invalid, testing::ValuesIn(kInvalid), name_of);

TEST(ParseConfig, ReadsEveryMemberOfAProcess) {
    const ProcessSpec process = parsed("AT_PROCESS", R"(
        "terminal": true, "consoleSize": {"height": 24, "width": 80},
        "env": ["A=1", "B="],
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"],
                         "ambient": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 18446744073709551615}],
        "noNewPrivileges": true, "oomScoreAdj": -1000,)")
                                    .container.process;
    ProcessSpec expected;
    expected.terminal = Terminal::Yes;
    expected.window = {.rows = 24, .columns = 80};
    expected.args = {"true"};
    expected.env = {"A=1", "B="};
    expected.cwd = "/";
    expected.capabilities = Capabilities{.bounding = (1ULL << 40U) | 1U, .ambient = 1U << 5U};
    expected.rlimits = {{.resource = 7, .soft = 1, .hard = UINT64_MAX}};
    expected.no_new_privileges = true;
    expected.oom_score_adj = -1000;
    EXPECT_EQ(process, expected);
}

TEST(ParseConfig, ReadsUser) {
    const ProcessSpec process =
        parsed(R"(AT_USER "uid": 0, "gid": 0)",
               R"("uid": 4294967294, "gid": 7, "umask": 63, "additionalGids": [1, 2])")
            .container.process;
    EXPECT_EQ(process.uid, 4294967294U);
    EXPECT_EQ(process.gid, 7U);
    EXPECT_EQ(process.umask, 077U);
    EXPECT_EQ(process.additional_gids, (std::vector<std::uint32_t>{1, 2}));
}

TEST(ParseConfig, ReadsResources) {
    const ResourcesSpec resources = parsed(R"(AT_RESOURCES "devices": [])", R"(
        "devices": [{"allow": false, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 1, "minor": -1, "access": "r"}],
        "memory": {"limit": 1048576, "disableOOMKiller": false},
        "cpu": {"shares": 2, "quota": -1, "period": 100000},
        "pids": {"limit": 32})")
                                        .container.resources;
    ResourcesSpec expected;
    expected.devices = {
        {.allow = false, .type = 'a', .major = {}, .minor = {}, .access = "rwm"},
        {.allow = true, .type = 'c', .major = 1, .minor = {}, .access = "r"},
    };
    expected.memory_limit_bytes = 1048576;
    expected.cpu_shares = 2;
    expected.cpu_quota_us = -1;
    expected.cpu_period_us = 100000;
    expected.pids_limit = 32;
    EXPECT_EQ(resources, expected);
}

TEST(ParseConfig, ReadsDevicesSysctlsAndPaths) {
    const ContainerSpec container = parsed("AT_LINUX", R"(
        "devices": [{"path": "/dev/x", "type": "c", "major": 4095, "minor": 1048575,
                     "fileMode": 8630, "uid": 1, "gid": 2}],
        "sysctl": {"kernel.domainname": "d"},
        "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
        "cgroupsPath": "/a/b", "rootfsPropagation": "rslave",)")
                                        .container;
    const DeviceSpec device = {.path = "/dev/x",
                               .type = 'c',
                               .major = 4095,
                               .minor = 1048575,
                               .file_mode = 0666,  // 8630 is S_IFCHR | 0666
                               .uid = 1,
                               .gid = 2};
    EXPECT_EQ(container.devices, std::vector<DeviceSpec>{device});
    EXPECT_EQ(container.sysctls,
              (std::vector<SysctlSpec>{{.name = "kernel.domainname", .value = "d"}}));
    EXPECT_EQ(container.masked_paths, std::vector<std::string>{"/proc/kcore"});
    EXPECT_EQ(container.read_only_paths, std::vector<std::string>{"/proc/sys"});
}

TEST(ParseConfig, BindsAreKnownByTypeOrOption) {
    const auto bundle = parse_config(config("AT_MOUNTS", R"(
        {"destination": "/a", "type": "bind", "source": "/x/./y/", "options": ["rro", "rslave"]},
        {"destination": "/b", "source": "files", "options": ["rbind", "rnosuid", "rprivate"]})"),
                                     "/b");
    ASSERT_TRUE(bundle.has_value()) << bundle.error().message();
    const std::vector<MountSpec> expected{
        {.destination = "/a", .type = "bind", .source = "/x/y", .options = {"ro", "rro", "rslave"}},
        {.destination = "/b",
         .type = "bind",
         .source = "/b/files",
         .options = {"rbind", "nosuid", "rnosuid", "rprivate"}}};
    EXPECT_EQ(bundle->container.mounts, expected);
}

TEST(ParseConfig, IdsOfABindAreMappedBothOrNeither) {
    const std::string ids = R"([{"containerID": 0, "hostID": 1000, "size": 10}])";
    const auto with = [&](const std::string& more) {
        return parse_config(config("AT_MOUNTS", R"({"destination": "/a", "type": "bind",
            "source": "/x", "uidMappings": )" + ids +
                                                    more + "}"),
                            "/b");
    };
    const auto bundle = with(R"(, "gidMappings": [{"containerID": 1, "hostID": 2, "size": 3}])");
    ASSERT_TRUE(bundle.has_value()) << bundle.error().message();
    const MountSpec& mount = bundle->container.mounts.front();
    EXPECT_EQ(mount.uid_mappings,
              (std::vector<IdMapping>{{.container_id = 0, .host_id = 1000, .size = 10}}));
    EXPECT_EQ(mount.gid_mappings,
              (std::vector<IdMapping>{{.container_id = 1, .host_id = 2, .size = 3}}));
    EXPECT_EQ(with("").error().message(),
              "config.json: mounts[0]: 'uidMappings' and 'gidMappings' need each other");
}

TEST(ParseConfig, AnImageIsNamedByItsIdAndThePathInIt) {
    const std::string id = "sha256:" + std::string(64, 'a');
    const auto with = [](const std::string& source) {
        return parse_config(config("AT_MOUNTS", R"({"destination": "/m", "type": "image",
            "source": ")" + source + R"(", "options": ["ro", "noexec"]})"),
                            "/b");
    };
    const auto bundle = with(id + "/data/large");
    ASSERT_TRUE(bundle.has_value()) << bundle.error().message();
    EXPECT_EQ(bundle->container.mounts, (std::vector<MountSpec>{{.destination = "/m",
                                                                 .type = "image",
                                                                 .source = id + "/data/large",
                                                                 .options = {"ro", "noexec"}}}));
    EXPECT_EQ(image_path(id + "/data/large"), (ImagePath{.id = id, .path = "data/large"}));
    EXPECT_EQ(image_path(id), (ImagePath{.id = id, .path = ""}));
    for (const std::string& bad : {std::string(), std::string("nginx"), id + "a", "x" + id,
                                   "sha256:" + std::string(64, 'G')}) {
        EXPECT_EQ(with(bad).error().message(),
                  "config.json: mounts[0]: an image needs a source 'sha256:DIGITS' or "
                  "'sha256:DIGITS/PATH'");
    }
}

TEST(ParseConfig, R15_WithoutLinuxHasAMountNamespaceAlone) {
    const auto bundle = parse_config(R"({"ociVersion": "1.0.0", "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}}})",
                                     "/b");
    ASSERT_TRUE(bundle.has_value()) << bundle.error().message();
    ContainerSpec expected;
    expected.namespaces.mount = true;
    expected.process.args = {"sh"};
    expected.process.cwd = "/";
    EXPECT_EQ(bundle->container, expected);
}

TEST(ParseConfig, R15_EveryOptionalMemberMayBeAbsentOrNull) {
    const auto bare = parse_config(R"({"ociVersion": "1.0.0", "root": {"path": "r"},
        "process": {"cwd": "/", "args": ["sh"]}, "linux": {}})",
                                   "/b");
    const auto nulls = parse_config(R"({"ociVersion": "1.0.0",
        "root": {"path": "r", "readonly": null},
        "mounts": null, "hostname": null, "domainname": null, "annotations": null, "hooks": null,
        "process": {"cwd": "/", "args": ["sh"], "terminal": null, "consoleSize": null,
                    "user": {"uid": null, "gid": null, "umask": null, "additionalGids": null},
                    "env": null, "capabilities": null, "rlimits": null, "noNewPrivileges": null,
                    "oomScoreAdj": null},
        "linux": {"namespaces": null, "devices": null, "cgroupsPath": null, "sysctl": null,
                  "resources": null, "rootfsPropagation": null, "maskedPaths": null,
                  "readonlyPaths": null, "seccomp": null}})",
                                    "/b");
    ASSERT_TRUE(bare.has_value()) << bare.error().message();
    ASSERT_TRUE(nulls.has_value()) << nulls.error().message();
    EXPECT_EQ(*nulls, *bare);
    const auto resources =
        parse_config(config("AT_RESOURCES", R"("memory": {}, "cpu": {},)"), "/b");
    EXPECT_TRUE(resources.has_value());
}

TEST(ParseConfig, R14_ADeviceGivenTwiceAlikeIsOne) {
    const ContainerSpec container = parsed("AT_LINUX", R"(
        "devices": [{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
                    {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
                    {"path": "/dev/null", "type": "c", "major": 1, "minor": 3}],)")
                                        .container;
    EXPECT_EQ(container.devices.size(), 2U);
}

TEST(ParseConfig, R36_WhatIsGivenTwiceIsThereOnceAndTheLastWins) {
    const ContainerSpec container = parsed("AT_LINUX", R"(
        "maskedPaths": ["/a", "/b", "/a"], "readonlyPaths": ["/c", "/c"],)")
                                        .container;
    EXPECT_EQ(container.masked_paths, (std::vector<std::string>{"/a", "/b"}));
    EXPECT_EQ(container.read_only_paths, std::vector<std::string>{"/c"});
    EXPECT_EQ(
        parsed("AT_PROCESS", R"("env": ["A=1", "B=2", "A=3", "AB=4"],)").container.process.env,
        (std::vector<std::string>{"A=3", "B=2", "AB=4"}));
}

TEST(ParseConfig, ReadsMountsAndDropsOptionsWithoutEffect) {
    const ContainerSpec container = parsed("AT_MOUNTS", R"(
        {"destination": "/c", "type": "cgroup2", "source": "cgroup", "options": ["rprivate", "ro"]}
        )")
                                        .container;
    const MountSpec expected{
        .destination = "/c", .type = "cgroup", .source = "cgroup", .options = {"ro"}};
    EXPECT_EQ(container.mounts, std::vector<MountSpec>{expected});
}

TEST(ParseConfig, ReadsNamesAndAnnotations) {
    const Bundle bundle = parsed("AT_TOP", R"(
        "hostname": "h", "domainname": "d", "annotations": {"io.x/a": "1", "b": ""},)");
    EXPECT_EQ(bundle.container.hostname, "h");
    EXPECT_EQ(bundle.container.domainname, "d");
    EXPECT_EQ(bundle.annotations, (std::map<std::string, std::string>{{"io.x/a", "1"}, {"b", ""}}));
    EXPECT_EQ(bundle.oci_version, "1.2.0");
    EXPECT_EQ(bundle.root_path, "/b/rootfs");
}

TEST(ParseConfig, HostnameNeedsUtsNamespace) {
    std::string text = config("AT_TOP", R"("hostname": "h",)");
    text = replaced(std::move(text), R"(, {"type": "uts"})", "");
    EXPECT_EQ(parse_config(text, "/b").error().message(),
              "config.json: hostname: needs a uts namespace");
}

TEST(ParseConfig, ReadsLimitsOfCgroupV2) {
    const Bundle bundle = parsed("AT_RESOURCES", R"(
        "memory": {"limit": 100, "swap": 150, "reservation": 50},
        "cpu": {"burst": 7, "idle": 1, "cpus": "0-1", "mems": "0"},
        "blockIO": {"weight": 10},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        "unified": {"memory.high": "90"},)");
    EXPECT_EQ(bundle.container.resources,
              (ResourcesSpec{.memory_limit_bytes = 100,
                             .memory_swap_bytes = 150,
                             .memory_reservation_bytes = 50,
                             .cpu_burst_us = 7,
                             .cpu_idle = 1,
                             .block_io_weight = 10,
                             .hugepage_limits = {{.page_size = "2MB", .limit_bytes = 4096}},
                             .unified = {{.file = "memory.high", .value = "90"}}}));
    EXPECT_EQ(bundle.cpuset_cpus, "0-1");
    EXPECT_EQ(bundle.cpuset_mems, "0");
}

TEST(ParseConfig, ReadsPersonalityAndPropagation) {
    const ContainerSpec container = parsed("AT_LINUX", R"(
        "personality": {"domain": "LINUX32"}, "rootfsPropagation": "rshared",)")
                                        .container;
    EXPECT_EQ(container.personality, 8U);  // PER_LINUX32
    EXPECT_EQ(container.root_propagation, Propagation::Shared);
}

TEST(ParseConfig, ANameOfAUserIsNotResolved) {
    EXPECT_EQ(parsed("AT_USER", R"("username": "daemon",)").container.process.uid, 0U);
}

TEST(ParseConfig, UserMayBeOneThatTheImageNames) {
    const ProcessSpec process =
        parsed("AT_USER",
               R"("io.pepita.lookup": {"user": "app", "group": "web", "addsGroups": true},)")
            .container.process;
    EXPECT_EQ(process.user, (UserLookup{.user = "app", .group = "web", .adds_groups = true}));
    const auto again = parse_process(to_json(process));
    ASSERT_TRUE(again.has_value()) << again.error().message();
    EXPECT_EQ(*again, process);
    const std::string long_name(UserLookup::kNameMax + 1, 'a');
    for (const std::string& name : {std::string(), std::string("a:b"), long_name}) {
        const auto refused = parse_config(
            config("AT_USER", R"("io.pepita.lookup": {"user": ")" + name + R"("},)"), "/b");
        ASSERT_FALSE(refused.has_value());
        EXPECT_TRUE(
            refused.error().message().starts_with("config.json: process.user.io.pepita.lookup"));
    }
}

TEST(ParseConfig, NamespacesOfThePodAreNamedWithoutAPath) {
    const auto joined = [](const std::string& type, const std::string& path) {
        return parse_config(replaced(config(), R"({"type": "mount"})",
                                     R"({"type": ")" + type + R"(", "path": ")" + path + R"("})"),
                            "/b");
    };
    EXPECT_EQ(joined("ipc", "pod:")->joined,
              (std::vector{NamespacePath{.type = "ipc", .path = "pod:"}}));
    EXPECT_EQ(joined("pid", "container:c1")->joined,
              (std::vector{NamespacePath{.type = "pid", .path = "container:c1"}}));
    EXPECT_FALSE(joined("pid", "container:../c1").has_value());
    EXPECT_FALSE(joined("pid", "container:").has_value());
    EXPECT_FALSE(joined("network", "pod:").has_value());
}

TEST(ParseResources, ReadsWhatAnUpdateHas) {
    EXPECT_EQ(parse_resources(R"({"pids": {"limit": 7}})").value().pids_limit, 7);
    EXPECT_EQ(parse_resources("[]").error().message(), "resources: must be an object");
}

TEST(ParseConfig, IgnoresWhatTheSpecificationDoesNotKnow) {
    EXPECT_EQ(parsed("AT_TOP", R"("org.example": {"deep": [1]},)").container,
              parsed("AT_TOP", "").container);
}

TEST(ParseConfig, TakesEmptyMembersForNotAsked) {
    EXPECT_EQ(parsed("AT_LINUX", R"("uidMappings": [], "mountLabel": "", "seccomp": null,)"),
              parsed("AT_TOP", R"("hooks": {"prestart": [], "poststop": null},)"));
}

TEST(ParseConfig, RootPathMayBeAbsoluteOrLeadOutOfTheBundle) {
    EXPECT_EQ(parsed(R"("rootfs")", R"("/srv/./root")").root_path, "/srv/root");
    EXPECT_EQ(parsed(R"("rootfs")", R"("../other")").root_path, "/other");
}

TEST(ParseConfig, SaysWhereTextStopsBeingJson) {
    EXPECT_EQ(parse_config("{\n  \"a\": ]\n}", "/b").error().message(),
              "config.json: line 2, column 8: not JSON");
    EXPECT_EQ(parse_config("", "/b").error().message(), "config.json: line 1, column 1: not JSON");
    EXPECT_EQ(parse_config("{} x", "/b").error().message(),
              "config.json: line 1, column 4: not JSON");
    EXPECT_EQ(parse_config("[]", "/b").error().message(), "config.json: must be an object");
}

TEST(ParseConfig, RefusesInvalidUtf8AndNumbersWithoutEnd) {
    EXPECT_EQ(parse_config("{\"a\": \"\xff\"}", "/b").error().code(), Code::InvalidArgument);
    EXPECT_EQ(parse_config("{\"a\": 1e999}", "/b").error().code(), Code::InvalidArgument);
}

TEST(ParseConfig, NestsSixtyFourDeepAndNoDeeper) {
    const std::string deep(63, '[');
    const std::string ends(63, ']');
    EXPECT_TRUE(parse_config(config("AT_TOP", "\"x\": " + deep + ends + ","), "/b").has_value());
    EXPECT_EQ(
        parse_config(config("AT_TOP", "\"x\": [" + deep + ends + "],"), "/b").error().message(),
        "config.json: nested more than 64 deep");
}

TEST(ParseConfig, TakesFourMebibytesAndNoMore) {
    std::string text = config();
    text.resize(std::size_t{4} << 20U, ' ');
    EXPECT_TRUE(parse_config(text, "/b").has_value());
    text.push_back(' ');
    EXPECT_EQ(parse_config(text, "/b").error().message(), "config.json: larger than 4194304 bytes");
}

TEST(ParseConfig, ShowsForeignTextOnOneLine) {
    const auto bundle = parse_config(config("1.2.0", "2.0.0-\\n\\u001b[1m"), "/b");
    EXPECT_EQ(bundle.error().message(),
              "config.json: ociVersion: version '2.0.0-\\x0a\\x1b[1m' is not supported");
}

TEST(DefaultConfig, IsAcceptedAndGolden) {
    const auto bundle = parse_config(default_config(), "/b");
    ASSERT_TRUE(bundle.has_value()) << bundle.error().message();
    EXPECT_EQ(bundle->container.process.terminal, Terminal::Yes);
    EXPECT_TRUE(bundle->container.root_read_only);
    EXPECT_EQ(bundle->container.mounts.size(), 7U);
    test::expect_golden("runtime/config.json", default_config());
}

TEST(ParseProcess, IsTheInverseOfToJson) {
    ProcessSpec process;
    process.terminal = Terminal::Yes;
    process.window = {.rows = 1, .columns = 2};
    process.uid = 1;
    process.gid = 2;
    process.additional_gids = {3, 4};
    process.umask = 022;
    process.args = {"a \"b\"", "\n", "ü"};
    process.env = {"A=b"};
    process.cwd = "/x";
    process.capabilities = Capabilities{.bounding = 0x1ff'ffff'ffff,
                                        .effective = 1,
                                        .inheritable = 2,
                                        .permitted = 4,
                                        .ambient = 8};
    process.rlimits = {{.resource = 15, .soft = 1, .hard = 2}};
    process.no_new_privileges = true;
    process.oom_score_adj = 5;
    const auto read = parse_process(to_json(process));
    ASSERT_TRUE(read.has_value()) << read.error().message();
    EXPECT_EQ(*read, process);
}

TEST(ParseProcess, NamesTheMember) {
    EXPECT_EQ(parse_process(R"({"user": {"gid": -1}})").error().message(),
              "process.user.gid: must be a whole number from 0 to 4294967294");
    EXPECT_EQ(parse_process("nonsense").error().message(), "process: line 1, column 2: not JSON");
}

TEST(ParseProcess, R16_NeedsArgsAndCwdOnly) {
    const auto process = parse_process(R"({"args": ["id"], "cwd": "/"})");
    ASSERT_TRUE(process.has_value()) << process.error().message();
    EXPECT_EQ(process->uid, 0U);
    EXPECT_EQ(process->gid, 0U);
    EXPECT_EQ(parse_process(R"({"args": ["id"], "cwd": "/", "user": {"uid": 5}})")->uid, 5U);
    EXPECT_EQ(parse_process(R"({"args": ["id"]})").error().message(), "process.cwd: is missing");
    EXPECT_EQ(parse_process(R"({"cwd": "/"})").error().message(), "process.args: is missing");
}

TEST(ParseProcess, R16_IsReadFromAPipe) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const Fd out(ends[0]);
    Fd in(ends[1]);
    ASSERT_TRUE(write_all(in.ref(), R"({"args": ["id"], "cwd": "/"})", "pipe").has_value());
    in = Fd();
    const auto process = load_process("/dev/fd/" + std::to_string(out.ref().number()));
    ASSERT_TRUE(process.has_value()) << process.error().message();
    EXPECT_EQ(process->args, std::vector<std::string>{"id"});
}

TEST(ToJson, KeepsTextThatIsNoUtf8FromAborting) {
    ProcessSpec process;
    process.args = {"\xff"};
    process.cwd = "/";
    EXPECT_EQ(parse_process(to_json(process))->args, std::vector<std::string>{"\uFFFD"});
}

class LoadBundle : public testing::Test {
public:
    LoadBundle() {
        std::string name = testing::TempDir() + "bundle-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    ~LoadBundle() override { std::filesystem::remove_all(directory_); }
    LoadBundle(const LoadBundle&) = delete;
    LoadBundle& operator=(const LoadBundle&) = delete;
    LoadBundle(LoadBundle&&) = delete;
    LoadBundle& operator=(LoadBundle&&) = delete;

    void write(const std::string& text) const { std::ofstream(directory_ / "config.json") << text; }
    std::string load_error() const {
        const auto bundle = load_bundle(directory_.string());
        return bundle.has_value() ? "none" : bundle.error().message();
    }

protected:
    std::filesystem::path directory_;
};

TEST_F(LoadBundle, GivesAbsolutePaths) {
    write(config());
    std::filesystem::create_directory(directory_ / "rootfs");
    const auto bundle = load_bundle(directory_.string() + "/../" + directory_.filename().string());
    ASSERT_TRUE(bundle.has_value()) << bundle.error().message();
    EXPECT_EQ(bundle->directory, directory_.string());
    EXPECT_EQ(bundle->root_path, directory_.string() + "/rootfs");
}

TEST_F(LoadBundle, R29_RefusesARootThatIsALink) {
    write(config());
    std::filesystem::create_directory(directory_ / "real");
    std::filesystem::create_symlink("real", directory_ / "rootfs");
    EXPECT_TRUE(load_error().ends_with("/rootfs': is a symbolic link, or reached by one"))
        << load_error();
}

TEST_F(LoadBundle, WithoutBundleConfigOrRootIsNotFound) {
    EXPECT_EQ(load_bundle("/nonexistent/b").error().message(),
              "bundle '/nonexistent/b': No such file or directory (ENOENT)");
    EXPECT_EQ(load_error(), "bundle '" + directory_.string() + "': open '" + directory_.string() +
                                "/config.json': No such file or directory (ENOENT)");
    write(config());
    EXPECT_EQ(load_error(), "bundle '" + directory_.string() + "': config.json: root.path: '" +
                                directory_.string() +
                                "/rootfs': No such file or directory (ENOENT)");
    EXPECT_EQ(load_bundle(directory_.string()).error().code(), Code::NotFound);
}

TEST_F(LoadBundle, RootThatIsAFileIsRefused) {
    write(config());
    std::ofstream(directory_ / "rootfs") << "x";
    EXPECT_TRUE(load_error().ends_with("/rootfs': Not a directory (ENOTDIR)")) << load_error();
}

TEST_F(LoadBundle, ConfigThatIsNoRegularFileIsRefusedAtOnce) {
    ASSERT_EQ(::mkfifo((directory_ / "config.json").c_str(), 0600), 0);
    EXPECT_TRUE(load_error().ends_with("/config.json' is not a regular file")) << load_error();
}

TEST_F(LoadBundle, R28_PathThatIsNoUtf8IsNamedAndRefused) {
    const std::filesystem::path odd = directory_ / "b\xffx";
    std::filesystem::create_directory(odd);
    const std::string message =
        "bundle '" + directory_.string() + "/b\\xffx': a bundle's path must be UTF-8";
    EXPECT_EQ(load_bundle(odd.string()).error().message(), message);
    std::filesystem::create_symlink(odd, directory_ / "plain");
    EXPECT_EQ(load_bundle((directory_ / "plain").string()).error().message(), message);
}

TEST_F(LoadBundle, FileOverTheLimitIsRefused) {
    std::string text = config();
    text.resize((std::size_t{4} << 20U) + 1, ' ');
    write(text);
    EXPECT_TRUE(load_error().ends_with("config.json': larger than 4194304 B")) << load_error();
}

TEST(ContainerId, IsOneToHundredAndTwentyEightOfAFewLetters) {
    EXPECT_TRUE(check_container_id("a").has_value());
    EXPECT_TRUE(check_container_id("web-1_a.B+2").has_value());
    EXPECT_TRUE(check_container_id(std::string(128, 'x')).has_value());
    EXPECT_FALSE(check_container_id(std::string(129, 'x')).has_value());
    EXPECT_FALSE(check_container_id("").has_value());
    EXPECT_FALSE(check_container_id(".").has_value());
    EXPECT_FALSE(check_container_id("..").has_value());
    EXPECT_FALSE(check_container_id("a/b").has_value());
    EXPECT_EQ(check_container_id("a\nb").error().message(),
              "container id 'a\\x0ab' must be 1 to 128 of [A-Za-z0-9._+-]");
}

}  // namespace
}  // namespace pepita::runtime
