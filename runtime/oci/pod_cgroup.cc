#include "runtime/pod_cgroup.h"

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/cgroup.h"
#include "runtime/oci/host_cgroup.h"

namespace pepita::runtime {
namespace {

constexpr std::size_t kTextMax = std::size_t{1} << 20U;

Result<std::string> read_text(const char* path) {
    const Fd file = TRY(open_file(path, O_RDONLY));
    return read_all(file.ref(), kTextMax, path);
}

/// The calling process's, in v2.
struct OwnGroup {
    std::string mount;
    std::string directory;
};
Result<OwnGroup> own_group() {
    std::vector<oci::CgroupMount> mounts =
        oci::cgroup_mounts(TRY(read_text("/proc/self/mountinfo")));
    std::erase_if(mounts, [](const oci::CgroupMount& mount) { return !mount.options.empty(); });
    const auto groups = oci::cgroups_of(mounts, TRY(read_text("/proc/self/cgroup")));
    if (groups.empty()) {
        return Error(Code::Unsupported,
                     "containers without a microVM need cgroup v2, which is not mounted");
    }
    return OwnGroup{.mount = mounts.front().path, .directory = groups.front()};
}

/// For the groups below it. Where it has processes of its own, they get none.
void enable_controllers(const std::string& group) {
    std::string rest = read_file(group + "/cgroup.controllers").value_or("");
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find_first_of(" \n"), rest.size());
        (void)write_file(group + "/cgroup.subtree_control", "+" + rest.substr(0, end)).has_value();
        rest.erase(0, end + 1);
    }
}

}  // namespace

Result<std::unique_ptr<PodCgroup>> PodCgroup::enter(std::string_view place) {
    const std::string path = TRY(oci::cgroup_place(place));
    const auto mounts = oci::cgroup_mounts(TRY(read_text("/proc/self/mountinfo")));
    if (mounts.empty()) {
        return Error(Code::FailedPrecondition, "no cgroup file system is mounted");
    }
    std::unique_ptr<PodCgroup> cgroup(new PodCgroup);
    cgroup->former_ = oci::cgroups_of(mounts, TRY(read_text("/proc/self/cgroup")));
    oci::MadeCgroups made = TRY(oci::make_cgroups(mounts, path));
    cgroup->made_ = std::move(made.made);
    TRY(oci::enter_cgroups(made.groups));
    if (path.ends_with(kRuntimeGroup)) {
        // Nobody else's, whoever has left them there.
        for (std::string& group : made.groups) {
            cgroup->made_.push_back(group.substr(0, group.size() - kRuntimeGroup.size()));
            cgroup->made_.push_back(std::move(group));
        }
    }
    return cgroup;
}

Result<std::string> open_container_groups() {
    const OwnGroup own = TRY(own_group());
    if (!own.directory.ends_with(kRuntimeGroup)) {
        return Error(Code::FailedPrecondition,
                     "cgroup '" + own.directory + "' is not for the runtime alone");
    }
    std::string group = own.directory.substr(0, own.directory.size() - kRuntimeGroup.size());
    for (std::size_t end = own.mount.size(); end != std::string::npos;
         end = group.find('/', end + 1)) {
        enable_controllers(group.substr(0, end));
    }
    enable_controllers(group);
    return group;
}

void end_left_containers(std::span<const std::string> cgroups) {
    for (const std::string& group : cgroups) {
        if (!group.ends_with(kRuntimeGroup)) {
            continue;
        }
        std::error_code failed;
        std::vector<std::string> left;
        const std::string place = group.substr(0, group.size() - kRuntimeGroup.size());
        for (const auto& entry : std::filesystem::directory_iterator(place, failed)) {
            // Of v2, where alone containers have groups.
            const std::string path = entry.path().string();
            if (entry.is_directory(failed) && path != group &&
                std::filesystem::exists(path + "/cgroup.kill", failed)) {
                left.push_back(path);
            }
        }
        for (const std::string& path : left) {
            (void)container::Cgroup::end(path).has_value();  // its own runtime may be at it, too
        }
    }
}

Result<void> PodCgroup::remove(std::string_view place) {
    const std::string path = TRY(oci::cgroup_place(place));
    std::vector<std::string> groups;
    for (const auto& mount : oci::cgroup_mounts(TRY(read_text("/proc/self/mountinfo")))) {
        groups.push_back((mount.path + path).append(kRuntimeGroup));
    }
    end_left_containers(groups);
    oci::remove_cgroups(groups);
    return {};
}

PodCgroup::~PodCgroup() {
    for (const std::string& group : former_) {
        (void)oci::enter_cgroups(std::span(&group, 1));  // one that is gone keeps the new one
    }
    std::ranges::reverse(made_);
    oci::remove_cgroups(made_);
}

}  // namespace pepita::runtime
