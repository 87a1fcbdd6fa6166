#include "runtime/pod_cgroup.h"

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/oci/host_cgroup.h"

namespace pepita::runtime {
namespace {

constexpr std::size_t kTextMax = std::size_t{1} << 20U;

Result<std::string> read_text(const char* path) {
    const Fd file = TRY(open_file(path, O_RDONLY));
    return read_all(file.ref(), kTextMax, path);
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
    return cgroup;
}

PodCgroup::~PodCgroup() {
    for (const std::string& group : former_) {
        (void)oci::enter_cgroups(std::span(&group, 1));  // one that is gone keeps the new one
    }
    std::ranges::reverse(made_);
    oci::remove_cgroups(made_);
}

}  // namespace pepita::runtime
