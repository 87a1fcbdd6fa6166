#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/memory.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/file/alignment.h"
#include "storage/file_ring.h"
#include "storage/segment_cursor.h"

namespace pepita::storage {

/// A raw file or block device as a disk: sector N of the disk is sector N of the file, whatever is
/// written there. No image format is looked for, now or ever: a guest that may write its own disk
/// could write the header of a format that names other files of the host.
///
/// A file that lies in memory (tmpfs, memfd) is read and written by the thread itself, a little at
/// a time: such a file does not make anybody wait, and io_uring would hand each request to a worker
/// thread.
///
/// A file that was opened with O_DIRECT is read and written past the page cache. What a guest asks
/// with memory that is not aligned as the file wants goes through memory of ours, in pieces.
class FileDevice final : public BlockDevice, private FileRing::User {
public:
    static constexpr std::uint32_t kDepth = 256;

    /// `ring`, which other devices may use too, outlives the device; completions come from its
    /// loop. Errors: InvalidArgument where `file` is neither a regular file nor a block device, is
    /// empty, is no whole number of sectors long, or was opened for appending; Unsupported where it
    /// was opened with O_DIRECT and takes that not at all, or not for single sectors;
    /// PermissionDenied where it was not opened for what `access` says; PageBuffer::create()'s.
    static Result<std::unique_ptr<FileDevice>> create(Fd file, Access access, FileRing& ring);
    /// With a ring of its own. `loop` outlives the device. Errors: FileRing::create()'s too.
    static Result<std::unique_ptr<FileDevice>> create(Fd file, Access access, EventLoop& loop);

    /// Whether create() would take the file, and how large it is then. Errors: as create()'s.
    static Result<Sectors> check(FdRef file, Access access);
    FileDevice(const FileDevice&) = delete;
    FileDevice& operator=(const FileDevice&) = delete;
    FileDevice(FileDevice&&) = delete;
    FileDevice& operator=(FileDevice&&) = delete;
    ~FileDevice() override;

    Sectors capacity() const override { return capacity_; }
    Access access() const override { return access_; }
    Result<void> refresh() override;
    std::uint32_t depth() const override { return kDepth; }
    /// An operation of the kernel's costs about as much as the 4 KiB that it moves
    /// (test/bench/storage/merge_bench.cc).
    MergeLimits merge_limits() const override { return {.segments = 256, .bytes = 1_MiB}; }
    void set_listener(OnComplete listener) override { listener_ = std::move(listener); }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override;
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override;
    void flush(std::uint64_t tag) override;
    void discard(Sectors first, Sectors count, std::uint64_t tag) override;
    void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override;
    void submit() override;
    bool poll() override;
    void drain() override;

private:
    void put(IoRing& ring, std::uint32_t slot, std::uint64_t tag) override;
    void on_operation(std::uint32_t index, std::int32_t result) override;
    void on_turn() override { (void)tell(); }

    enum class Kind : std::uint8_t { Read, Write, Flush, Discard, WriteZeroes, Refusal };
    /// How zeros are written: the first that the file does, and then always that.
    enum class Zeroing : std::uint8_t { PunchHole, ZeroRange, Bytes };
    /// One place in the slab; its index names the operation in the ring. Free only after the kernel
    /// gave the operation back.
    struct Slot {
        Kind kind = Kind::Refusal;
        std::uint64_t tag = 0;
        std::uint64_t offset = 0;
        std::vector<iovec> pieces;  // what is left to move begins at first_piece
        std::size_t first_piece = 0;
        std::uint64_t left = 0;  // of the operation that is under way
        std::uint64_t rest = 0;  // of the request, behind it
        Zeroing zeroing = Zeroing::PunchHole;
        // A request whose memory is not aligned, and what it is moved through, a piece at a time.
        bool is_bounced = false;
        std::vector<Segment> segments;
        SegmentCursor cursor;
        std::span<std::byte> bounce;
    };
    struct Memory {
        file::Alignment alignment;  // 1 and 1: the page cache takes all as it comes
        PageBuffer bounce;          // none for the page cache
        PageBuffer zeros;
    };

    struct Parts {
        Access access;
        Sectors capacity;
        bool is_in_memory;
    };

    FileDevice(Fd file, const Parts& parts, FileRing& ring, Memory memory);
    static Result<Memory> make_memory(FdRef file);
    Slot& take_slot(Kind kind, std::uint64_t tag);
    void move_bytes(Kind kind, Sectors first, std::span<const Segment> segments, std::uint64_t tag);
    void queue(const Slot& slot);
    bool do_at_once(const Slot& slot, std::uint32_t index);
    void clear(Kind kind, Sectors first, Sectors count, std::uint64_t tag);
    bool put_clear(IoRing& ring, const Slot& slot, std::uint64_t tag) const;
    void write_zeros(Slot& slot);
    void next_zeros(Slot& slot);
    void next_bounce(Slot& slot);
    bool goes_on(Slot& slot);
    void finish(std::uint32_t slot, IoStatus status);
    bool tell();

    Fd file_;
    Access access_;
    Sectors capacity_;
    bool is_in_memory_;
    Memory memory_;
    std::vector<std::span<std::byte>> free_bounces_;
    std::deque<std::uint32_t> bounce_waiters_;  // slots
    std::vector<iovec> zeros_;                  // the same memory over and over
    Zeroing zeroing_ = Zeroing::PunchHole;
    OnComplete listener_;
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_;
    /// What the ring had nothing to do with.
    struct DoneAtOnce {
        std::uint32_t slot;
        std::int32_t result;
    };
    std::vector<DoneAtOnce> done_at_once_;
    std::vector<IoCompletion> done_;
    std::unique_ptr<FileRing> own_ring_;  // or none: it is shared
    FileRing& ring_;
    FileRing::UserId user_;
};

}  // namespace pepita::storage
