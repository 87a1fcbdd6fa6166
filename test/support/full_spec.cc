#include "test/support/full_spec.h"

#include <cstdint>
#include <limits>
#include <string>

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
            .streams = {.has_stdin = true, .has_stdout = true, .has_stderr = true},
            .scheduler = runtime::SchedulerSpec{.policy = 6,
                                                .nice = -3,
                                                .priority = 4,
                                                .flags = 3,
                                                .runtime_ns = 10,
                                                .deadline_ns = 20,
                                                .period_ns = 30},
            .io_priority = runtime::IoPrioritySpec{.io_class = 2, .priority = 7},
            .apparmor_profile = "web",
            .selinux_label = "system_u:system_r:container_t:s0",
            .user = runtime::UserLookup{.user = "app", .group = "web", .adds_groups = true}};
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
        .namespaces = {.pid = true,
                       .mount = true,
                       .ipc = true,
                       .uts = true,
                       .network = true,
                       .cgroup = true,
                       .user = true,
                       .time = true,
                       .pid_of = "a",
                       .ipc_of = "b",
                       .uts_of = "c",
                       .uid_mappings = {{.container_id = 0, .host_id = 100'000, .size = 65'536}},
                       .gid_mappings = {{.container_id = 1, .host_id = 2, .size = 3}},
                       .monotonic = runtime::ClockOffset{.seconds = -5, .nanoseconds = 6},
                       .boottime = runtime::ClockOffset{.seconds = 7, .nanoseconds = 8}},
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
                         {.allow = false, .type = 'b', .major = {}, .minor = -1, .access = "m"}},
             .memory_swap_bytes = 1 << 20,
             .memory_reservation_bytes = 1 << 19,
             .cpu_burst_us = 1000,
             .cpu_idle = 1,
             .block_io_weight = 500,
             .hugepage_limits = {{.page_size = "2MB", .limit_bytes = 4 << 20}},
             .unified = {{.file = "memory.high", .value = "5000"}}},
        .sysctls = {{.name = "kernel.shmmax", .value = "65536"}},
        .process = full_process(),
        .seccomp = runtime::SeccompSpec{.program = std::string(16, '\x06'), .flags = 2},
        .personality = 8,
        .root_propagation = runtime::Propagation::Slave,
        .hooks = {.create_container = {{.path = "/bin/hook",
                                        .args = {"hook", "-x"},
                                        .env = {"A=B"},
                                        .timeout_seconds = 5}},
                  .start_container = {{.path = "/bin/other"}},
                  .create_state = R"({"pid":0,"status":"creating"})",
                  .start_state = R"({"pid":0,"status":"created"})"}};
}

runtime::ContainerStats full_stats() {
    return {.cpu_usage_us = 1,
            .cpu_user_us = 2,
            .cpu_system_us = 3,
            .cpu_throttled_us = 4,
            .memory_bytes = 0xffff'ffff'ffff'ffff,
            .memory_anonymous_bytes = 6,
            .memory_inactive_file_bytes = 7,
            .page_faults = 8,
            .page_faults_major = 9,
            .oom_kills = 10,
            .pids = 11,
            .cpu_periods = 12,
            .cpu_throttled_periods = 13,
            .cpu_stalled_us = 14,
            .memory_limit_bytes = 15,
            .memory_peak_bytes = 16,
            .memory_file_bytes = 17,
            .memory_swap_bytes = 18,
            .memory_stalled_us = 19,
            .pids_limit = 20,
            .io_read_bytes = 21,
            .io_written_bytes = 22,
            .io_reads = 23,
            .io_writes = 24,
            .io_stalled_us = 25};
}

}  // namespace pepita::test
