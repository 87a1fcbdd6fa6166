#pragma once

#include <string>

#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Makes a network namespace with nothing but its loopback interface, which is up, and mounts it at
/// `path`, an absolute one whose directory is made where it is missing. Errors: AlreadyExists;
/// unshare(2)'s, mount(2)'s. Then nothing is left. Thread: any, of any number.
Result<void> make_network_namespace(const std::string& path);

/// One that is not there is no error.
Result<void> remove_network_namespace(const std::string& path);

}  // namespace pepita::cri
