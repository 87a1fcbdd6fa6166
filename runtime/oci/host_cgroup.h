#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime::oci {

/// The host's cgroups that `linux.cgroupsPath` names: those of a pod's own processes. What a
/// container may use is limited in the guest, so no limit is set here; its caller sets and reads
/// what it likes.

/// The path below each hierarchy's root: "/a/b" of "/a/b" and of "a/b"; of "slice:prefix:name", as
/// callers with --systemd-cgroup write it, the path that systemd would give that scope.
/// Errors: InvalidArgument for a path with "..", or for no slice.
Result<std::string> cgroup_place(std::string_view cgroups_path);

/// A mounted hierarchy: v2's, or one of v1's.
struct CgroupMount {
    std::string path;
    std::string root = "/";  // which of its groups is mounted there
    // NOLINTNEXTLINE(readability-redundant-member-init): may be left out.
    std::string options = {};    // of v1; its controllers are among them
    bool has_cpuset_v1 = false;  // a new group of which has no CPU and no memory until it is given

    friend bool operator==(const CgroupMount&, const CgroupMount&) = default;
};

/// Those in the text of a mountinfo file.
std::vector<CgroupMount> cgroup_mounts(std::string_view mountinfo);

/// The directories of a process's groups, by the text of its /proc/PID/cgroup; none in a hierarchy
/// whose mount does not show it.
std::vector<std::string> cgroups_of(std::span<const CgroupMount> mounts, std::string_view text);

struct MadeCgroups {
    std::vector<std::string> groups;  // a directory in each hierarchy
    std::vector<std::string> made;    // which of them and of those above are new, from the top
};
/// Makes a group at `place` in each of `mounts`. One that is there is used as it is. On an error
/// what was made is removed.
Result<MadeCgroups> make_cgroups(std::span<const CgroupMount> mounts, std::string_view place);

/// The groups of a configuration on this host: none where the path is empty.
Result<std::vector<std::string>> make_cgroups(std::string_view cgroups_path);

/// Moves the calling process there.
Result<void> enter_cgroups(std::span<const std::string> directories);

/// Removes the groups; of a kRuntimeGroup also the one above. Waits a moment for processes that are
/// on their way out; groups with others stay.
void remove_cgroups(std::span<const std::string> directories);

}  // namespace pepita::runtime::oci
