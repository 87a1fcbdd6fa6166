#include "vmm/virtio/block/device.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "storage/block_device.h"
#include "vmm/virtio/block/config.h"
#include "vmm/virtio/block/request.h"
#include "vmm/virtio/chain.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/ring.h"

namespace pepita::vmm::virtio {

using abi::VirtioBlkStatus;
using Kind = block::Request::Kind;

namespace {

// A request is known to the storage by its queue and its chain's head.
std::uint64_t tag_of(std::uint16_t queue, std::uint16_t head) {
    return static_cast<std::uint64_t>(queue) << 16U | head;
}

// What a cleared byte counts of a turn, next to one that is moved: a store gives pages back much
// faster than it fills them.
constexpr std::uint64_t kClearedBytesPerByte = 64;

}  // namespace

Result<std::unique_ptr<Block>> Block::create(EventLoop& loop,
                                             std::unique_ptr<storage::BlockDevice> storage,
                                             std::string_view serial, std::uint16_t queues) {
    const bool is_printable =
        std::ranges::all_of(serial, [](char c) { return c > ' ' && c <= '~'; });
    if (serial.size() > abi::kVirtioBlkIdBytes || !is_printable) {
        return Error(Code::InvalidArgument,
                     "disk serial is not 0 to 20 printable characters without spaces");
    }
    if (queues == 0 || queues > block::kQueuesMax) {
        return Error(Code::InvalidArgument,
                     std::to_string(queues) + " queues: 1 to " + std::to_string(block::kQueuesMax));
    }
    return std::unique_ptr<Block>(new Block(loop, std::move(storage), serial, queues));
}

Block::Block(EventLoop& loop, std::unique_ptr<storage::BlockDevice> storage,
             std::string_view serial, std::uint16_t queues)
    : loop_(loop),
      storage_(std::move(storage)),
      config_(block::make_config(storage_->capacity(), queues)),
      queue_sizes_(queues, block::kQueueSize),
      queues_(queues) {
    std::ranges::copy(std::as_bytes(std::span(serial)), serial_.begin());
    storage_->set_listener(
        [this](std::span<const storage::IoCompletion> completions) { on_complete(completions); });
}

Block::~Block() { reset(); }

std::uint64_t Block::features() const {
    return block::offered_features(storage_->access(), config_.num_queues);
}

std::span<const std::byte> Block::config() const { return std::as_bytes(std::span(&config_, 1)); }

void Block::start(const Session& session) {
    notifier_ = &session.notifier;
    can_flush_ = (session.features & abi::kVirtioBlkFFlush) != 0;
}

void Block::start_queue(std::uint16_t queue, Ring ring) {
    if (queue < queues_.size() && notifier_ != nullptr && queues_[queue] == nullptr) {
        queues_[queue] = std::make_unique<Queue>(std::move(ring));
        serve();
    }
}

std::uint16_t Block::stop_queue(std::uint16_t queue) {
    return queue < queues_.size() ? give_up_queue(queue, Phase::Stopping) : std::uint16_t{0};
}

std::uint16_t Block::give_up_queue(std::uint16_t index, Phase phase) {
    if (queues_[index] == nullptr) {
        return 0;
    }
    phase_ = phase;
    storage_->drain();
    phase_ = Phase::Serving;
    CHECK(in_flight_ == 0);
    const std::uint16_t next = queues_[index]->ring.next_available();
    queues_[index].reset();
    return next;
}

void Block::kick(std::uint16_t queue) {
    if (queue < queues_.size() && queues_[queue] != nullptr) {
        queues_[queue]->has_chains = true;
        serve();
    }
}

void Block::reset() {
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        (void)give_up_queue(static_cast<std::uint16_t>(i), Phase::Resetting);
    }
    notifier_ = nullptr;
    next_turn_.cancel();
}

void Block::resized() {
    const std::uint64_t before = std::exchange(config_.capacity, storage_->capacity().value());
    if (config_.capacity != before && notifier_ != nullptr) {
        notifier_->config_changed();
    }
}

/// Until the storage has nothing to tell any more, and no queue has both chains and room, or the
/// turn is over.
void Block::serve() {
    is_serving_ = true;
    chains_left_ = kChainsPerTurn;
    bytes_left_ = kBytesPerTurn.value();
    do {
        for (std::size_t i = 0; i < queues_.size(); ++i) {
            if (queues_[i] != nullptr && queues_[i]->has_chains) {
                take_chains(static_cast<std::uint16_t>(i));
            }
        }
        storage_->submit();
    } while (storage_->poll());
    is_serving_ = false;
    notify();
    if (is_turn_over()) {
        next_turn_ = loop_.after(std::chrono::nanoseconds(0), [this] { serve(); });
    }
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        Queue* const queue = queues_[i].get();
        if (queue != nullptr && queue->ring.is_broken() &&
            !std::exchange(queue->was_broken, true)) {
            notifier_->queue_broken(static_cast<std::uint16_t>(i));
        }
    }
}

void Block::take_chains(std::uint16_t index) {
    Queue& queue = *queues_[index];
    queue.ring.disable_kicks();
    do {
        while (has_room() && !is_turn_over()) {
            std::optional<Chain> chain = queue.ring.pop();
            if (!chain) {
                break;
            }
            begin(index, *std::move(chain));
        }
        // Nobody has to kick then: we come back by ourselves, when a request is done or it is our
        // turn again.
        queue.has_chains = !has_room() || is_turn_over();
    } while (!queue.has_chains && queue.ring.enable_kicks());
}

void Block::begin(std::uint16_t index, Chain chain) {
    Queue& queue = *queues_[index];
    const block::Request request =
        block::parse_request(chain, storage_->capacity(), storage_->access());
    count(request);
    const std::uint16_t head = chain.head();
    const std::uint64_t tag = tag_of(index, head);
    Answered data{.written = 0, .room = static_cast<std::uint32_t>(request.room.value())};
    switch (request.kind) {
        case Kind::Read:
            data.written = data.room;
            storage_->read(request.first, chain.take_writable(request.length.value()), tag);
            break;
        case Kind::Write:
            storage_->write(request.first, chain.take_readable(request.length.value()), tag);
            break;
        case Kind::Flush:
            storage_->flush(tag);
            break;
        case Kind::Discard:
            storage_->discard(request.first, request.count, tag);
            break;
        case Kind::WriteZeroes:
            storage_->write_zeroes(request.first, request.count, tag);
            break;
        case Kind::GetId:
            data.written = static_cast<std::uint32_t>(chain.write(serial_));
            answer(queue, std::move(chain), VirtioBlkStatus::Ok, data);
            return;
        case Kind::Unsupported:
            answer(queue, std::move(chain), VirtioBlkStatus::Unsupported, data);
            return;
        case Kind::Bad:
            answer(queue, std::move(chain), VirtioBlkStatus::IoError, data);
            return;
        case Kind::Mute:
            queue.ring.complete(std::move(chain), 0);
            return;
    }
    ++in_flight_;
    queue.pending[head].emplace(std::move(chain), request.kind, data);
}

void Block::count(const block::Request& request) {
    --chains_left_;
    const std::uint64_t bytes =
        request.length.value() + to_bytes(request.count).value() / kClearedBytesPerByte;
    bytes_left_ -= std::min(bytes, bytes_left_);
}

void Block::on_complete(std::span<const storage::IoCompletion> completions) {
    for (const storage::IoCompletion& completion : completions) {
        finish(completion);
    }
    if (is_serving_) {
        return;  // serve() goes on
    }
    if (phase_ == Phase::Serving) {
        serve();
        return;
    }
    storage_->submit();
    notify();
}

void Block::finish(const storage::IoCompletion& completion) {
    const std::size_t index = completion.tag >> 16U;
    const std::size_t head = completion.tag & 0xffffU;
    CHECK(index < queues_.size());
    CHECK(queues_[index] != nullptr);  // or we gave it up too early
    Queue& queue = *queues_[index];
    CHECK(head < queue.pending.size());
    std::optional<Pending>& place = queue.pending[head];
    CHECK(place.has_value());
    const bool is_ok = completion.status == storage::IoStatus::Ok;
    // virtio 1.2 §5.2.6.2: to a driver that cannot flush, a write that is done is on the disk.
    if (is_ok && place->kind != Kind::Read && place->kind != Kind::Flush && !can_flush_) {
        place->kind = Kind::Flush;
        storage_->flush(completion.tag);
        return;
    }
    Chain chain = std::move(place->chain);
    Answered data = place->data;
    place.reset();
    --in_flight_;
    if (!is_ok) {
        data.written = 0;
    }
    // There is no status for a disk that is full; an error tells the driver that nothing changed.
    const VirtioBlkStatus status = is_ok ? VirtioBlkStatus::Ok
                                   : completion.status == storage::IoStatus::Unsupported
                                       ? VirtioBlkStatus::Unsupported
                                       : VirtioBlkStatus::IoError;
    answer(queue, std::move(chain), status, data);
}

/// `data` bytes at the beginning of the writable part were written. The status is its last byte
/// (virtio 1.2 §5.2.6). Where there is a gap between the two, used.len ends before it (§2.7.8.2).
void Block::answer(Queue& queue, Chain chain, VirtioBlkStatus status, Answered data) {
    (void)chain.take_writable(chain.writable() - 1);
    const std::array<std::byte, 1> last{static_cast<std::byte>(status)};
    (void)chain.write(last);
    queue.ring.complete(std::move(chain),
                        data.written == data.room ? data.written + 1 : data.written);
}

void Block::notify() {
    if (phase_ == Phase::Resetting) {
        return;
    }
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        if (queues_[i] != nullptr && queues_[i]->ring.should_interrupt()) {
            notifier_->queue_used(static_cast<std::uint16_t>(i));
        }
    }
}

}  // namespace pepita::vmm::virtio
