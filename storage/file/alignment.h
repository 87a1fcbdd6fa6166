#pragma once

#include <cstdint>
#include <span>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "storage/block_device.h"

namespace pepita::storage::file {

/// What a file wants of I/O that goes past the page cache. Powers of two.
struct Alignment {
    std::uint32_t memory = 1;  // of where each piece of memory lies
    std::uint32_t offset = 1;  // of offsets in the file, and of lengths

    friend bool operator==(const Alignment&, const Alignment&) = default;
};

/// What a file that was opened with O_DIRECT wants: as statx(2) tells (Linux 6.1), else as reading
/// its beginning shows. Errors: Unsupported where the file cannot do it; pread(2)'s.
Result<Alignment> direct_alignment(FdRef file);

/// Whether all of a request's memory is so.
bool is_aligned(std::span<const BlockDevice::Segment> segments, Alignment alignment);

}  // namespace pepita::storage::file
