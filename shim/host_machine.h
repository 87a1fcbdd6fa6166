#pragma once

#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "shim/microvm.h"

namespace pepita::shim {

/// Isolation::Process: in place of a microVM, a child of ours with the container engine
/// (runtime/host_agent.h). Roots that would be disks are loop devices; files of the host are where
/// they are. The calling process is in a kRuntimeGroup (runtime/pod_cgroup.h).
Result<std::unique_ptr<Microvm>> start_host_machine(EventLoop& loop, const MicrovmConfig& config,
                                                    Microvm::Callbacks callbacks);

}  // namespace pepita::shim
