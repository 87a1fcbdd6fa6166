#include "storage/request_queue.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/tag_set.h"

namespace pepita::storage {
namespace {

bool moves_bytes(IoOperation operation) {
    return operation == IoOperation::Read || operation == IoOperation::Write;
}

Bytes sum_of(std::span<const BlockDevice::Segment> segments) {
    std::uint64_t sum = 0;
    for (const BlockDevice::Segment segment : segments) {
        sum += segment.size();
    }
    return Bytes(sum);
}

// Pieces of memory that touch are one: a guest's pages often do.
void append(std::vector<BlockDevice::Segment>& to, BlockDevice::Segment segment) {
    if (!to.empty() && to.back().data() + to.back().size() == segment.data()) {
        to.back() = {to.back().data(), to.back().size() + segment.size()};
    } else {
        to.push_back(segment);
    }
}

}  // namespace

RequestQueue::RequestQueue(std::unique_ptr<BlockDevice> device, Options options)
    : options_(std::move(options)),
      limits_(device->merge_limits()),
      slots_(options_.tags.depth()),
      device_(std::move(device)) {
    CHECK(options_.tags.depth() <= device_->depth());
    device_->set_listener([this](std::span<const IoCompletion> done) { on_device(done); });
}

void RequestQueue::start(Tag tag, const Request& request) {
    CHECK(options_.tags.is_taken(tag));
    Slot& slot = slots_[tag];
    CHECK(slot.stage == Stage::Idle);
    if (!now_) {
        now_ = Clock::now();
    }
    slot.operation = request.operation;
    slot.is_forced = request.is_forced && request.operation != IoOperation::Read &&
                     request.operation != IoOperation::Flush;
    slot.is_told = false;
    slot.next = kNone;
    slot.first = request.first;
    slot.begun = *now_;
    ++under_way_;
    ++statistics_.requests;
    if (moves_bytes(slot.operation) && limits_.segments > 0) {
        collect(tag, request.segments);
        return;
    }
    close_group();
    slot.stage = Stage::AtDevice;
    switch (slot.operation) {
        case IoOperation::Read:
        case IoOperation::Write:
            move_bytes(slot, request.segments, tag);
            break;
        case IoOperation::Flush:
            slot.stage = Stage::Waiting;
            waiting_.push_back(tag);
            break;
        case IoOperation::Discard:
            device_->discard(slot.first, request.count, tag);
            break;
        case IoOperation::WriteZeroes:
            device_->write_zeroes(slot.first, request.count, tag);
            break;
    }
}

/// Into the open group, or the first of a new one.
void RequestQueue::collect(Tag tag, std::span<const Segment> segments) {
    Slot& slot = slots_[tag];
    slot.segments.assign(segments.begin(), segments.end());
    slot.length = sum_of(segments);
    if (open_.first != kNone && joins(slot)) {
        slots_[open_.last].next = tag;
        ++statistics_.merged;
    } else {
        close_group();
        open_ = {.first = tag, .last = tag, .end = {}, .bytes = Bytes(0), .segments = 0};
    }
    slot.stage = Stage::Open;
    open_.last = tag;
    open_.end = slot.first + Sectors(slot.length.value() / kSectorSize.value());
    open_.bytes = open_.bytes + slot.length;
    open_.segments += segments.size();
}

// Two that are forced are not put together, as in blk-mq: each would wait for the other's data.
// One that is not whole sectors long fails, and shall fail alone.
bool RequestQueue::joins(const Slot& slot) const {
    const Slot& first = slots_[open_.first];
    return slot.operation == first.operation && !slot.is_forced && !first.is_forced &&
           slot.first == open_.end && slot.length.value() != 0 &&
           slot.length.value() % kSectorSize.value() == 0 &&
           open_.bytes.value() % kSectorSize.value() == 0 && open_.bytes.value() != 0 &&
           open_.bytes.value() + slot.length.value() <= limits_.bytes.value() &&
           open_.segments + slot.segments.size() <= limits_.segments;
}

void RequestQueue::close_group() {
    const Tag first = std::exchange(open_.first, kNone);
    if (first == kNone) {
        return;
    }
    if (open_.last == first) {
        slots_[first].stage = Stage::AtDevice;
        move_bytes(slots_[first], slots_[first].segments, first);
        return;
    }
    joined_.clear();
    for (Tag tag = first; tag != kNone; tag = slots_[tag].next) {
        slots_[tag].stage = Stage::AtDevice;
        for (const Segment segment : slots_[tag].segments) {
            append(joined_, segment);
        }
    }
    move_bytes(slots_[first], joined_, first);
}

void RequestQueue::move_bytes(const Slot& slot, std::span<const Segment> segments, Tag tag) {
    if (slot.operation == IoOperation::Read) {
        device_->read(slot.first, segments, tag);
    } else {
        device_->write(slot.first, segments, tag);
    }
}

/// One at a time is enough: whoever asks while it is at the device may have been told of writes
/// that it does not cover, and waits for the next, which then does for all who came meanwhile.
void RequestQueue::start_flush() {
    if (!flushing_.empty() || waiting_.empty()) {
        return;
    }
    flushing_.swap(waiting_);
    for (const Tag tag : flushing_) {
        slots_[tag].stage = Stage::Flushing;
    }
    statistics_.flushes_shared += flushing_.size() - 1;
    device_->flush(flushing_.front());
}

void RequestQueue::submit() {
    close_group();
    start_flush();
    now_.reset();
    device_->submit();
}

void RequestQueue::on_device(std::span<const IoCompletion> done) {
    for (const IoCompletion& one : done) {
        CHECK(one.tag < slots_.size());
        const auto tag = static_cast<Tag>(one.tag);
        if (slots_[tag].stage == Stage::Flushing) {
            on_flushed(one.status);
        } else {
            on_moved(tag, one.status);
        }
    }
    if (is_asking_) {
        return;  // who asks goes on
    }
    (void)tell();
    do {
        submit();
    } while (poll());
}

void RequestQueue::on_moved(Tag first, IoStatus status) {
    CHECK(slots_[first].stage == Stage::AtDevice);
    const bool is_alone = slots_[first].next == kNone;
    Tag next = kNone;
    for (Tag tag = first; tag != kNone; tag = next) {
        Slot& slot = slots_[tag];
        next = std::exchange(slot.next, kNone);
        if (status != IoStatus::Ok && !is_alone) {
            move_bytes(slot, slot.segments, tag);
        } else if (status == IoStatus::Ok && slot.is_forced) {
            slot.stage = Stage::Waiting;
            waiting_.push_back(tag);
        } else {
            finish(tag, status);
        }
    }
}

void RequestQueue::on_flushed(IoStatus status) {
    for (const Tag tag : flushing_) {
        finish(tag, status);
    }
    flushing_.clear();
}

void RequestQueue::finish(Tag tag, IoStatus status) {
    slots_[tag].stage = Stage::Idle;
    done_.push_back({.tag = tag, .status = status});
}

bool RequestQueue::tell() {
    if (done_.empty()) {
        return false;
    }
    std::vector<IoCompletion> telling = std::exchange(done_, std::exchange(spare_, {}));
    under_way_ -= static_cast<std::uint32_t>(telling.size());
    options_.on_complete(telling);
    telling.clear();
    spare_ = std::move(telling);
    return true;
}

bool RequestQueue::poll() {
    is_asking_ = true;
    const bool device_told = device_->poll();
    is_asking_ = false;
    const bool told = tell();
    if (!device_told && !told) {
        watch();
        return false;
    }
    return true;
}

void RequestQueue::drain() {
    while (under_way_ > 0) {
        submit();
        is_asking_ = true;
        device_->drain();
        is_asking_ = false;
        (void)tell();
    }
}

/// The timer is started before somebody waits, so a device that is done at once needs none, and
/// stays until it fires: one that runs costs nothing.
void RequestQueue::watch() {
    if (under_way_ == 0 || is_watching_) {
        return;
    }
    is_watching_ = true;
    watch_ = options_.loop.after(options_.deadline, [this] { look_for_late(); });
}

void RequestQueue::look_for_late() {
    is_watching_ = false;
    const Clock::time_point now = Clock::now();
    std::optional<Clock::time_point> next;
    Late late;
    for (Slot& slot : slots_) {
        if (slot.stage == Stage::Idle || slot.is_told) {
            continue;
        }
        const Clock::duration age = now - slot.begun;
        if (age < options_.deadline) {
            next = std::min(next.value_or(slot.begun), slot.begun);
            continue;
        }
        slot.is_told = true;
        ++late.count;
        if (age > late.age) {
            late.age = age;
            late.operation = slot.operation;
        }
    }
    if (next) {
        is_watching_ = true;
        // Not for each one by itself: whoever is told writes a line.
        const Clock::duration delay =
            std::max(*next + options_.deadline - now, options_.deadline / 8);
        watch_ = options_.loop.after(delay, [this] { look_for_late(); });
    }
    statistics_.late += late.count;
    if (late.count > 0 && options_.on_late) {
        options_.on_late(late);
    }
}

}  // namespace pepita::storage
