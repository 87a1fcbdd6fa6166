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
#include "storage/ublk/commit_batch.h"
#include "storage/ublk/request.h"

namespace pepita::storage::ublk {

/// One queue of one ublk device, on the thread that creates it. A tag is in one of two hands: the
/// kernel's, while its FETCH or COMMIT_AND_FETCH is under way in the ring, or ours, from that
/// command's completion until the next. The buffer at its place in `buffers_` goes with it.
///
/// Where the disk is a file and the kernel registers its requests' memory with our ring
/// (kUblkFAutoBufReg), reads and writes are operations of this ring between that and the file; the
/// rest goes to the BlockDevice.
///
/// With kUblkFBatchIo no command belongs to a tag: one that stays under way brings the tags of all
/// that has come, and one before each wait says what is done.
class Queue {
public:
    struct Options {
        FdRef device;  // /dev/ublkcN; stays open until the queue is gone
        std::uint16_t number = 0;
        Bytes request_max;
        TagSet::Queue& tags;             // outlives the queue, which is its only user
        bool copies_itself = false;      // kUblkFUserCopy
        bool registers_buffers = false;  // kUblkFAutoBufReg, and kUblkFUserCopy with it
        bool batches = false;            // kUblkFBatchIo
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
    struct Slot {
        Request request;
        Bytes moved{0};  // between the request's memory and the file, without us
    };

    Queue(const Options& options, std::unique_ptr<EventLoop> loop, IoRing ring);
    std::uint32_t depth() const { return options_.tags.depth(); }
    Result<void> prepare(Disk& disk);
    std::span<std::byte> buffer(std::uint16_t tag) const;
    std::span<std::byte> data(std::uint16_t tag) const;
    void command(std::uint16_t tag, abi::UblkIoCommand command, std::int32_t result);
    void serve(std::unique_ptr<BlockDevice> device);
    Result<void> fetch_all();
    Result<void> prepare_batches();
    void fetch_batches();
    void on_fetched(const IoRing::Completion& operation);
    void on_committed(std::int32_t result);
    void send_batch(abi::UblkIoCommand command);
    void add_to_batch(std::uint16_t tag, std::int32_t result);
    bool is_over() const;
    void on_operation(const IoRing::Completion& operation);
    void begin(std::uint16_t tag);
    bool can_move(std::uint16_t tag, std::uint32_t op_flags) const;
    void move(std::uint16_t tag);
    void on_moved(std::uint16_t tag, std::int32_t result);
    Result<void> finish();
    void commit(std::uint16_t tag, std::int32_t result);
    std::int32_t result_of(std::uint16_t tag, IoStatus status);
    bool fetch_data(std::uint16_t tag);
    bool give_data(std::uint16_t tag);
    Result<void> wait();

    Options options_;
    std::unique_ptr<EventLoop> loop_;
    Mapping descriptors_;
    Mapping buffers_;
    std::vector<Slot> slots_;
    std::uint32_t gone_ = 0;    // tags that will not be fetched again
    std::int32_t refusal_ = 0;  // what the kernel said to a tag's first fetch, or 0
    CommitBatch batch_;
    std::uint32_t busy_ = 0;  // tags in our hands
    std::uint32_t moving_ = 0;
    bool has_file_ = false;  // the ring has the disk's as kFile, and requests' memory as buffers
    bool is_polling_ = false;
    bool is_leaving_ = false;
    IoRing ring_;
    std::unique_ptr<RequestQueue> requests_;  // last: the disk may still write to the buffers
};

}  // namespace pepita::storage::ublk
