#pragma once

#include <string>
#include <string_view>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// The signal that asks a container to end: its own, the image's, or SIGTERM.
/// Errors: InvalidArgument that names the member, for a signal that Linux does not have.
Result<int> stop_signal_of(const v1::ContainerConfig& container, const ImageConfig& image);

/// The same, as CRI's status has it.
v1::Signal to_signal(int number);

/// "SIGTERM", "TERM", "15", "SIGRTMIN+3", "RTMAX-1": in the case of images, and of CRI.
Result<int> signal_number(std::string_view name);

}  // namespace pepita::cri
