#pragma once

#include <cstdint>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {

/// A listening vsock socket, non-blocking. Errors: Unsupported without vsock in the kernel.
Result<Fd> listen_vsock(std::uint32_t port);

/// A connection to `port` of the host (CID 2), blocking.
Result<Fd> connect_host(std::uint32_t port);

/// The next client of a non-blocking listener, non-blocking. A client that is not the host is
/// PermissionDenied: in a guest's own vsock only the host and the guest itself can be.
Result<Fd> accept_host(FdRef listener);

}  // namespace pepita::runtime::guest
