#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "test/support/driver.h"
#include "test/support/vhost_user_front.h"

/// A model of a guest's virtio-blk driver, which a server of vhost-user-blk cannot tell from Linux'
/// own: requests in indirect tables, kicks and interrupts where the other side asked for them
/// (VIRTIO_F_EVENT_IDX), all that came back looked at before it sleeps. It is cheap, so that the
/// server is what is measured.
namespace pepita::bench {

inline constexpr std::size_t kBlockBytes = 4096;

/// What stands on a disk, block by block. No two blocks are equal, nor a block and what it was
/// before: each has its number and the count of its writes at the front. The rest is of `pages`,
/// which are borrowed.
class DiskContent {
public:
    DiskContent(std::span<const std::byte> pages, std::size_t blocks)
        : pages_(pages), writes_(blocks) {}

    std::size_t blocks() const { return writes_.size(); }
    /// What is to be written next.
    void next(std::size_t block, std::span<std::byte> into);
    bool is(std::size_t block, std::span<const std::byte> found) const;

private:
    struct Stamp {
        std::uint64_t block;
        std::uint64_t writes;
    };
    std::span<const std::byte> page_of(const Stamp& stamp) const;

    std::span<const std::byte> pages_;
    std::vector<std::uint64_t> writes_;
};

/// The driver's side of one virtqueue whose places are all made in advance.
class BlockQueue {
public:
    struct Done {
        std::uint16_t slot;
        std::uint8_t status;
    };

    BlockQueue(test::GuestRam& ram, std::uint16_t size);
    BlockQueue(const BlockQueue&) = delete;
    BlockQueue& operator=(const BlockQueue&) = delete;
    BlockQueue(BlockQueue&&) = delete;
    BlockQueue& operator=(BlockQueue&&) = delete;
    ~BlockQueue() = default;

    const test::QueueDriver& layout() const { return layout_; }
    std::span<std::byte> data(std::uint16_t slot) const;

    /// Makes the request of that place available. `type` is kVirtioBlkTIn or kVirtioBlkTOut.
    void add(std::uint16_t slot, std::uint32_t type, std::size_t block);
    /// Whether the device wants to hear of what was added since the last call.
    bool needs_kick();
    /// What came back since the last call; until the next one.
    std::span<const Done> collect();
    /// Asks for an interrupt. False where something came back meanwhile.
    bool may_sleep() const;

private:
    struct Slot {
        virtio::GuestAddress header;
        virtio::GuestAddress table;
        virtio::GuestAddress data;
        virtio::GuestAddress status;
    };

    const test::GuestRam& ram_;
    test::QueueDriver layout_;
    std::vector<Slot> slots_;
    std::vector<Done> done_;
    std::uint16_t available_ = 0;
    std::uint16_t kicked_ = 0;
    std::uint16_t collected_ = 0;
};

/// One front end at a server's socket.
class BlockDriver {
public:
    struct Load {
        std::uint32_t type;    // kVirtioBlkTIn or kVirtioBlkTOut
        std::uint16_t queues;  // so many of those that there are
        std::uint16_t depth;   // in each of them
    };
    struct Counts {
        std::uint64_t requests = 0;
        std::uint64_t kicks = 0;
        std::uint64_t calls = 0;
    };
    static constexpr std::uint16_t kDepthMax = 128;

    /// Waits for the server's first answers. Errors: connect(2)'s; Unavailable where it is silent.
    static Result<std::unique_ptr<BlockDriver>> connect(const std::string& socket,
                                                        std::uint16_t queues);

    /// Writes all blocks once, in order.
    Result<Counts> fill(DiskContent& content);
    /// Random blocks, so many under way all the time, for as long as that. What is read is
    /// compared. Errors: DataLoss where it is not what was written; Unavailable where a request
    /// fails, or none comes back for half a minute.
    Result<Counts> run(const Load& load, DiskContent& content, std::chrono::milliseconds time);

private:
    explicit BlockDriver(std::unique_ptr<EventLoop> loop, Fd socket, std::uint16_t queues);
    Result<void> start();
    class Round;

    std::unique_ptr<EventLoop> loop_;  // VhostUserFront wants one; nothing runs in it
    test::GuestRam ram_;
    test::VhostUserFront front_;
    std::deque<BlockQueue> queues_;
    std::vector<test::VhostUserFront::QueueFds> fds_;
    std::minstd_rand random_;
};

}  // namespace pepita::bench
