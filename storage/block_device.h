#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::storage {

enum class Access : std::uint8_t { ReadWrite, ReadOnly };

enum class IoStatus : std::uint8_t {
    Ok,
    Failed,
    NoSpace,      // what backs the device is full; nothing was changed
    Unsupported,  // the device cannot do this
};

enum class IoOperation : std::uint8_t { Read, Write, Flush, Discard, WriteZeroes };

/// How an operator reads it.
constexpr std::string_view name_of(IoOperation operation) {
    constexpr std::array<std::string_view, 5> names{"read", "write", "flush", "discard",
                                                    "write zeroes"};
    return names.at(static_cast<std::size_t>(operation));
}

/// How large a request may become by putting several together that lie one behind the other.
/// No segments: it does not pay.
struct MergeLimits {
    std::size_t segments = 0;
    Bytes bytes;
};

/// A request that is done, by the tag it was made with.
struct IoCompletion {
    std::uint64_t tag = 0;
    IoStatus status = IoStatus::Failed;

    friend bool operator==(const IoCompletion&, const IoCompletion&) = default;
};

/// Whether [first, first + length) are whole sectors inside `capacity`. No sum of it can wrap, so
/// all three may come from a guest.
constexpr bool is_within(Sectors capacity, Sectors first, Bytes length) {
    return length.value() % kSectorSize.value() == 0 && first <= capacity &&
           length.value() / kSectorSize.value() <= (capacity - first).value();
}

/// Whether [first, first + count) lies inside `capacity`, and is not empty.
constexpr bool is_within(Sectors capacity, Sectors first, Sectors count) {
    return count.value() != 0 && first <= capacity && count <= capacity - first;
}

/// A disk: sectors that are read and written without waiting.
///
/// Requests are collected and go out together at submit(). Completions arrive at the listener in
/// any order, several at once: from poll(), from drain(), or from the device's event loop, and
/// never from within another call. A device in memory has no loop: who called submit() calls
/// poll() until it gives false, before it waits for anything. Requests in flight at the same time
/// are not ordered among each other.
///
/// One queue's door to a disk: others may be open to the same disk on other threads.
///
/// Thread: that of the device's event loop.
class BlockDevice {
public:
    /// A piece of memory that a request moves bytes from or to.
    using Segment = std::span<std::byte>;
    using OnComplete = std::move_only_function<void(std::span<const IoCompletion>)>;

    BlockDevice() = default;
    BlockDevice(const BlockDevice&) = delete;
    BlockDevice& operator=(const BlockDevice&) = delete;
    BlockDevice(BlockDevice&&) = delete;
    BlockDevice& operator=(BlockDevice&&) = delete;
    /// Waits for what is in flight; nobody is told any more.
    virtual ~BlockDevice() = default;

    virtual Sectors capacity() const = 0;
    virtual Access access() const = 0;
    /// Reads the size of what backs the device again; capacity() follows. A device that always
    /// knows its size has nothing to do. Errors: the size can no disk have.
    virtual Result<void> refresh() { return {}; }
    /// So many requests may be under way at once; one more is the caller's bug.
    virtual std::uint32_t depth() const = 0;
    /// What a RequestQueue in front of the device shall merge; nothing, where a request costs no
    /// more than its bytes do.
    virtual MergeLimits merge_limits() const { return {}; }

    /// Whom to tell, before the first request. One listener; a second takes its place.
    virtual void set_listener(OnComplete listener) = 0;

    /// Fails (by completion) where the segments' sum is not is_within(), or reaches the end of what
    /// backs the device. The span may go at once; the bytes must stay until completion.
    virtual void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) = 0;
    /// Fails likewise, and where the device is read-only.
    virtual void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) = 0;
    /// Done when every write that had completed before is on stable storage.
    virtual void flush(std::uint64_t tag) = 0;
    /// The sectors read as zeros from then on, and their memory or blocks are given back. Fails
    /// where they are not within the disk, or it is read-only; Unsupported where what backs the
    /// device cannot do that.
    virtual void discard(Sectors first, Sectors count, std::uint64_t tag) = 0;
    /// The sectors read as zeros from then on. Fails as discard() does.
    virtual void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) = 0;

    /// Sends off what was asked since the last call.
    virtual void submit() = 0;

    /// Tells the listener of what is done already, without waiting. False where nothing was.
    virtual bool poll() = 0;

    /// submit(), then waits until nothing is under way. The listener is told from within.
    virtual void drain() = 0;
};

/// The same of the segments of a request, which are not all empty.
constexpr bool is_within(Sectors capacity, Sectors first,
                         std::span<const BlockDevice::Segment> segments) {
    const std::uint64_t most = to_bytes(capacity).value();
    std::uint64_t sum = 0;
    for (const BlockDevice::Segment segment : segments) {
        if (segment.size() > most - sum) {
            return false;
        }
        sum += segment.size();
    }
    return sum != 0 && is_within(capacity, first, Bytes(sum));
}

}  // namespace pepita::storage
