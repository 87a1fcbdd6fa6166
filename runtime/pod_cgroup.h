#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime {

/// The calling process in a cgroup of the host, in each hierarchy that is mounted, v2's and v1's;
/// what it starts from then on is there, too. When this goes the process goes back to where it was,
/// and the groups that were made for it are removed. Of a killed process they stay.
class PodCgroup {
public:
    /// `place`: spelled as linux.cgroupsPath. A group that is there is entered as it is, and stays.
    /// Errors: InvalidArgument for no such place; FailedPrecondition without a hierarchy;
    /// mkdir(2)'s and the kernel's, with the file. Then nothing has changed.
    static Result<std::unique_ptr<PodCgroup>> enter(std::string_view place);
    /// Removes the groups at `place` that a killed shim has left; of a pod without a microVM also
    /// those of its containers, with all that runs there. Waits a few seconds at most.
    static Result<void> remove(std::string_view place);
    PodCgroup(const PodCgroup&) = delete;
    PodCgroup& operator=(const PodCgroup&) = delete;
    PodCgroup(PodCgroup&&) = delete;
    PodCgroup& operator=(PodCgroup&&) = delete;
    /// Waits a moment for other processes that are on their way out.
    ~PodCgroup();

private:
    PodCgroup() = default;

    std::vector<std::string> former_;  // the process's groups before
    std::vector<std::string> made_;    // from the top
};

/// Of a pod without a microVM: below the pod's own group, beside those of its containers, the group
/// of the processes that are no container's. In v2 none may be in a group that has groups with
/// limits. No container has the name: check_container_id().
inline constexpr std::string_view kRuntimeGroup = "/shim~";

/// Ends what runs in containers that a killed shim has left on the host, with their groups;
/// `cgroups`: of the shim, which are passed over unless they are a kRuntimeGroup. Waits as above.
void end_left_containers(std::span<const std::string> cgroups);

/// The directory of v2 in which the groups of such a pod's containers are made, with all
/// controllers that it can have. Errors: FailedPrecondition where the calling process is in no
/// kRuntimeGroup of v2; Unsupported where v2 is not mounted.
Result<std::string> open_container_groups();

}  // namespace pepita::runtime
