#pragma once

#include <string>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime {

/// What pepita-init is in a guest, without a guest: the container engine behind the guest API, in a
/// child of pepita-shim that containers of the host are forked from.

/// Its descriptors: a connected socket with the guest API, and a message socket over which each
/// message brings the connection of a stream, as kGuestStreamPort has them.
inline constexpr int kAgentApiNumber = 3;
inline constexpr int kAgentStreamNumber = 4;

struct HostAgentOptions {
    std::string place;          // a directory, for its mounts
    std::string cgroups;        // open_container_groups()
    std::string network;        // the path of the pod's network namespace; "": the host's
    std::string shared_mounts;  // the path of the host's mount namespace, in /proc
};

/// Serves until it is shut down or the other end is gone, and ends what runs then. For a process of
/// one thread with a mount namespace of its own.
Result<void> run_host_agent(const HostAgentOptions& options);

/// Ends the containers that an agent has left behind, with their cgroups. Waits for them, a few
/// seconds at most.
void end_host_containers(const std::string& cgroups);

}  // namespace pepita::runtime
