#pragma once

#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::vmm {

/// A kernel file that is larger is refused.
inline constexpr Bytes kKernelFileMax = 512_MiB;

/// An uncompressed vmlinux, open for reading, as KvmConfig::kernel wants it: `path` itself where
/// that is an ELF, else what the bzImage there holds.
///
/// Unpacking takes a tenth of a second, so it is kept in `cache_directory` (made where it is
/// missing) under the SHA-256 of the bzImage. What is kept is checked whole before it is used, and
/// made anew where it is damaged. Nobody else may write in that directory: the check is against
/// accidents. Several processes may do this at once.
///
/// Errors: those of open(2) and unpack_kernel(), naming neither path (the caller knows it);
/// ResourceExhausted (ENOSPC) while writing the cache, and nothing half-written stays behind.
Result<Fd> open_vmlinux(const std::string& path, const std::string& cache_directory);

}  // namespace pepita::vmm
