#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {

/// A shared mapping of a file that somebody else can cut short at any time.
///
/// The file is one in memory (memfd, tmpfs, hugetlbfs): the pages of any other come from a disk or
/// from another program, which may never have them.
///
/// To touch what is missing then would be SIGBUS, and the end of a process that serves others too.
/// Here all of the mapping becomes private zeros instead, and `lost` is signalled; whoever waits
/// for it ends what it had with the lender. A signal handler does that, for all mappings of this
/// kind in the process; SIGBUS of any other kind goes where it went before the first of them.
///
/// System calls that are given such memory fail with EFAULT and signal nothing.
///
/// Thread: any. Move-only.
class LentMapping {
public:
    LentMapping() = default;

    /// `size` bytes from `offset` on, neither of them a multiple of anything; what is mapped are
    /// the file's own pages around them, which may be huge ones. `lost` is an eventfd that outlives
    /// the mapping.
    /// Errors: InvalidArgument for another kind of file, no bytes, or where they are not all in it;
    /// mmap(2)'s; ResourceExhausted for more than 8192 at a time.
    static Result<LentMapping> map(FdRef file, Bytes size, std::uint64_t offset, FdRef lost);

    LentMapping(LentMapping&& other) noexcept
        : mapping_(std::move(other.mapping_)),
          bytes_(std::exchange(other.bytes_, {})),
          watched_(std::exchange(other.watched_, kNone)) {}
    LentMapping& operator=(LentMapping&& other) noexcept {
        std::swap(mapping_, other.mapping_);
        std::swap(bytes_, other.bytes_);
        std::swap(watched_, other.watched_);
        return *this;
    }
    LentMapping(const LentMapping&) = delete;
    LentMapping& operator=(const LentMapping&) = delete;
    ~LentMapping();

    std::span<std::byte> bytes() const { return bytes_; }

private:
    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    LentMapping(Mapping mapping, std::span<std::byte> bytes, std::size_t watched)
        : mapping_(std::move(mapping)), bytes_(bytes), watched_(watched) {}

    Mapping mapping_;
    std::span<std::byte> bytes_;   // of it
    std::size_t watched_ = kNone;  // place in the handler's list
};

}  // namespace pepita
