#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/page_allocator.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/layout.h"

namespace pepita::storage::zram {

/// A file in memory, cut into frames, of which only what is reserved costs anything; and the one
/// account of all that a store uses, in the file or on the heap.
///
/// The file system below may be full before the account is: others write there too. A page that it
/// has no room for is SIGBUS to whoever touches it, so nothing is touched before it was reserved,
/// or found in a file that somebody left.
///
/// Thread: any.
class MemoryFile {
public:
    /// Makes the empty `file` as long as `limit` asks, and writes the superblock.
    static Result<std::unique_ptr<MemoryFile>> create(Fd file, Bytes limit);
    /// Takes over a file that create() made. No frame but the superblock is taken.
    /// Errors: DataLoss.
    static Result<std::unique_ptr<MemoryFile>> open(Fd file);

    Bytes limit() const { return limit_; }
    Bytes used() const { return Bytes(used_.load(std::memory_order_relaxed)); }
    std::uint32_t frames() const { return frames_; }

    /// False, and nothing is charged, where that would be more than the limit.
    bool charge(std::uint64_t bytes);
    void refund(std::uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

    /// A frame of zeros; none where all are taken. What is written to it has to be charged and
    /// reserved first.
    std::optional<std::uint32_t> take();
    /// Has memory for all pages that [begin, end) of a frame touches; they keep what they hold.
    /// False where the file system is full: what was had for it before this stays.
    bool reserve(std::uint32_t frame, std::size_t begin, std::size_t end);
    /// This very frame, as it is; false where it is taken or does not exist.
    bool take_at(std::uint32_t frame);
    /// Its memory goes back to the system.
    void give(std::uint32_t frame);
    /// What lies in [begin, end) of a frame, rounded inward to pages, goes back to the system.
    void release(std::uint32_t frame, std::size_t begin, std::size_t end);

    std::byte* frame(std::uint32_t number) const {
        return mapping_.bytes().data() + number * kFrameBytes;
    }
    template <typename T>
    T& at(std::uint32_t number) const {
        // SAFETY: frames are aligned to pages, and each is written by whoever has taken it as what
        // its first word says.
        return *reinterpret_cast<T*>(frame(number));
    }

    /// What a frame holds: a bit for each page that has memory, the first page's is the lowest.
    struct Written {
        std::uint32_t frame;
        std::uint16_t pages;
        bool has(std::size_t begin, std::size_t end) const;
    };
    static_assert(kFrameBytes == 16 * kPageSize.value());
    /// Frames that hold data, in order. Reading another page would make memory of it.
    Result<std::vector<Written>> written_frames() const;
    /// The same of one frame.
    Result<Written> written_in(std::uint32_t frame) const;

    /// Frames are packed anew one at a time: the one that this needs is charged from the beginning.
    std::mutex& packing() { return packing_; }
    // For who holds packing().
    /// A frame that is not zeros: it may have the bytes of one that was packed before, and its
    /// memory. Charged, and still to be reserved. None where all are taken.
    std::optional<std::uint32_t> take_for_packing();
    /// What was packed from there lies elsewhere now. Its memory stays for the next one: to have it
    /// back from the system page by page costs several times as much as the packing.
    void keep_for_packing(std::uint32_t frame);
    /// Until the next one is kept.
    void give_kept();

private:
    MemoryFile(Fd file, Mapping mapping, Bytes limit, std::uint32_t frames);
    static std::uint32_t frames_for(Bytes limit);
    Result<std::vector<Written>> written_between(std::uint64_t begin, std::uint64_t end) const;

    Fd file_;
    Mapping mapping_;
    Bytes limit_;
    std::uint32_t frames_;
    alignas(64) std::atomic<std::uint64_t> used_{0};
    alignas(64) std::mutex packing_;
    std::optional<std::uint32_t> spare_;  // guarded by packing_
    std::mutex mutex_;
    PageAllocator free_;  // guarded by mutex_; its "pages" are frames
};

/// What one trust domain uses of it.
class Account {
public:
    explicit Account(MemoryFile& file) : file_(file) {}
    bool charge(std::uint64_t bytes) {
        if (!file_.charge(bytes)) {
            return false;
        }
        used_.fetch_add(bytes, std::memory_order_relaxed);
        return true;
    }
    void refund(std::uint64_t bytes) {
        used_.fetch_sub(bytes, std::memory_order_relaxed);
        file_.refund(bytes);
    }
    std::uint64_t used() const { return used_.load(std::memory_order_relaxed); }
    MemoryFile& file() const { return file_; }

private:
    MemoryFile& file_;
    alignas(64) std::atomic<std::uint64_t> used_{0};
};

}  // namespace pepita::storage::zram
