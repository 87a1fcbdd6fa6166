#include "runtime/oci/names.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace pepita::runtime::oci {
namespace {

constexpr auto kCapabilities = std::to_array<std::string_view>({
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
});
static_assert(kCapabilities.size() == 41);
static_assert(kCapabilities[21] == "CAP_SYS_ADMIN");
static_assert(kCapabilities[40] == "CAP_CHECKPOINT_RESTORE");

constexpr auto kRlimits = std::to_array<std::string_view>({
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
});
static_assert(kRlimits.size() == 16);
static_assert(kRlimits[7] == "RLIMIT_NOFILE");

constexpr auto kMountFlags =
    std::to_array<MountFlag>({{.name = "defaults", .set = 0, .clear = 0},
                              {.name = "ro", .set = MS_RDONLY, .clear = 0},
                              {.name = "rw", .set = 0, .clear = MS_RDONLY},
                              {.name = "nosuid", .set = MS_NOSUID, .clear = 0},
                              {.name = "suid", .set = 0, .clear = MS_NOSUID},
                              {.name = "nodev", .set = MS_NODEV, .clear = 0},
                              {.name = "dev", .set = 0, .clear = MS_NODEV},
                              {.name = "noexec", .set = MS_NOEXEC, .clear = 0},
                              {.name = "exec", .set = 0, .clear = MS_NOEXEC},
                              {.name = "sync", .set = MS_SYNCHRONOUS, .clear = 0},
                              {.name = "async", .set = 0, .clear = MS_SYNCHRONOUS},
                              {.name = "dirsync", .set = MS_DIRSYNC, .clear = 0},
                              {.name = "mand", .set = MS_MANDLOCK, .clear = 0},
                              {.name = "nomand", .set = 0, .clear = MS_MANDLOCK},
                              {.name = "atime", .set = 0, .clear = MS_NOATIME},
                              {.name = "noatime", .set = MS_NOATIME, .clear = 0},
                              {.name = "diratime", .set = 0, .clear = MS_NODIRATIME},
                              {.name = "nodiratime", .set = MS_NODIRATIME, .clear = 0},
                              {.name = "relatime", .set = MS_RELATIME, .clear = 0},
                              {.name = "norelatime", .set = 0, .clear = MS_RELATIME},
                              {.name = "strictatime", .set = MS_STRICTATIME, .clear = 0},
                              {.name = "nostrictatime", .set = 0, .clear = MS_STRICTATIME},
                              {.name = "silent", .set = MS_SILENT, .clear = 0},
                              {.name = "loud", .set = 0, .clear = MS_SILENT},
                              {.name = "lazytime", .set = MS_LAZYTIME, .clear = 0},
                              {.name = "nolazytime", .set = 0, .clear = MS_LAZYTIME},
                              {.name = "nosymfollow", .set = MS_NOSYMFOLLOW, .clear = 0},
                              {.name = "symfollow", .set = 0, .clear = MS_NOSYMFOLLOW},
                              {.name = "acl", .set = MS_POSIXACL, .clear = 0},
                              {.name = "noacl", .set = 0, .clear = MS_POSIXACL},
                              {.name = "iversion", .set = MS_I_VERSION, .clear = 0},
                              {.name = "noiversion", .set = 0, .clear = MS_I_VERSION}});

template <std::size_t N>
std::optional<std::uint32_t> number_of(const std::array<std::string_view, N>& names,
                                       std::string_view name) {
    const auto at = std::ranges::find(names, name);
    if (at == names.end()) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(at - names.begin());
}

template <std::size_t N>
std::optional<std::string_view> name_of(const std::array<std::string_view, N>& names,
                                        std::uint32_t number) {
    if (number >= N) {
        return std::nullopt;
    }
    return names[number];
}

}  // namespace

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
}

std::optional<std::uint32_t> capability_number(std::string_view name) {
    return number_of(kCapabilities, name);
}
std::optional<std::string_view> capability_name(std::uint32_t number) {
    return name_of(kCapabilities, number);
}
std::optional<std::uint32_t> rlimit_number(std::string_view name) {
    return number_of(kRlimits, name);
}
std::optional<std::string_view> rlimit_name(std::uint32_t number) {
    return name_of(kRlimits, number);
}

std::span<const std::string_view> capability_names() { return kCapabilities; }

std::span<const MountFlag> mount_flags() { return kMountFlags; }

}  // namespace pepita::runtime::oci
