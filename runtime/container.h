#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pepita::runtime {

/// What a container is, as the guest is told: the OCI configuration, checked and translated, with
/// all that pepita does not do refused before. Plain values, compared by value.
/// Source: OCI runtime-spec v1.2, config.md and config-linux.md.

struct Capabilities {  // bit n: capability number n of Linux
    std::uint64_t bounding = 0;
    std::uint64_t effective = 0;
    std::uint64_t inheritable = 0;
    std::uint64_t permitted = 0;
    std::uint64_t ambient = 0;

    friend bool operator==(const Capabilities&, const Capabilities&) = default;
};

struct Rlimit {
    std::uint32_t resource = 0;  // RLIMIT_* of x86-64
    std::uint64_t soft = 0;
    std::uint64_t hard = 0;

    friend bool operator==(const Rlimit&, const Rlimit&) = default;
};

enum class Terminal : bool { No, Yes };

struct WindowSize {
    std::uint32_t rows = 0;
    std::uint32_t columns = 0;

    friend bool operator==(const WindowSize&, const WindowSize&) = default;
};

/// Which streams someone will hold the other end of; the others are /dev/null.
struct Streams {
    bool has_stdin = false;
    bool has_stdout = false;
    bool has_stderr = false;

    friend bool operator==(const Streams&, const Streams&) = default;
};

struct ProcessSpec {
    Terminal terminal = Terminal::No;
    WindowSize window;  // 0 x 0: unset
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::vector<std::uint32_t> additional_gids;
    std::optional<std::uint32_t> umask;
    std::vector<std::string> args;  // at least one
    std::vector<std::string> env;
    std::string cwd;  // absolute
    std::optional<Capabilities> capabilities;
    std::vector<Rlimit> rlimits;
    bool no_new_privileges = false;
    std::optional<std::int32_t> oom_score_adj;
    Streams streams;

    friend bool operator==(const ProcessSpec&, const ProcessSpec&) = default;
};

struct MountSpec {
    std::string destination;  // absolute, in the container
    std::string type;         // proc sysfs tmpfs devpts mqueue cgroup
    std::string source;
    std::vector<std::string> options;

    friend bool operator==(const MountSpec&, const MountSpec&) = default;
};

struct NamespacesSpec {
    bool pid = false;
    bool mount = false;
    bool ipc = false;
    bool uts = false;
    bool network = false;
    bool cgroup = false;

    friend bool operator==(const NamespacesSpec&, const NamespacesSpec&) = default;
};

struct DeviceSpec {
    std::string path;
    char type = 'c';  // c b u p
    std::int64_t major = 0;
    std::int64_t minor = 0;
    std::uint32_t file_mode = 0666;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;

    friend bool operator==(const DeviceSpec&, const DeviceSpec&) = default;
};

struct DeviceRule {
    bool allow = false;
    char type = 'a';  // a c b
    std::optional<std::int64_t> major;
    std::optional<std::int64_t> minor;
    std::string access;  // of "rwm"

    friend bool operator==(const DeviceRule&, const DeviceRule&) = default;
};

struct ResourcesSpec {
    std::optional<std::int64_t> memory_limit_bytes;  // -1: none
    std::optional<std::int64_t> pids_limit;          // -1: none
    std::optional<std::uint64_t> cpu_shares;
    std::optional<std::int64_t> cpu_quota_us;
    std::optional<std::uint64_t> cpu_period_us;
    std::vector<DeviceRule> devices;  // later rules win

    friend bool operator==(const ResourcesSpec&, const ResourcesSpec&) = default;
};

struct SysctlSpec {
    std::string name;
    std::string value;

    friend bool operator==(const SysctlSpec&, const SysctlSpec&) = default;
};

struct ContainerSpec {
    std::string id;
    std::string root_disk_serial;
    std::string scratch_disk_serial;  // takes what is written; "": memory of the guest does
    bool root_read_only = false;
    std::string hostname;
    std::string domainname;
    NamespacesSpec namespaces;
    std::vector<MountSpec> mounts;
    std::vector<std::string> masked_paths;
    std::vector<std::string> read_only_paths;
    std::vector<DeviceSpec> devices;
    ResourcesSpec resources;
    std::vector<SysctlSpec> sysctls;
    ProcessSpec process;

    friend bool operator==(const ContainerSpec&, const ContainerSpec&) = default;
};

}  // namespace pepita::runtime
