#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime {

/// The process that stands on the host for one in a guest: its pid is what a pid file holds, so
/// that whoever waits for and signals pids (conmon, a process supervisor) need not know of guests.
/// It is a child of pepita-run and goes to the next subreaper when that exits.
///
/// What goes over its socket, whose other end the shim holds; all numbers u32, little-endian:
///   to the proxy:  one exit status (as the shell counts). It exits with that at once.
///   to the shim:   the number of each signal it gets, to be sent to the process in the guest.
/// End of file at the proxy, without a status: the shim is gone; it exits with 255.
/// End of file at the shim: somebody has killed the proxy with SIGKILL; so goes the process.
struct Proxy {
    Child process;
    Fd socket;  // the shim's end
};

/// What a caller finds that enters the proxy's mount namespace: the files of the host that the
/// container has, where its root is no disk.
struct ContainerView {
    std::string root;  // its directory
    bool is_read_only = false;
    std::vector<MountSpec> mounts;
};

/// Starts one. It has nothing open but its end of the socket, a session of its own, and empty
/// namespaces: a caller that enters them finds no process and no interface of the host, and of its
/// files those that are `shown`. It is in the host's `cgroups`, so that what a caller reads there
/// is the pod's; and in the network namespace `network`, by which containers of a pod name each
/// other. "": in an empty one, as where it cannot be joined: the shim says what is wrong with it.
Result<Proxy> start_proxy(std::span<const std::string> cgroups,
                          const std::optional<ContainerView>& shown = std::nullopt,
                          const std::string& network = "");

}  // namespace pepita::runtime
