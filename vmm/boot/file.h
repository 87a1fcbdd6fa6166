#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::vmm {

/// The size of a regular file. Errors: InvalidArgument for anything else.
Result<Bytes> file_size(FdRef file);

/// Fills `into` with the file's bytes from `offset` on.
/// Errors: OutOfRange where the file ends before; read(2)'s.
Result<void> read_exactly(FdRef file, std::span<std::byte> into, std::uint64_t offset);

}  // namespace pepita::vmm
