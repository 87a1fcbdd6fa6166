#include "test/support/full_spec.h"

#include <cstdint>
#include <limits>

#include "runtime/container.h"

namespace pepita::test {

using runtime::Capabilities;
using runtime::ContainerSpec;
using runtime::ProcessSpec;
using runtime::Terminal;

ProcessSpec full_process() {
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    return {.terminal = Terminal::Yes,
            .window = {.rows = 25, .columns = 80},
            .uid = 1000,
            .gid = 1001,
            .additional_gids = {4, 20, 0xffff'fffe},
            .umask = 0027,
            .args = {"/bin/sh", "-c", "", "a b\n\"c\""},
            .env = {"PATH=/bin", "EMPTY=", "Ä=ö"},
            .cwd = "/home/user",
            .capabilities = Capabilities{.bounding = 0x1ff'ffff'ffff,
                                         .effective = 2,
                                         .inheritable = 4,
                                         .permitted = 8,
                                         .ambient = 16},
            .rlimits = {{.resource = 7, .soft = 1024, .hard = kMost},
                        {.resource = 4, .soft = 0, .hard = 1}},
            .no_new_privileges = true,
            .oom_score_adj = -998,
            .streams = {.has_stdin = true, .has_stdout = true, .has_stderr = true}};
}

ContainerSpec full_container() {
    return {
        .id = "web-1",
        .root = {.disk = runtime::DiskId{.serial = "disk0"},
                 .tree = runtime::TreePath{.tag = "pod", .path = "rootfs"},
                 .written_to = runtime::WrittenTo::ScratchDisk,
                 .scratch_disk = {.pci_address = "0000:00:06.0"},
                 .scratch_directory = "web"},
        .root_read_only = true,
        .hostname = "host",
        .domainname = "domain",
        .namespaces =
            {.pid = true, .mount = true, .ipc = true, .uts = true, .network = true, .cgroup = true},
        .mounts = {{.destination = "/proc", .type = "proc", .source = "proc", .options = {}},
                   {.destination = "/tmp",
                    .type = "tmpfs",
                    .source = "tmpfs-source",
                    .options = {"nosuid", "size=1m"}},
                   {.destination = "/etc/hosts",
                    .type = "bind",
                    .source = "",
                    .options = {"ro"},
                    .tree = runtime::TreePath{.tag = "pod", .path = "volumes/hosts"}}},
        .masked_paths = {"/proc/kcore", "/proc/keys"},
        .read_only_paths = {"/proc/sys"},
        .devices = {{.path = "/dev/fuse",
                     .type = 'b',
                     .major = 10,
                     .minor = 229,
                     .file_mode = 0640,
                     .uid = 5,
                     .gid = 6}},
        .resources =
            {.memory_limit_bytes = -1,
             .pids_limit = 100,
             .cpu_shares = 1024,
             .cpu_quota_us = -1,
             .cpu_period_us = 50'000,
             .devices = {{.allow = true, .type = 'c', .major = 10, .minor = {}, .access = "rw"},
                         {.allow = false, .type = 'b', .major = {}, .minor = -1, .access = "m"}}},
        .sysctls = {{.name = "kernel.shmmax", .value = "65536"}},
        .process = full_process()};
}

}  // namespace pepita::test
