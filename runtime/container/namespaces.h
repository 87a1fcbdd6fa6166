#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// CLONE_NEW* of the spec for clone3(2). Without CLONE_NEWCGROUP: a cgroup namespace begins at the
/// cgroup that its maker is in, so the child makes it once it is in its own. Without CLONE_NEWTIME:
/// enter_new_time() is for that.
std::uint64_t clone_flags(const NamespacesSpec& namespaces);

/// CLONE_NEW* of all namespaces that a container does not share with its parent, to join them.
std::uint64_t join_flags(const NamespacesSpec& namespaces);

/// What has a container's process in a namespace that its parent cannot be in while it forks.
class NextChild {
public:
    NextChild() = default;
    NextChild(NextChild&&) = delete;
    NextChild& operator=(NextChild&&) = delete;
    NextChild(const NextChild&) = delete;
    NextChild& operator=(const NextChild&) = delete;
    /// Children are made in the caller's own namespaces again. In the child it does nothing of use.
    ~NextChild();

    /// In the pid namespace of the process behind `pidfd`. The child must not be dumpable from its
    /// first moment: root of the container sees it at once, while its root is still the caller's.
    Result<void> enter_pid_of(FdRef pidfd);
    /// In a new time namespace with these offsets.
    Result<void> enter_new_time(const NamespacesSpec& namespaces);
    void forget();  // in the child

private:
    Fd pid_;
    Fd time_;
    int dumpable_ = 0;
};

/// Maps the ids of the user namespace that the child `pid` has made.
Result<void> map_ids(pid_t pid, const NamespacesSpec& namespaces);

/// The id of the parent's namespace for one of the container's; nullopt: it is not mapped.
std::optional<std::uint32_t> mapped_id(const std::vector<IdMapping>& mappings, std::uint32_t id);

/// Becomes root of the user namespace that the caller is in.
Result<void> become_inner_root();

/// Brings "lo" of the current network namespace up.
Result<void> raise_loopback();

}  // namespace pepita::runtime::container
