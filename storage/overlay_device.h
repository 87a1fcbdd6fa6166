#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/segment_cursor.h"
#include "storage/zram_store.h"

namespace pepita::storage {

/// What was written, from a volume; else what a read-only device holds, or zeros behind its end.
/// A page is one or the other; one that is written in part takes its rest along.
///
/// Each request goes through its pages one after the other and reads from the base no more than
/// once at a time, so the base needs no more depth than this has. Two requests that write parts of
/// one page, here or through another door, both read the base, and the volume puts each into what
/// the page is by then.
///
/// A clear, which may be of a GiB, is done in turns, from the event loop.
class OverlayDevice final : public BlockDevice {
public:
    /// What is cleared before the loop's other work has its turn: a millisecond's worth or less.
    static constexpr Pages kClearedPerTurn{4096};

    /// `loop` is the base's, and outlives the device.
    OverlayDevice(EventLoop& loop, std::unique_ptr<BlockDevice> base,
                  std::shared_ptr<ZramVolume> upper);
    ~OverlayDevice() override = default;

    Sectors capacity() const override { return to_sectors(upper_->capacity()); }
    Access access() const override { return Access::ReadWrite; }
    std::uint32_t depth() const override { return static_cast<std::uint32_t>(slots_.size()); }
    void set_listener(OnComplete listener) override { listener_ = std::move(listener); }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override;
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override;
    void flush(std::uint64_t tag) override;
    void discard(Sectors first, Sectors count, std::uint64_t tag) override;
    void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override;
    void submit() override { base_->submit(); }
    bool poll() override;
    void drain() override;

private:
    enum class Kind : std::uint8_t { Read, Write, Clear };
    /// A request; its index is its tag in the base.
    struct Slot {
        Kind kind = Kind::Read;
        std::uint64_t tag = 0;
        std::vector<Segment> segments;
        SegmentCursor cursor;
        std::uint64_t at = 0;  // the next byte of the disk
        std::uint64_t end = 0;
        std::vector<std::byte> page;  // of the base, for a part that is written
        std::vector<Segment> pieces;  // where the base reads to
        std::uint64_t asked = 0;      // bytes that the base is reading
    };

    void begin(Kind kind, Sectors first, std::span<const Segment> segments, Sectors count,
               std::uint64_t tag);
    /// As far as it goes without the base.
    void advance(Slot& slot);
    /// Goes on behind `at`; false while the base reads, or when the request has failed.
    bool step_read(Slot& slot);
    bool step_write(Slot& slot);
    bool clear_pages(Slot& slot, std::uint64_t count);
    void pause(const Slot& slot);
    void ask_for_turn();
    void take_turn();
    bool write_piece(Slot& slot, std::size_t length, std::span<const std::byte> beneath);
    bool ask_base(Slot& slot, std::uint64_t from, std::uint64_t to);
    void on_base(const IoCompletion& done);
    void finish(Slot& slot, IoStatus status);
    bool tell();
    void go_on();

    EventLoop& loop_;
    std::shared_ptr<ZramVolume> upper_;
    OnComplete listener_;
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_;
    std::vector<IoCompletion> done_;
    bool is_polling_ = false;
    std::deque<std::uint32_t> paused_;  // slots of clears that are to go on, one in each turn
    EventLoop::Timer next_turn_;
    std::unique_ptr<BlockDevice> base_;  // first to go: it may still write to the slots' memory
};

}  // namespace pepita::storage
