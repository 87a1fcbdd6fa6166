#include "test/bench/storage/block_driver.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"
#include "test/support/vhost_user_front.h"

namespace pepita::bench {
namespace {

using enum abi::VhostUserRequest;

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kFeatures = abi::kVirtioFVersion1 | abi::kVirtioFEventIdx |
                                    abi::kVirtioFIndirectDesc | abi::kVhostUserFProtocolFeatures |
                                    abi::kVirtioBlkFFlush | abi::kVirtioBlkFMq;
// Only what both servers know of.
constexpr std::uint64_t kProtocolFeatures =
    abi::kVhostUserProtocolMq | abi::kVhostUserProtocolReplyAck;

constexpr std::uint8_t kNoStatus = 0xee;
constexpr std::uint64_t kSectorsPerBlock = kBlockBytes / kSectorSize.value();
constexpr int kPatienceMs = 30'000;

virtio::GuestAddress operator+(virtio::GuestAddress at, std::size_t offset) {
    return virtio::GuestAddress{std::to_underlying(at) + offset};
}

// SAFETY: a field of a ring, aligned as the ring is laid out; the server knows it as an atomic too.
std::atomic_ref<std::uint16_t> index_at(const test::GuestRam& ram, virtio::GuestAddress at) {
    return std::atomic_ref(*reinterpret_cast<std::uint16_t*>(ram.at(at, 2).data()));
}

template <typename T>
void store(const test::GuestRam& ram, virtio::GuestAddress at, const T& value) {
    std::memcpy(ram.at(at, sizeof(T)).data(), &value, sizeof(T));
}

// Both sides store and then load what the other stores (virtio 1.2 §2.7.13.4.1): kicks against
// available.idx, interrupts against used.idx.
void full_barrier() { std::atomic_thread_fence(std::memory_order_seq_cst); }

// Of one queue, and of each of its places: the data is aligned, the rest is small.
constexpr std::size_t kRingBytes = 16'384;
constexpr std::size_t kSlotBytes = 2 * kBlockBytes;

Bytes ram_for(std::uint16_t queues) {
    return Bytes(2 * kBlockBytes + queues * (kRingBytes + kSlotBytes * BlockDriver::kDepthMax));
}

}  // namespace

std::span<const std::byte> DiskContent::page_of(const Stamp& stamp) const {
    const std::size_t pages = pages_.size() / kBlockBytes;
    return pages_.subspan((stamp.block + stamp.writes * 40'503) % pages * kBlockBytes, kBlockBytes);
}

void DiskContent::next(std::size_t block, std::span<std::byte> into) {
    const Stamp stamp{.block = block, .writes = ++writes_[block]};
    std::ranges::copy(page_of(stamp), into.begin());
    std::memcpy(into.data(), &stamp, sizeof(stamp));
}

bool DiskContent::is(std::size_t block, std::span<const std::byte> found) const {
    const Stamp stamp{.block = block, .writes = writes_[block]};
    const std::span<const std::byte> page = page_of(stamp);
    return std::memcmp(found.data(), &stamp, sizeof(stamp)) == 0 &&
           std::memcmp(found.data() + sizeof(stamp), page.data() + sizeof(stamp),
                       kBlockBytes - sizeof(stamp)) == 0;
}

BlockQueue::BlockQueue(test::GuestRam& ram, std::uint16_t size)
    : ram_(ram), layout_(ram, {.size = size}) {
    for (std::uint16_t i = 0; i < size; ++i) {
        const Slot slot{.header = ram.allocate(sizeof(abi::VirtioBlkRequestHeader)),
                        .table = ram.allocate(3 * sizeof(abi::VirtqDesc)),
                        .data = ram.allocate(kBlockBytes, kBlockBytes),
                        .status = ram.allocate(1)};
        layout_.write_descriptor(i, {.address = std::to_underlying(slot.table),
                                     .length = 3 * sizeof(abi::VirtqDesc),
                                     .flags = abi::kVirtqDescIndirect,
                                     .next = 0});
        slots_.push_back(slot);
    }
}

std::span<std::byte> BlockQueue::data(std::uint16_t slot) const {
    return ram_.at(slots_[slot].data, kBlockBytes);
}

void BlockQueue::add(std::uint16_t slot, std::uint32_t type, std::size_t block) {
    const Slot& place = slots_[slot];
    const auto data_flags = static_cast<std::uint16_t>(
        abi::kVirtqDescNext | (type == abi::kVirtioBlkTIn ? abi::kVirtqDescWrite : 0));
    store(ram_, place.header,
          abi::VirtioBlkRequestHeader{
              .type = type, .reserved = 0, .sector = block * kSectorsPerBlock});
    store(ram_, place.status, kNoStatus);
    store(ram_, place.table,
          std::array{abi::VirtqDesc{.address = std::to_underlying(place.header),
                                    .length = sizeof(abi::VirtioBlkRequestHeader),
                                    .flags = abi::kVirtqDescNext,
                                    .next = 1},
                     abi::VirtqDesc{.address = std::to_underlying(place.data),
                                    .length = kBlockBytes,
                                    .flags = data_flags,
                                    .next = 2},
                     abi::VirtqDesc{.address = std::to_underlying(place.status),
                                    .length = 1,
                                    .flags = abi::kVirtqDescWrite,
                                    .next = 0}});
    const virtio::RingGeometry& ring = layout_.geometry();
    const std::size_t entry = available_ % ring.size * sizeof(std::uint16_t);
    store(ram_, ring.available + abi::kVirtqEntriesOffset + entry, slot);
    index_at(ram_, ring.available + abi::kVirtqIdxOffset)
        .store(++available_, std::memory_order_release);
}

bool BlockQueue::needs_kick() {
    full_barrier();
    const virtio::RingGeometry& ring = layout_.geometry();
    const std::uint16_t event = index_at(ram_, ring.used + abi::virtq_avail_event_offset(ring.size))
                                    .load(std::memory_order_relaxed);
    return abi::virtq_passed_event(event, available_, std::exchange(kicked_, available_));
}

std::span<const BlockQueue::Done> BlockQueue::collect() {
    done_.clear();
    const virtio::RingGeometry& ring = layout_.geometry();
    const std::uint16_t used =
        index_at(ram_, ring.used + abi::kVirtqIdxOffset).load(std::memory_order_acquire);
    for (; collected_ != used; ++collected_) {
        const std::size_t entry = collected_ % ring.size * sizeof(abi::VirtqUsedElement);
        const auto element =
            ram_.read<abi::VirtqUsedElement>(ring.used + abi::kVirtqEntriesOffset + entry);
        const auto slot = static_cast<std::uint16_t>(element.id);
        done_.push_back({.slot = slot, .status = ram_.read<std::uint8_t>(slots_.at(slot).status)});
    }
    return done_;
}

bool BlockQueue::may_sleep() const {
    const virtio::RingGeometry& ring = layout_.geometry();
    index_at(ram_, ring.available + abi::virtq_used_event_offset(ring.size))
        .store(collected_, std::memory_order_relaxed);
    full_barrier();
    return index_at(ram_, ring.used + abi::kVirtqIdxOffset).load(std::memory_order_relaxed) ==
           collected_;
}

BlockDriver::BlockDriver(std::unique_ptr<EventLoop> loop, Fd socket, std::uint16_t queues)
    : loop_(std::move(loop)), ram_(ram_for(queues)), front_(*loop_, std::move(socket)) {
    for (std::uint16_t i = 0; i < queues; ++i) {
        queues_.emplace_back(ram_, kDepthMax);
    }
}

Result<std::unique_ptr<BlockDriver>> BlockDriver::connect(const std::string& socket,
                                                          std::uint16_t queues) {
    std::unique_ptr<BlockDriver> driver(
        new BlockDriver(TRY(EventLoop::create()), TRY(connect_unix(socket)), queues));
    TRY(driver->start());
    return driver;
}

Result<void> BlockDriver::start() {
    front_.send(GetFeatures, {});
    const std::optional<test::VhostUserFront::Reply> offered = front_.await();
    if (!offered || (offered->as<std::uint64_t>() & kFeatures) != kFeatures) {
        return Error(Code::Unavailable, "server does not offer what the driver takes");
    }
    front_.send(SetProtocolFeatures, kProtocolFeatures);
    front_.send(SetOwner, {});
    front_.send(SetFeatures, kFeatures);
    front_.share(ram_);
    for (std::uint32_t i = 0; i < queues_.size(); ++i) {
        fds_.push_back(front_.start_queue(queues_[i].layout(), i));
    }
    // Whatever is answered after those was dealt with after them.
    front_.send(GetFeatures, {});
    if (!front_.await()) {
        return Error(Code::Unavailable, "server ended the connection");
    }
    return {};
}

/// One call of run() or fill(): which block comes next is the caller's, and when it ends.
class BlockDriver::Round {
public:
    /// The block for a place of a queue; none ends the round once all is back.
    using NextBlock =
        std::function<std::optional<std::size_t>(std::size_t queue, std::uint16_t slot)>;

    Round(BlockDriver& driver, const Load& load, DiskContent& content, NextBlock next_block)
        : driver_(driver),
          load_(load),
          content_(content),
          next_block_(std::move(next_block)),
          blocks_(load.queues, std::vector<std::size_t>(load.depth)) {
        for (std::size_t i = 0; i < load.queues; ++i) {
            waiting_.push_back(
                {.fd = driver.fds_[i].call.ref().number(), .events = POLLIN, .revents = 0});
        }
    }

    Result<Counts> run() {
        for (std::size_t i = 0; i < load_.queues; ++i) {
            for (std::uint16_t slot = 0; slot < load_.depth; ++slot) {
                ask(i, slot);
            }
            kick(i);
        }
        while (under_way_ > 0) {
            bool is_idle = true;
            for (std::size_t i = 0; i < load_.queues; ++i) {
                const bool got = TRY(take(i));
                is_idle = is_idle && !got;
            }
            if (is_idle) {
                TRY(sleep());
            }
        }
        return counts_;
    }

private:
    void ask(std::size_t queue, std::uint16_t slot) {
        const std::optional<std::size_t> block = next_block_(queue, slot);
        if (!block) {
            return;
        }
        blocks_[queue][slot] = *block;
        BlockQueue& ring = driver_.queues_[queue];
        if (load_.type == abi::kVirtioBlkTOut) {
            content_.next(*block, ring.data(slot));
        }
        ring.add(slot, load_.type, *block);
        ++under_way_;
    }

    void kick(std::size_t queue) {
        if (driver_.queues_[queue].needs_kick()) {
            signal_eventfd(driver_.fds_[queue].kick.ref());
            ++counts_.kicks;
        }
    }

    /// Whether anything had come back.
    Result<bool> take(std::size_t queue) {
        const std::span<const BlockQueue::Done> done = driver_.queues_[queue].collect();
        for (const BlockQueue::Done& one : done) {
            const std::size_t block = blocks_[queue].at(one.slot);
            if (one.status != 0) {
                return Error(Code::Unavailable, "request for block " + std::to_string(block) +
                                                    " failed with status " +
                                                    std::to_string(one.status));
            }
            if (load_.type == abi::kVirtioBlkTIn &&
                !content_.is(block, driver_.queues_[queue].data(one.slot))) {
                return Error(Code::DataLoss,
                             "block " + std::to_string(block) + " is not what was written");
            }
            ++counts_.requests;
            --under_way_;
            ask(queue, one.slot);
        }
        if (!done.empty()) {
            kick(queue);
        }
        return !done.empty();
    }

    Result<void> sleep() {
        bool may_sleep = true;
        for (std::size_t i = 0; i < load_.queues; ++i) {
            may_sleep = driver_.queues_[i].may_sleep() && may_sleep;
        }
        if (!may_sleep) {
            return {};
        }
        const int woken = ::poll(waiting_.data(), waiting_.size(), kPatienceMs);
        if (woken == 0) {
            return Error(Code::Unavailable, "no answer for half a minute");
        }
        if (woken < 0 && errno != EINTR) {
            return Error::from_errno(errno, "poll");
        }
        for (std::size_t i = 0; i < load_.queues; ++i) {
            if ((waiting_[i].revents & POLLIN) != 0) {
                counts_.calls += drain_eventfd(driver_.fds_[i].call.ref());
            }
        }
        return {};
    }

    BlockDriver& driver_;
    Load load_;
    DiskContent& content_;
    NextBlock next_block_;
    std::vector<std::vector<std::size_t>> blocks_;  // by queue and slot
    std::vector<pollfd> waiting_;
    std::uint64_t under_way_ = 0;
    Counts counts_;
};

Result<BlockDriver::Counts> BlockDriver::fill(DiskContent& content) {
    std::size_t next = 0;
    const auto next_block = [&](std::size_t, std::uint16_t) {
        return next < content.blocks() ? std::optional(next++) : std::nullopt;
    };
    const Load load{.type = abi::kVirtioBlkTOut, .queues = 1, .depth = kDepthMax};
    return Round(*this, load, content, next_block).run();
}

Result<BlockDriver::Counts> BlockDriver::run(const Load& load, DiskContent& content,
                                             std::chrono::milliseconds time) {
    const Clock::time_point end = Clock::now() + time;
    // Each place has blocks of its own, or two writes of one block could be under way.
    const std::size_t places = std::size_t{load.queues} * load.depth;
    const auto next_block = [&](std::size_t queue, std::uint16_t slot) {
        const std::size_t own = queue * load.depth + slot;
        return Clock::now() < end
                   ? std::optional(own + random_() % (content.blocks() / places) * places)
                   : std::nullopt;
    };
    return Round(*this, load, content, next_block).run();
}

}  // namespace pepita::bench
