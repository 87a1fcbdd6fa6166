#include "vmm/virtio/block/device.h"

#include <algorithm>
#include <array>
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
#include "kernel-abi/sys/result.h"
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

Result<std::unique_ptr<Block>> Block::create(std::unique_ptr<storage::BlockDevice> storage,
                                             std::string_view serial) {
    const bool is_printable =
        std::ranges::all_of(serial, [](char c) { return c > ' ' && c <= '~'; });
    if (serial.size() > abi::kVirtioBlkIdBytes || !is_printable) {
        return Error(Code::InvalidArgument,
                     "disk serial is not 0 to 20 printable characters without spaces");
    }
    return std::unique_ptr<Block>(new Block(std::move(storage), serial));
}

Block::Block(std::unique_ptr<storage::BlockDevice> storage, std::string_view serial)
    : storage_(std::move(storage)), config_(block::make_config(storage_->capacity())) {
    std::ranges::copy(std::as_bytes(std::span(serial)), serial_.begin());
    storage_->set_listener(
        [this](std::span<const storage::IoCompletion> completions) { on_complete(completions); });
}

Block::~Block() { reset(); }

std::uint64_t Block::features() const { return block::offered_features(storage_->access()); }

std::span<const std::byte> Block::config() const { return std::as_bytes(std::span(&config_, 1)); }

void Block::start(const Session& session) {
    notifier_ = &session.notifier;
    can_flush_ = (session.features & abi::kVirtioBlkFFlush) != 0;
}

void Block::start_queue(std::uint16_t queue, Ring ring) {
    if (queue == 0 && notifier_ != nullptr && queue_ == nullptr) {
        queue_ = std::make_unique<Queue>(std::move(ring));
        serve();
    }
}

std::uint16_t Block::stop_queue(std::uint16_t queue) {
    return queue == 0 ? give_up_queue(Phase::Stopping) : std::uint16_t{0};
}

std::uint16_t Block::give_up_queue(Phase phase) {
    if (queue_ == nullptr) {
        return 0;
    }
    phase_ = phase;
    storage_->drain();
    phase_ = Phase::Serving;
    CHECK(queue_->in_flight == 0);
    const std::uint16_t next = queue_->ring.next_available();
    queue_.reset();
    return next;
}

void Block::kick(std::uint16_t queue) {
    if (queue == 0) {
        serve();
    }
}

void Block::reset() {
    (void)give_up_queue(Phase::Resetting);
    notifier_ = nullptr;
}

void Block::serve() {
    if (queue_ == nullptr) {
        return;
    }
    take_chains();
    storage_->submit();
    notify();
    if (queue_->ring.is_broken() && !std::exchange(queue_->was_broken, true)) {
        notifier_->queue_broken(0);
    }
}

void Block::take_chains() {
    queue_->ring.disable_kicks();
    do {
        while (has_room()) {
            std::optional<Chain> chain = queue_->ring.pop();
            if (!chain) {
                break;
            }
            begin(*std::move(chain));
        }
        // Without room nobody has to kick: we come back by ourselves when a request is done.
        queue_->is_starved = !has_room();
    } while (!queue_->is_starved && queue_->ring.enable_kicks());
}

void Block::begin(Chain chain) {
    const block::Request request =
        block::parse_request(chain, storage_->capacity(), storage_->access());
    const std::uint16_t head = chain.head();
    Answered data{.written = 0, .room = static_cast<std::uint32_t>(request.room.value())};
    switch (request.kind) {
        case Kind::Read:
            data.written = data.room;
            storage_->read(request.first, chain.take_writable(request.length.value()), head);
            break;
        case Kind::Write:
            storage_->write(request.first, chain.take_readable(request.length.value()), head);
            break;
        case Kind::Flush:
            storage_->flush(head);
            break;
        case Kind::GetId:
            data.written = static_cast<std::uint32_t>(chain.write(serial_));
            answer(std::move(chain), VirtioBlkStatus::Ok, data);
            return;
        case Kind::Unsupported:
            answer(std::move(chain), VirtioBlkStatus::Unsupported, data);
            return;
        case Kind::Bad:
            answer(std::move(chain), VirtioBlkStatus::IoError, data);
            return;
        case Kind::Mute:
            queue_->ring.complete(std::move(chain), 0);
            return;
    }
    ++queue_->in_flight;
    queue_->pending[head].emplace(std::move(chain), request.kind, data);
}

void Block::on_complete(std::span<const storage::IoCompletion> completions) {
    CHECK(queue_ != nullptr);  // or we gave it up with requests in flight
    for (const storage::IoCompletion& completion : completions) {
        finish(completion);
    }
    if (queue_->is_starved && phase_ == Phase::Serving) {
        serve();
        return;
    }
    storage_->submit();
    notify();
}

void Block::finish(const storage::IoCompletion& completion) {
    CHECK(completion.tag < queue_->pending.size());
    std::optional<Pending>& place = queue_->pending[completion.tag];
    CHECK(place.has_value());
    const bool is_ok = completion.status == storage::IoStatus::Ok;
    // virtio 1.2 §5.2.6.2: to a driver that cannot flush, a write that is done is on the disk.
    if (is_ok && place->kind == Kind::Write && !can_flush_) {
        place->kind = Kind::Flush;
        storage_->flush(completion.tag);
        return;
    }
    Chain chain = std::move(place->chain);
    Answered data = place->data;
    place.reset();
    --queue_->in_flight;
    if (!is_ok) {
        data.written = 0;
    }
    answer(std::move(chain), is_ok ? VirtioBlkStatus::Ok : VirtioBlkStatus::IoError, data);
}

/// `data` bytes at the beginning of the writable part were written. The status is its last byte
/// (virtio 1.2 §5.2.6). Where there is a gap between the two, used.len ends before it (§2.7.8.2).
void Block::answer(Chain chain, VirtioBlkStatus status, Answered data) {
    (void)chain.take_writable(chain.writable() - 1);
    const std::array<std::byte, 1> last{static_cast<std::byte>(status)};
    (void)chain.write(last);
    queue_->ring.complete(std::move(chain),
                          data.written == data.room ? data.written + 1 : data.written);
}

void Block::notify() {
    if (phase_ != Phase::Resetting && queue_->ring.should_interrupt()) {
        notifier_->queue_used(0);
    }
}

}  // namespace pepita::vmm::virtio
