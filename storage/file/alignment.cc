#include "storage/file/alignment.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/memory.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

namespace pepita::storage::file {
namespace {

// Memory that lies exactly so, and no better, and as much: the smallest that the kernel takes.
Result<Alignment> probe(FdRef file) {
    constexpr std::size_t most = 64U << 10U;
    const PageBuffer buffer = TRY(PageBuffer::create({.size = Bytes(2 * most)}));
    for (std::size_t size = kSectorSize.value(); size <= most; size *= 2) {
        const std::span<std::byte> here = buffer.bytes().subspan(size, size);
        // At `size` and not at 0, which would suit every alignment. Behind the end is no error.
        const ssize_t got =
            ::pread(file.number(), here.data(), here.size(), static_cast<off_t>(size));
        if (got >= 0) {
            const auto found = static_cast<std::uint32_t>(size);
            return Alignment{.memory = found, .offset = found};
        }
        if (errno != EINVAL) {
            return Error::from_errno(errno, "pread");
        }
    }
    return Error(Code::Unsupported, "the file takes no direct I/O");
}

}  // namespace

Result<Alignment> direct_alignment(FdRef file) {
    struct statx about{};
    const int told = ::statx(file.number(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &about);
    if (told != 0 || (about.stx_mask & STATX_DIOALIGN) == 0) {
        return probe(file);
    }
    if (!std::has_single_bit(about.stx_dio_mem_align) ||
        !std::has_single_bit(about.stx_dio_offset_align)) {  // 0: not for this file
        return Error(Code::Unsupported, "the file takes no direct I/O");
    }
    return Alignment{.memory = about.stx_dio_mem_align, .offset = about.stx_dio_offset_align};
}

bool is_aligned(std::span<const BlockDevice::Segment> segments, Alignment alignment) {
    return std::ranges::all_of(segments, [alignment](BlockDevice::Segment segment) {
        // SAFETY: the number is only looked at.
        return reinterpret_cast<std::uintptr_t>(segment.data()) % alignment.memory == 0 &&
               segment.size() % alignment.offset == 0;
    });
}

}  // namespace pepita::storage::file
