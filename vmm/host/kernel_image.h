#pragma once

#include <cstddef>
#include <span>

#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::vmm {

/// A kernel that unpacks to more is refused.
inline constexpr Bytes kUnpackedKernelMax = 1024_MiB;

/// Whether a file that begins so is an ELF, and therefore needs no unpacking.
bool is_elf(std::span<const std::byte> start);

/// The vmlinux in a Linux bzImage for x86-64, packed with zstd, xz, gzip or LZ4.
/// Errors: InvalidArgument for what is no bzImage; DataLoss for one that is truncated or damaged;
/// Unsupported for another compression, naming it; OutOfRange beyond kUnpackedKernelMax.
/// Source: Linux Documentation/arch/x86/boot.rst.
Result<Mapping> unpack_kernel(std::span<const std::byte> image);

}  // namespace pepita::vmm
