#pragma once

#include <linux/bpf.h>

#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// The BPF program (BPF_PROG_TYPE_CGROUP_DEVICE) that these rules make: for each of read,
/// write and making a node the last rule that names it decides, and without one it is refused.
std::vector<bpf_insn> device_program(const std::vector<DeviceRule>& rules);

/// The rules that every container has after its own: making nodes, and the default devices and
/// terminals (as runc allows them).
std::vector<DeviceRule> default_device_rules();

/// Makes the kernel ask this program about each access of the cgroup's processes.
Result<void> attach_device_filter(FdRef cgroup, const std::vector<DeviceRule>& rules);

}  // namespace pepita::runtime::container
