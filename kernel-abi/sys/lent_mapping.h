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

    /// `lost` is an eventfd that outlives the mapping.
    /// Errors: mmap(2)'s; ResourceExhausted for more than 8192 at a time.
    static Result<LentMapping> map(FdRef file, Bytes size, std::uint64_t offset, FdRef lost);

    LentMapping(LentMapping&& other) noexcept
        : mapping_(std::move(other.mapping_)), watched_(std::exchange(other.watched_, kNone)) {}
    LentMapping& operator=(LentMapping&& other) noexcept {
        std::swap(mapping_, other.mapping_);
        std::swap(watched_, other.watched_);
        return *this;
    }
    LentMapping(const LentMapping&) = delete;
    LentMapping& operator=(const LentMapping&) = delete;
    ~LentMapping();

    std::span<std::byte> bytes() const { return mapping_.bytes(); }

private:
    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    LentMapping(Mapping mapping, std::size_t watched)
        : mapping_(std::move(mapping)), watched_(watched) {}

    Mapping mapping_;
    std::size_t watched_ = kNone;  // place in the handler's list
};

}  // namespace pepita
