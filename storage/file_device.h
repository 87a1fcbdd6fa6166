#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

namespace pepita::storage {

/// A raw file or block device as a disk: sector N of the disk is sector N of the file, whatever is
/// written there. No image format is looked for, now or ever: a guest that may write its own disk
/// could write the header of a format that names other files of the host.
class FileDevice final : public BlockDevice {
public:
    static constexpr std::uint32_t kDepth = 256;

    /// `loop` outlives the device and is where completions come from.
    /// Errors: InvalidArgument where `file` is neither a regular file nor a block device, is empty,
    /// is no whole number of sectors long, was opened for appending or with O_DIRECT;
    /// PermissionDenied where it was not opened for what `access` says; IoRing::create()'s.
    static Result<std::unique_ptr<FileDevice>> create(Fd file, Access access, EventLoop& loop);

    /// Whether create() would take the file, and how large it is then. Errors: as create()'s.
    static Result<Sectors> check(FdRef file, Access access);
    ~FileDevice() override = default;

    Sectors capacity() const override { return capacity_; }
    Access access() const override { return access_; }
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
    enum class Kind : std::uint8_t { Read, Write, Flush, Clear, Refusal };
    /// One place in the slab; its index is the operation's tag in the ring. Free only after the
    /// kernel gave the operation back.
    struct Slot {
        Kind kind = Kind::Refusal;
        std::uint64_t tag = 0;
        std::uint64_t offset = 0;
        std::vector<iovec> pieces;  // what is left to move begins at first_piece
        std::size_t first_piece = 0;
        std::uint64_t left = 0;
    };

    FileDevice(Fd file, Access access, Sectors capacity, IoRing ring);
    Slot& take_slot(Kind kind, std::uint64_t tag);
    void move_bytes(Kind kind, Sectors first, std::span<const Segment> segments, std::uint64_t tag);
    void queue(const Slot& slot);
    void on_operation(const IoRing::Completion& operation);
    void clear(Sectors first, Sectors count, std::uint64_t tag);
    void finish(std::uint64_t slot, IoStatus status);

    Fd file_;
    Access access_;
    Sectors capacity_;
    OnComplete listener_;
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_;
    std::vector<IoCompletion> done_;
    IoRing ring_;  // after what its operations refer to: its destructor waits for them
    EventLoop::Watch watch_;
};

}  // namespace pepita::storage
