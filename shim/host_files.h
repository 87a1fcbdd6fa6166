#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/user_namespace.h"
#include "runtime/rpc/on_result.h"
#include "shim/pod_directory.h"

namespace pepita::shim {

/// A file or directory of the host that a container gets.
struct SharedPath {
    enum class Access : std::uint8_t {
        ReadWrite,
        ReadOnly,       // what is mounted below is as it is on the host
        ReadOnlyBelow,  // recursively
    };
    enum class Links : bool { Followed, Refused };
    std::string name;    // in the container's directory of the tree
    std::string source;  // absolute
    Access access = Access::ReadWrite;
    Links links = Links::Followed;
    bool has_submounts = true;  // with what is mounted below it
    bool follows_host = false;  // what the host mounts and unmounts below it later, it has too
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::vector<IdMapping> uid_mappings = {};  // ids on the disk as the guest has them; none: as is
    std::vector<IdMapping> gid_mappings = {};
    // NOLINTEND(readability-redundant-member-init)
};

/// The files of the host that a pod's guest sees: one tree, and virtiofsd, which serves it. Each
/// container has a directory in it; each file or directory of the host is a mount below that.
///
/// The tree is in a mount namespace of its own, which only this and virtiofsd have: with both, the
/// tree and its mounts are gone, whoever dies when.
///
/// A mount gets its flags before it is attached: virtiofsd has a copy of each, which later changes
/// do not reach. No mount has devices or set-user-ID programs for the host; the guest has the flags
/// of its own mounts.
///
/// Thread: that of the loop. Paths are resolved by a child process, because a server of a network
/// file system may not answer.
class HostFiles {
public:
    /// virtiofsd has exited. `is_orderly`: by itself, as it does when the machine has ended, with
    /// whatever status: it may have been writing to it.
    using OnEnd = std::move_only_function<void(bool is_orderly, const std::string& reason)>;

    /// `on_end` is called at most once, and may destroy this.
    /// Errors: NotFound where virtiofsd is not installed; what kept it from starting.
    static Result<std::unique_ptr<HostFiles>> start(EventLoop& loop, const PodDirectory& directory,
                                                    OnEnd on_end);
    HostFiles(const HostFiles&) = delete;
    HostFiles& operator=(const HostFiles&) = delete;
    HostFiles(HostFiles&&) = delete;
    HostFiles& operator=(HostFiles&&) = delete;
    ~HostFiles();

    /// The vhost-user connection to virtiofsd; once.
    Fd take_socket() { return std::move(socket_); }

    int pid() const { return server_.pid(); }

    /// Makes `container`'s directory with `paths` in it: all of them, or none and an error.
    /// Errors: name the source: NotFound, ELOOP; Unsupported for a device of the host;
    /// DeadlineExceeded where it cannot be resolved within kDeadline.
    void attach(const std::string& container, std::vector<SharedPath> paths,
                runtime::OnResult<void> done);

    /// Unmounts and removes the directory, after the guest has unmounted it. Nothing there is fine.
    void detach(const std::string& container, runtime::OnResult<void> done);

private:
    using Work = std::move_only_function<Result<void>()>;
    struct Job {
        Child child;
        Fd report;
        runtime::OnResult<void> done;
        EventLoop::Watch watch;
        EventLoop::Timer deadline;
    };
    HostFiles(EventLoop& loop, Child server, Fd messages, Fd mounts, Fd socket, OnEnd on_end)
        : loop_(loop),
          server_(std::move(server)),
          messages_(std::move(messages)),
          mounts_(std::move(mounts)),
          socket_(std::move(socket)),
          on_end_(std::move(on_end)) {}
    void run(Work work, runtime::OnResult<void> done);
    Result<void> begin(Work work, runtime::OnResult<void>& done);
    void finish(std::uint64_t number, bool is_late);
    void on_exit();

    EventLoop& loop_;
    Child server_;
    Fd messages_;  // its standard error
    Fd mounts_;    // the tree's mount namespace
    Fd socket_;
    OnEnd on_end_;
    EventLoop::Watch server_watch_;
    std::uint64_t next_job_ = 0;
    std::map<std::uint64_t, Job> jobs_;
};

}  // namespace pepita::shim
