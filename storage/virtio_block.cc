#include "storage/virtio_block.h"

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
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"
#include "storage/block_device.h"
#include "storage/request_queue.h"
#include "storage/tag_set.h"
#include "storage/virtio_block/config.h"
#include "storage/virtio_block/request.h"

namespace pepita::storage {

using abi::VirtioBlkStatus;
using Kind = virtio_block::Request::Kind;
using storage::IoOperation;

namespace {

// What a cleared byte counts of a turn, next to one that is moved: a store gives pages back much
// faster than it fills them.
constexpr std::uint64_t kClearedBytesPerByte = 64;

// As long as it is; what follows it is zeros.
std::string_view text_of(std::span<const std::byte> serial) {
    const std::size_t length =
        static_cast<std::size_t>(std::ranges::find(serial, std::byte{0}) - serial.begin());
    // SAFETY: bytes as characters.
    return {reinterpret_cast<const char*>(serial.data()), length};
}

IoOperation operation_of(Kind kind) {
    switch (kind) {
        case Kind::Read:
            return IoOperation::Read;
        case Kind::Write:
            return IoOperation::Write;
        case Kind::Flush:
            return IoOperation::Flush;
        case Kind::Discard:
            return IoOperation::Discard;
        case Kind::WriteZeroes:
            return IoOperation::WriteZeroes;
        case Kind::GetId:
        case Kind::Unsupported:
        case Kind::Bad:
        case Kind::Mute:
            break;
    }
    std::unreachable();
}

}  // namespace

Result<std::unique_ptr<VirtioBlock>> VirtioBlock::create(
    EventLoop& loop, std::unique_ptr<storage::BlockDevice> storage, std::string_view serial,
    std::uint16_t queues) {
    const bool is_printable =
        std::ranges::all_of(serial, [](char c) { return c > ' ' && c <= '~'; });
    if (serial.size() > abi::kVirtioBlkIdBytes || !is_printable) {
        return Error(Code::InvalidArgument,
                     "disk serial is not 0 to 20 printable characters without spaces");
    }
    if (queues == 0 || queues > virtio_block::kQueuesMax) {
        return Error(Code::InvalidArgument, std::to_string(queues) + " queues: 1 to " +
                                                std::to_string(virtio_block::kQueuesMax));
    }
    // The driver cannot have more under way than its queues have places.
    auto tags = TRY(storage::TagSet::create(
        {.depth = std::min<std::uint32_t>({storage->depth(), storage::TagSet::kDepthMax,
                                           std::uint32_t{queues} * virtio_block::kQueueSize})}));
    return std::unique_ptr<VirtioBlock>(
        new VirtioBlock(loop, std::move(storage), serial, queues, std::move(tags)));
}

VirtioBlock::VirtioBlock(EventLoop& loop, std::unique_ptr<storage::BlockDevice> storage,
                         std::string_view serial, std::uint16_t queues, storage::TagSet tags)
    : loop_(loop),
      tags_(std::move(tags)),
      pending_(tags_.queue(0).depth()),
      config_(virtio_block::make_config(storage->capacity(), queues)),
      queue_sizes_(queues, virtio_block::kQueueSize),
      queues_(queues),
      requests_(std::move(storage),
                {.loop = loop,
                 .tags = tags_.queue(0),
                 .on_complete =
                     [this](std::span<const storage::IoCompletion> done) { on_complete(done); },
                 .on_late = [this](const storage::RequestQueue::Late& late) { on_late(late); }}) {
    std::ranges::copy(std::as_bytes(std::span(serial)), serial_.begin());
}

VirtioBlock::~VirtioBlock() { reset(); }

std::uint64_t VirtioBlock::features() const {
    return virtio_block::offered_features(requests_.device().access(), config_.num_queues);
}

std::span<const std::byte> VirtioBlock::config() const {
    return std::as_bytes(std::span(&config_, 1));
}

void VirtioBlock::start(const virtio::Session& session) {
    notifier_ = &session.notifier;
    can_flush_ = (session.features & abi::kVirtioBlkFFlush) != 0;
}

Result<std::size_t> VirtioBlock::start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) {
    if (queue >= queues_.size() || notifier_ == nullptr || queues_[queue] != nullptr) {
        return std::size_t{0};
    }
    queues_[queue] = std::make_unique<Queue>(TRY(setup.open()));
    const std::size_t inherited = queues_[queue]->ring.inherited();
    serve();
    return inherited;
}

std::uint16_t VirtioBlock::stop_queue(std::uint16_t queue) {
    return queue < queues_.size() ? give_up_queue(queue, Phase::Stopping) : std::uint16_t{0};
}

std::uint16_t VirtioBlock::give_up_queue(std::uint16_t index, Phase phase) {
    if (queues_[index] == nullptr) {
        return 0;
    }
    phase_ = phase;
    requests_.drain();
    phase_ = Phase::Serving;
    CHECK(tags_.queue(0).in_use() == 0);
    const std::uint16_t next = queues_[index]->ring.next_available();
    queues_[index].reset();
    return next;
}

void VirtioBlock::kick(std::uint16_t queue) {
    if (queue < queues_.size() && queues_[queue] != nullptr) {
        queues_[queue]->has_chains = true;
        serve();
    }
}

void VirtioBlock::reset() {
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        (void)give_up_queue(static_cast<std::uint16_t>(i), Phase::Resetting);
    }
    notifier_ = nullptr;
    next_turn_.cancel();
}

Result<void> VirtioBlock::resized() {
    TRY(requests_.refresh());
    const std::uint64_t before =
        std::exchange(config_.capacity, requests_.device().capacity().value());
    if (config_.capacity != before && notifier_ != nullptr) {
        notifier_->config_changed();
    }
    return {};
}

/// Until the storage has nothing to tell any more, and no queue has both chains and room, or the
/// turn is over.
void VirtioBlock::serve() {
    is_serving_ = true;
    chains_left_ = kChainsPerTurn;
    bytes_left_ = kBytesPerTurn.value();
    do {
        // Another one begins each time, or the first could take all turns and all room.
        first_queue_ = (first_queue_ + 1) % queues_.size();
        for (std::size_t i = 0; i < queues_.size(); ++i) {
            const std::size_t index = (first_queue_ + i) % queues_.size();
            if (queues_[index] != nullptr && queues_[index]->has_chains) {
                take_chains(static_cast<std::uint16_t>(index));
            }
        }
        requests_.submit();
    } while (requests_.poll());
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

void VirtioBlock::take_chains(std::uint16_t index) {
    Queue& queue = *queues_[index];
    queue.ring.disable_kicks();
    do {
        while (has_room() && !is_turn_over()) {
            std::optional<virtio::Chain> chain = queue.ring.pop();
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

void VirtioBlock::begin(std::uint16_t index, virtio::Chain chain) {
    Queue& queue = *queues_[index];
    const storage::BlockDevice& disk = requests_.device();
    const virtio_block::Request request =
        virtio_block::parse_request(chain, disk.capacity(), disk.access());
    count(request);
    Answered data{.written = 0, .room = static_cast<std::uint32_t>(request.room.value())};
    switch (request.kind) {
        case Kind::Read:
        case Kind::Write:
        case Kind::Flush:
        case Kind::Discard:
        case Kind::WriteZeroes:
            start_request(index, std::move(chain), request);
            return;
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
}

void VirtioBlock::start_request(std::uint16_t index, virtio::Chain chain,
                                const virtio_block::Request& request) {
    const IoOperation operation = operation_of(request.kind);
    segments_.clear();
    if (operation == IoOperation::Read) {
        chain.take_writable(request.length.value(), segments_);
    } else if (operation == IoOperation::Write) {
        chain.take_readable(request.length.value(), segments_);
    }
    const auto room = static_cast<std::uint32_t>(request.room.value());
    const std::optional<storage::Tag> free = tags_.queue(0).take();
    CHECK(free.has_value());  // there was room
    const storage::Tag tag = *free;
    pending_[tag].emplace(
        index, std::move(chain),
        Answered{.written = operation == IoOperation::Read ? room : 0, .room = room});
    requests_.start(tag, {.operation = operation,
                          .first = request.first,
                          .count = request.count,
                          .segments = segments_,
                          // virtio 1.2 §5.2.6.2: to a driver that cannot flush, a write that is
                          // done is on the disk.
                          .is_forced = !can_flush_});
}

void VirtioBlock::count(const virtio_block::Request& request) {
    --chains_left_;
    const std::uint64_t bytes =
        request.length.value() + to_bytes(request.count).value() / kClearedBytesPerByte;
    bytes_left_ -= std::min(bytes, bytes_left_);
}

void VirtioBlock::on_complete(std::span<const storage::IoCompletion> completions) {
    for (const storage::IoCompletion& completion : completions) {
        finish(completion);
    }
    if (is_serving_) {
        return;  // serve() goes on
    }
    if (phase_ == Phase::Serving) {
        serve();
    } else {
        notify();
    }
}

void VirtioBlock::on_late(const storage::RequestQueue::Late& late) const {
    log::warn("a disk takes long; its requests wait on",
              {{"serial", text_of(serial_)},
               {"requests", late.count},
               {"oldest", storage::name_of(late.operation)},
               {"seconds", std::chrono::duration_cast<std::chrono::seconds>(late.age).count()}});
}

void VirtioBlock::finish(const storage::IoCompletion& completion) {
    const auto tag = static_cast<storage::Tag>(completion.tag);
    std::optional<Pending>& place = pending_[tag];
    CHECK(place.has_value());
    CHECK(queues_[place->queue] != nullptr);  // or we gave it up too early
    Queue& queue = *queues_[place->queue];
    virtio::Chain chain = std::move(place->chain);
    Answered data = place->data;
    place.reset();
    tags_.queue(0).give_back(tag);
    const bool is_ok = completion.status == storage::IoStatus::Ok;
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
void VirtioBlock::answer(Queue& queue, virtio::Chain chain, VirtioBlkStatus status, Answered data) {
    chain.skip_writable(chain.writable() - 1);
    const std::array<std::byte, 1> last{static_cast<std::byte>(status)};
    (void)chain.write(last);
    queue.ring.complete(std::move(chain),
                        data.written == data.room ? data.written + 1 : data.written);
}

void VirtioBlock::notify() {
    if (phase_ == Phase::Resetting) {
        return;
    }
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        if (queues_[i] != nullptr && queues_[i]->ring.should_interrupt()) {
            notifier_->queue_used(static_cast<std::uint16_t>(i));
        }
    }
}

}  // namespace pepita::storage
