#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/foreground.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/shim_process.h"
#include "runtime/proxy.h"

namespace pepita::runtime::cli {

/// A container of ours in the making, with its proxy and its shim; or with that of the pod which
/// its annotations name, and then the shim is not ours to end. What is not let go of by release()
/// is taken down when this goes, by asking the shim and then, where that does not help, by force:
/// nothing of a container that failed is left.
class Launch {
public:
    /// Starts proxy and shim. All are borrowed for its life.
    static Result<std::unique_ptr<Launch>> begin(EventLoop& loop, const Command& command,
                                                 const Bundle& bundle);
    Launch(const Launch&) = delete;
    Launch& operator=(const Launch&) = delete;
    Launch(Launch&&) = delete;
    Launch& operator=(Launch&&) = delete;
    ~Launch();

    /// Has the shim make the container, and writes the pid file.
    Result<void> create();

    /// The poststart hooks. Errors: of the first that fails; the container is not to go on then.
    Result<void> run_hooks_after_start();

    ShimLink& link() { return *link_; }
    Foreground& foreground() { return *foreground_; }

    /// The container stays, with shim and proxy, when this and we go.
    void release();

private:
    Launch(const Command& command, const Bundle& bundle, std::vector<std::string> cgroups);
    Result<void> start();
    Result<void> start_own_shim();
    Result<std::optional<std::string>> find_pod() const;
    Result<void> join(const std::string& pod);
    Result<void> run_hooks_before();
    Error shim_end();
    Result<void> say_isolation();
    void end_shim();
    void sweep();

    const Command& command_;
    const Bundle& bundle_;
    std::vector<std::string> cgroups_;  // of the host, for the processes below
    std::unique_ptr<Proxy> proxy_;
    std::unique_ptr<Child> shim_;  // none: it is another's pod
    std::uint32_t shim_pid_ = 0;
    bool has_run_hooks_ = false;
    Fd socket_;  // until link_ has it
    std::unique_ptr<ShimLink> link_;
    std::unique_ptr<Foreground> foreground_;
    bool is_asked_ = false;  // the shim may have something of it
    bool is_released_ = false;
};

}  // namespace pepita::runtime::cli
