#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/tag_set.h"

namespace pepita::storage {

/// One queue's way from a front end (virtio-blk, ublk) to a BlockDevice: what is the same for all
/// front ends and all devices.
///
/// - Reads that lie one behind the other, and writes, asked one after the other before a submit(),
///   go to the device as one where it says that this pays (merge_limits()). Where such a one fails,
///   each is asked again alone: what a front end gets is what it would get without merging.
/// - A forced request (FUA) is done when it and a flush after it are done.
/// - Flushes that wait share one; one at a time is at the device. Each covers the requests that
///   were done before it was asked for.
/// - A request that takes longer than the deadline is told of, once. It is not given up: the device
///   may still write to its memory.
///
/// As with a BlockDevice, completions come from poll(), drain() or the event loop, and who calls
/// submit() polls until nothing is left. Thread: that of the device's event loop.
class RequestQueue {
public:
    using Clock = EventLoop::Clock;
    using Segment = BlockDevice::Segment;
    using OnComplete = BlockDevice::OnComplete;

    struct Request {
        IoOperation operation = IoOperation::Flush;
        Sectors first = Sectors(0);
        Sectors count = Sectors(0);         // of a Discard or WriteZeroes
        std::span<const Segment> segments;  // of a Read or Write; the span may go at once
        bool is_forced = false;             // FUA; means nothing for a Read or Flush
    };
    /// Requests beyond the deadline of which nobody was told yet.
    struct Late {
        std::uint32_t count = 0;
        IoOperation operation = IoOperation::Flush;  // of the oldest
        Clock::duration age{};                       // its
    };
    using OnLate = std::move_only_function<void(const Late&)>;

    struct Options {
        EventLoop& loop;      // the device's; outlives the queue
        TagSet::Queue& tags;  // outlives the queue; the device has its depth or more
        OnComplete on_complete;
        OnLate on_late = nullptr;
        Clock::duration deadline = std::chrono::seconds(30);  // as Linux has it
    };
    struct Statistics {
        std::uint64_t requests = 0;
        std::uint64_t merged = 0;          // that went along with another
        std::uint64_t flushes_shared = 0;  // flushes that another's did for as well
        std::uint64_t late = 0;

        friend bool operator==(const Statistics&, const Statistics&) = default;
    };

    RequestQueue(std::unique_ptr<BlockDevice> device, Options options);
    RequestQueue(const RequestQueue&) = delete;
    RequestQueue& operator=(const RequestQueue&) = delete;
    RequestQueue(RequestQueue&&) = delete;
    RequestQueue& operator=(RequestQueue&&) = delete;
    /// Waits for what is in flight; nobody is told any more.
    ~RequestQueue() = default;

    const BlockDevice& device() const { return *device_; }
    /// BlockDevice::refresh().
    Result<void> refresh() { return device_->refresh(); }
    const Statistics& statistics() const { return statistics_; }
    /// Requests started whose end was not told yet.
    std::uint32_t under_way() const { return under_way_; }

    /// The front end has taken the tag and has no other request under way with it. It keeps the
    /// tag until on_complete told of it, and gives it back itself, when nothing of its own lies
    /// there any more.
    void start(Tag tag, const Request& request);
    void submit();
    bool poll();
    void drain();

private:
    enum class Stage : std::uint8_t {
        Idle,
        Open,      // collected; more may join
        AtDevice,  // or with one that is
        Waiting,   // for a flush
        Flushing,
    };
    static constexpr Tag kNone = TagSet::kDepthMax;

    /// By tag. A group of merged requests is a list; the first's tag is what the device knows.
    struct Slot {
        Stage stage = Stage::Idle;
        IoOperation operation = IoOperation::Flush;
        bool is_forced = false;
        bool is_told = false;  // to be late
        Tag next = kNone;
        Sectors first;
        Bytes length;
        Clock::time_point begun;
        std::vector<Segment> segments;  // where the device merges
    };
    struct Group {
        Tag first = kNone;  // none: there is no open group
        Tag last = kNone;
        Sectors end;
        Bytes bytes;
        std::size_t segments = 0;
    };

    void collect(Tag tag, std::span<const Segment> segments);
    bool joins(const Slot& slot) const;
    void close_group();
    void move_bytes(const Slot& slot, std::span<const Segment> segments, Tag tag);
    void start_flush();
    void on_device(std::span<const IoCompletion> done);
    void on_moved(Tag first, IoStatus status);
    void on_flushed(IoStatus status);
    void finish(Tag tag, IoStatus status);
    bool tell();
    void watch();
    void look_for_late();

    Options options_;
    MergeLimits limits_;
    std::vector<Slot> slots_;
    Group open_;
    std::vector<Segment> joined_;
    std::vector<Tag> waiting_;   // for a flush that is not at the device yet
    std::vector<Tag> flushing_;  // for the one that is
    std::vector<IoCompletion> done_;
    std::vector<IoCompletion> spare_;  // empty; keeps its room
    std::uint32_t under_way_ = 0;
    bool is_asking_ = false;                // the device, for completions
    std::optional<Clock::time_point> now_;  // of what was started since submit()
    EventLoop::Timer watch_;
    bool is_watching_ = false;
    Statistics statistics_;
    std::unique_ptr<BlockDevice> device_;  // last: it ends before what its completions need
};

}  // namespace pepita::storage
