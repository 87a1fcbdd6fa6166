#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/disk.h"
#include "storage/request_queue.h"
#include "storage/tag_set.h"
#include "storage/ublk/request.h"

namespace pepita::storage::ublk {

/// One queue of one ublk device, on the thread that creates it. A tag is in one of two hands: the
/// kernel's, while its FETCH or COMMIT_AND_FETCH is under way in the ring, or ours, from that
/// command's completion until the next. The buffer at its place in `buffers_` goes with it.
class Queue {
public:
    struct Options {
        FdRef device;  // /dev/ublkcN; stays open until the queue is gone
        std::uint16_t number = 0;
        Bytes request_max;
        TagSet::Queue& tags;         // outlives the queue, which is its only user
        bool copies_itself = false;  // kUblkFUserCopy
    };

    /// Opens the disk and has all tags fetched: the kernel may start the device.
    static Result<std::unique_ptr<Queue>> create(Disk& disk, const Options& options);
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    Queue(Queue&&) = delete;
    Queue& operator=(Queue&&) = delete;
    ~Queue();

    /// For wakes from other threads: post() to it.
    EventLoop& loop() { return *loop_; }

    /// Serves until the device is stopped, or leave() was called.
    /// Errors: io_uring_enter(2)'s, and the event loop's.
    Result<void> run();

    /// Makes run() return, though the device lives on without this server. From the loop.
    void leave() { is_leaving_ = true; }

private:
    Queue(const Options& options, std::unique_ptr<EventLoop> loop, IoRing ring);
    std::uint32_t depth() const { return options_.tags.depth(); }
    Result<void> prepare(Disk& disk);
    std::span<std::byte> buffer(std::uint16_t tag) const;
    std::span<std::byte> data(std::uint16_t tag) const;
    void command(std::uint16_t tag, abi::UblkIoCommand command, std::int32_t result);
    void on_operation(const IoRing::Completion& operation);
    void begin(std::uint16_t tag);
    void commit(std::uint16_t tag, std::int32_t result);
    std::int32_t result_of(std::uint16_t tag, IoStatus status);
    bool fetch_data(std::uint16_t tag);
    bool give_data(std::uint16_t tag);
    Result<void> wait();

    Options options_;
    std::unique_ptr<EventLoop> loop_;
    Mapping descriptors_;
    Mapping buffers_;
    std::vector<Request> asked_;  // by tag
    std::uint32_t gone_ = 0;      // tags that will not be fetched again
    std::int32_t refusal_ = 0;    // what the kernel said to a tag's first fetch, or 0
    bool is_polling_ = false;
    bool is_leaving_ = false;
    IoRing ring_;
    std::unique_ptr<RequestQueue> requests_;  // last: the disk may still write to the buffers
};

}  // namespace pepita::storage::ublk
