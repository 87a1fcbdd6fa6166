#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/user_namespace.h"

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

/// For sched_setattr(2); a member that the policy does not have is 0.
struct SchedulerSpec {
    std::uint32_t policy = 0;  // SCHED_*
    std::int32_t nice = 0;
    std::uint32_t priority = 0;
    std::uint64_t flags = 0;  // SCHED_FLAG_*
    std::uint64_t runtime_ns = 0;
    std::uint64_t deadline_ns = 0;
    std::uint64_t period_ns = 0;

    friend bool operator==(const SchedulerSpec&, const SchedulerSpec&) = default;
};

struct IoPrioritySpec {
    std::uint32_t io_class = 0;  // IOPRIO_CLASS_*
    std::uint32_t priority = 0;  // 0 to 7

    friend bool operator==(const IoPrioritySpec&, const IoPrioritySpec&) = default;
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

/// A user as images and Kubernetes name one. The files that explain names are the container's own,
/// so it is found where the process is made.
struct UserLookup {
    static constexpr std::size_t kNameMax = 256;

    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::string user = {};     // a name of /etc/passwd, or a number
    std::string group = {};    // a name of /etc/group, or a number; "": that of the user
    bool adds_groups = false;  // those of /etc/group that the user is a member of
    // NOLINTEND(readability-redundant-member-init)

    friend bool operator==(const UserLookup&, const UserLookup&) = default;
};

/// What a user is to the kernel, in the numbers of its process's user namespace.
struct UserIds {
    static constexpr std::size_t kGroupsMax = 65'536;  // NGROUPS_MAX

    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::vector<std::uint32_t> groups;  // the additional ones

    friend bool operator==(const UserIds&, const UserIds&) = default;
};

struct ProcessSpec {
    /// Of arguments and environment together, each with its end: what execve(2) takes with a stack
    /// of 8 MiB. A bound for every message that carries them.
    static constexpr std::size_t kStringsBytesMax = std::size_t{2} << 20U;

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
    std::optional<SchedulerSpec> scheduler;
    std::optional<IoPrioritySpec> io_priority;
    std::string apparmor_profile;    // "": none is set
    std::string selinux_label;       // "": none is set
    std::optional<UserLookup> user;  // then it says what uid and gid are

    friend bool operator==(const ProcessSpec&, const ProcessSpec&) = default;
};

/// A disk of the machine. Its letter changes when disks come and go, so it is named by one of
/// these; the other is empty.
struct DiskId {
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::string serial = {};       // the virtio-blk ID
    std::string pci_address = {};  // "0000:01:1f.0"
    // NOLINTEND(readability-redundant-member-init)

    friend bool operator==(const DiskId&, const DiskId&) = default;
};

/// A file or directory of a tree, as a rule one that the host shares by virtio-fs.
struct TreePath {
    std::string tag;   // of the virtio-fs device; an absolute path: a directory of the guest's own
    std::string path;  // in the tree; "": its top

    friend bool operator==(const TreePath&, const TreePath&) = default;
};

/// Where a container's writes to its root are stored.
enum class WrittenTo : std::uint32_t {
    Nothing,      // the root is read-only, and has every mount point
    Memory,       // a tmpfs of the guest
    ScratchDisk,  // a directory of an ext4
    InPlace,      // the tree itself, as runc does
};

struct RootSpec {
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::optional<DiskId> disk = {};    // an EROFS image
    std::optional<TreePath> tree = {};  // exactly one of disk and tree
    WrittenTo written_to = WrittenTo::Memory;
    DiskId scratch_disk = {};            // for ScratchDisk
    std::string scratch_directory = {};  // made in it for this container; "": no other uses it
    bool maps_ids = false;  // the disk's ids are those inside of the container's user namespace
    // NOLINTEND(readability-redundant-member-init)

    friend bool operator==(const RootSpec&, const RootSpec&) = default;
};

struct MountSpec {
    static constexpr std::string_view kImage = "image";

    std::string destination;  // absolute, in the container
    /// proc sysfs tmpfs devpts mqueue cgroup; bind for a tree; image for a part of an image, which
    /// is read-only; volume for what the root's image has there, which can be written to though the
    /// root is read-only.
    std::string type;
    /// "pod:NAME" of a tmpfs: the one of that name that the pod's containers share. Of an image:
    /// the path in it, "": its top; in a bundle the image's id, or that, "/" and the path.
    std::string source;
    std::vector<std::string> options;
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::optional<TreePath> tree = {};         // what a bind mounts
    std::optional<DiskId> disk = {};           // the image
    std::vector<IdMapping> uid_mappings = {};  // of a bind, by whoever shares the tree
    std::vector<IdMapping> gid_mappings = {};
    // NOLINTEND(readability-redundant-member-init)

    friend bool operator==(const MountSpec&, const MountSpec&) = default;
};

/// Added to a clock in a new time namespace.
struct ClockOffset {
    std::int64_t seconds = 0;
    std::uint32_t nanoseconds = 0;

    friend bool operator==(const ClockOffset&, const ClockOffset&) = default;
};

/// Names the namespaces that the containers of a pod share with each other and not with the host.
inline constexpr const char* kNamespacesOfPod = "pod:";

/// Which namespaces are new; the container shares the rest with pepita-init, but those that are
/// another container's.
struct NamespacesSpec {
    bool pid = false;
    bool mount = false;
    bool ipc = false;
    bool uts = false;
    bool network = false;
    bool cgroup = false;
    bool user = false;
    bool time = false;
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    // Ids of containers whose namespaces are joined; then it is not new. Where there is no guest,
    // also kNamespacesOfPod, or a namespace's path.
    std::string pid_of = {};
    std::string ipc_of = {};
    std::string uts_of = {};
    std::vector<IdMapping> uid_mappings = {};  // of the new user namespace
    std::vector<IdMapping> gid_mappings = {};
    std::optional<ClockOffset> monotonic = {};  // of the new time namespace
    std::optional<ClockOffset> boottime = {};
    // NOLINTEND(readability-redundant-member-init)

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

struct HugepageLimit {
    std::string page_size;  // "2MB"
    std::uint64_t limit_bytes = 0;

    friend bool operator==(const HugepageLimit&, const HugepageLimit&) = default;
};

/// A file of cgroup v2 by its name.
struct UnifiedLimit {
    std::string file;
    std::string value;

    friend bool operator==(const UnifiedLimit&, const UnifiedLimit&) = default;
};

struct ResourcesSpec {
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::optional<std::int64_t> memory_limit_bytes = {};  // -1: none
    std::optional<std::int64_t> pids_limit = {};          // -1: none
    std::optional<std::uint64_t> cpu_shares = {};
    std::optional<std::int64_t> cpu_quota_us = {};
    std::optional<std::uint64_t> cpu_period_us = {};
    std::vector<DeviceRule> devices = {};                       // later rules win
    std::optional<std::int64_t> memory_swap_bytes = {};         // memory and swap; -1: none
    std::optional<std::int64_t> memory_reservation_bytes = {};  // -1: none
    std::optional<std::uint64_t> cpu_burst_us = {};
    std::optional<std::int64_t> cpu_idle = {};          // 0 or 1
    std::optional<std::uint64_t> block_io_weight = {};  // 10 to 1000
    std::vector<HugepageLimit> hugepage_limits = {};
    std::vector<UnifiedLimit> unified = {};  // written last
    // NOLINTEND(readability-redundant-member-init)

    friend bool operator==(const ResourcesSpec&, const ResourcesSpec&) = default;
};

struct SysctlSpec {
    std::string name;
    std::string value;

    friend bool operator==(const SysctlSpec&, const SysctlSpec&) = default;
};

/// A filter for system calls, compiled.
struct SeccompSpec {
    static constexpr std::size_t kInstructionBytes = 8;                        // sock_filter
    static constexpr std::size_t kProgramBytesMax = 4096 * kInstructionBytes;  // BPF_MAXINSNS
    static constexpr std::uint32_t kFlags = 0b111;  // SECCOMP_FILTER_FLAG_TSYNC, _LOG, _SPEC_ALLOW

    std::string program;
    std::uint32_t flags = 0;

    friend bool operator==(const SeccompSpec&, const SeccompSpec&) = default;
};

/// A program that is run at a moment of a container's life, with its state on its input.
struct HookSpec {
    static constexpr std::uint64_t kTimeoutSecondsMax = 86'400;

    std::string path;  // absolute
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::vector<std::string> args = {};
    std::vector<std::string> env = {};
    std::optional<std::uint64_t> timeout_seconds = {};
    // NOLINTEND(readability-redundant-member-init)

    friend bool operator==(const HookSpec&, const HookSpec&) = default;
};

/// The hooks that run in the container's namespaces.
struct InnerHooks {
    std::vector<HookSpec> create_container;  // once the container is set up
    std::vector<HookSpec> start_container;   // right before the program
    std::string create_state;                // JSON that begins with {"pid":0, the child's own
    std::string start_state;

    friend bool operator==(const InnerHooks&, const InnerHooks&) = default;
};

/// linux.rootfsPropagation, of all mounts of the container.
enum class Propagation : std::uint32_t { None, Private, Slave, Shared, Unbindable };

struct ContainerSpec {
    std::string id;
    RootSpec root;
    bool root_read_only = false;  // once every mount point is made
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
    std::optional<SeccompSpec> seccomp;
    std::optional<std::uint32_t> personality;  // for personality(2)
    Propagation root_propagation = Propagation::None;
    InnerHooks hooks;

    friend bool operator==(const ContainerSpec&, const ContainerSpec&) = default;
};

/// How long processes waited for a resource. Source: Linux Documentation/accounting/psi.rst.
struct Stall {
    std::uint64_t total_us = 0;
    std::uint64_t average_10s = 0;  // of the last seconds: hundredths of a percent; likewise below
    std::uint64_t average_60s = 0;
    std::uint64_t average_300s = 0;

    friend bool operator==(const Stall&, const Stall&) = default;
};
struct Pressure {
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    Stall some = {};  // at least one process waited
    Stall full = {};  // all of them did
    // NOLINTEND(readability-redundant-member-init)

    friend bool operator==(const Pressure&, const Pressure&) = default;
};

/// What a container has used: from the files of its cgroup, and from /proc of the processes in it.
/// Source: Linux Documentation/admin-guide/cgroup-v2.rst.
struct ContainerStats {
    // NOLINTBEGIN(readability-redundant-member-init): as above.
    std::uint64_t cpu_usage_us = 0;
    std::uint64_t cpu_user_us = 0;
    std::uint64_t cpu_system_us = 0;
    std::uint64_t cpu_throttled_us = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t memory_anonymous_bytes = 0;
    std::uint64_t memory_inactive_file_bytes = 0;  // not of the working set
    std::uint64_t page_faults = 0;
    std::uint64_t page_faults_major = 0;
    std::uint64_t oom_kills = 0;
    std::uint64_t pids = 0;
    std::uint64_t cpu_periods = 0;  // of cpu.max
    std::uint64_t cpu_throttled_periods = 0;
    Pressure cpu_pressure = {};
    std::uint64_t memory_limit_bytes = 0;  // 0: none
    std::uint64_t memory_peak_bytes = 0;
    std::uint64_t memory_file_bytes = 0;
    std::uint64_t memory_swap_bytes = 0;
    Pressure memory_pressure = {};
    std::uint64_t pids_limit = 0;     // 0: none
    std::uint64_t io_read_bytes = 0;  // of all disks together
    std::uint64_t io_written_bytes = 0;
    std::uint64_t io_reads = 0;
    std::uint64_t io_writes = 0;
    Pressure io_pressure = {};
    std::uint64_t memory_mapped_bytes = 0;  // of files
    std::uint64_t memory_kernel_bytes = 0;
    std::uint64_t memory_limit_hits = 0;
    std::uint64_t huge_page_bytes = 0;   // of 2 MiB
    std::uint64_t processes = 0;         // pids counts threads
    std::uint64_t open_files = 0;        // descriptors of all its processes; of a huge number, some
    std::uint64_t sockets = 0;           // among them
    std::uint64_t open_files_limit = 0;  // of its first process
    std::uint64_t disk_bytes = 0;        // of the file system of its root
    std::uint64_t disk_free_bytes = 0;
    std::uint64_t disk_inodes = 0;
    std::uint64_t disk_free_inodes = 0;
    // NOLINTEND(readability-redundant-member-init)

    friend bool operator==(const ContainerStats&, const ContainerStats&) = default;
};

}  // namespace pepita::runtime
