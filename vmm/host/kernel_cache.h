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
/// Decompressing takes a tenth of a second, so the result is kept in `cache_directory` (made where
/// it is missing), named by the image's device, inode, size and times: to find it costs a few
/// system calls. The directory is trusted, and must be ours and writable by nobody else. It holds
/// the kernels of one image: storing one removes those of images that were replaced. Several
/// processes may do this at once.
///
/// Errors: those of open(2) and unpack_kernel(), naming neither path (the caller knows it);
/// PermissionDenied for a cache that others may write to; Aborted where the image changes
/// meanwhile; ResourceExhausted (ENOSPC) while writing the cache, and nothing half-written stays
/// behind.
Result<Fd> open_vmlinux(const std::string& path, const std::string& cache_directory);

}  // namespace pepita::vmm
