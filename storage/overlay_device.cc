#include "storage/overlay_device.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/segment_cursor.h"
#include "storage/zram_store.h"

namespace pepita::storage {
namespace {

constexpr std::uint64_t kPage = kPageSize.value();
constexpr std::uint64_t kSector = kSectorSize.value();

}  // namespace

OverlayDevice::OverlayDevice(EventLoop& loop, std::unique_ptr<BlockDevice> base,
                             std::shared_ptr<ZramVolume> upper)
    : loop_(loop), upper_(std::move(upper)), slots_(base->depth()), base_(std::move(base)) {
    for (auto i = static_cast<std::uint32_t>(slots_.size()); i > 0; --i) {
        free_.push_back(i - 1);
    }
    base_->set_listener([this](std::span<const IoCompletion> done) {
        for (const IoCompletion& one : done) {
            on_base(one);
        }
        if (!is_polling_) {  // from the base's loop: nobody would ask us
            go_on();
        }
    });
}

void OverlayDevice::read(Sectors first, std::span<const Segment> into, std::uint64_t tag) {
    begin(Kind::Read, first, into, Sectors(0), tag);
}

void OverlayDevice::write(Sectors first, std::span<const Segment> from, std::uint64_t tag) {
    begin(Kind::Write, first, from, Sectors(0), tag);
}

// What is discarded must not show the base again, so it becomes zeros.
void OverlayDevice::discard(Sectors first, Sectors count, std::uint64_t tag) {
    begin(Kind::Clear, first, {}, count, tag);
}
void OverlayDevice::write_zeroes(Sectors first, Sectors count, std::uint64_t tag) {
    begin(Kind::Clear, first, {}, count, tag);
}

void OverlayDevice::flush(std::uint64_t tag) {
    done_.push_back({.tag = tag, .status = IoStatus::Ok});
}

void OverlayDevice::begin(Kind kind, Sectors first, std::span<const Segment> segments,
                          Sectors count, std::uint64_t tag) {
    const bool is_possible = kind == Kind::Clear ? is_within(capacity(), first, count)
                                                 : is_within(capacity(), first, segments);
    if (!is_possible) {
        done_.push_back({.tag = tag, .status = IoStatus::Failed});
        return;
    }
    CHECK(!free_.empty());  // depth() is the caller's to keep
    Slot& slot = slots_[free_.back()];
    free_.pop_back();
    slot.kind = kind;
    slot.tag = tag;
    slot.segments.assign(segments.begin(), segments.end());
    slot.cursor = SegmentCursor(slot.segments);
    slot.at = to_bytes(first).value();
    slot.end = slot.at + to_bytes(count).value();
    for (const Segment segment : segments) {
        slot.end += segment.size();
    }
    slot.asked = 0;
    if (kind == Kind::Clear && !paused_.empty()) {
        pause(slot);  // not before those that wait
        return;
    }
    advance(slot);
}

void OverlayDevice::advance(Slot& slot) {
    std::uint64_t clearable = kClearedPerTurn.value();
    while (slot.at < slot.end) {
        const bool clears_pages = slot.kind == Kind::Clear && slot.at % kPage == 0;
        const std::uint64_t pages = clears_pages ? (slot.end - slot.at) / kPage : 0;
        if (pages > 0 && clearable == 0) {
            pause(slot);
            return;
        }
        if (pages > 0) {
            const std::uint64_t count = std::min(pages, clearable);
            if (!clear_pages(slot, count)) {
                return;
            }
            clearable -= count;
            continue;
        }
        if (!(slot.kind == Kind::Read ? step_read(slot) : step_write(slot))) {
            return;
        }
    }
    finish(slot, IoStatus::Ok);
}

bool OverlayDevice::step_read(Slot& slot) {
    const Pages page(slot.at / kPage);
    if (upper_->contains(page)) {
        std::array<std::byte, kPage> content{};
        const std::size_t offset = slot.at % kPage;
        const std::size_t length = std::min(kPage - offset, slot.end - slot.at);
        const std::span<std::byte> part = std::span(content).first(length);
        const IoStatus status = upper_->read_part(page, offset, part);
        if (status != IoStatus::Ok) {
            finish(slot, status);
            return false;
        }
        slot.cursor.copy_in(part);
        slot.at += length;
        return true;
    }
    std::uint64_t to = std::min(slot.end, (page.value() + 1) * kPage);
    while (to < slot.end && !upper_->contains(Pages(to / kPage))) {
        to = std::min(slot.end, to + kPage);
    }
    slot.pieces.clear();
    for (std::uint64_t left = to - slot.at; left > 0; left -= slot.pieces.back().size()) {
        slot.pieces.push_back(slot.cursor.take(left));
    }
    return ask_base(slot, slot.at, to);
}

bool OverlayDevice::step_write(Slot& slot) {
    const Pages page(slot.at / kPage);
    const std::size_t offset = slot.at % kPage;
    const std::size_t length = std::min(kPage - offset, slot.end - slot.at);
    if (length == kPage || upper_->contains(page)) {
        return write_piece(slot, length, {});
    }
    slot.page.assign(kPage, std::byte{0});
    slot.pieces.assign(1, slot.page);
    if (!ask_base(slot, slot.at - offset, slot.at - offset + kPage)) {
        return false;
    }
    return write_piece(slot, length, slot.page);
}

bool OverlayDevice::clear_pages(Slot& slot, std::uint64_t count) {
    const IoStatus status = upper_->write_zeroes(Pages(slot.at / kPage), Pages(count));
    if (status != IoStatus::Ok) {
        finish(slot, status);
        return false;
    }
    slot.at += count * kPage;
    return true;
}

void OverlayDevice::pause(const Slot& slot) {
    paused_.push_back(static_cast<std::uint32_t>(&slot - slots_.data()));
    if (paused_.size() == 1) {
        ask_for_turn();
    }
}

void OverlayDevice::ask_for_turn() {
    next_turn_ = loop_.after(std::chrono::nanoseconds(0), [this] {
        take_turn();
        go_on();
    });
}

void OverlayDevice::take_turn() {
    Slot& slot = slots_[paused_.front()];
    paused_.pop_front();
    advance(slot);
    if (paused_.empty()) {
        next_turn_.cancel();
    } else {
        ask_for_turn();
    }
}

bool OverlayDevice::write_piece(Slot& slot, std::size_t length,
                                std::span<const std::byte> beneath) {
    const Pages page(slot.at / kPage);
    std::array<std::byte, kPage> content{};
    const std::span<std::byte> part = std::span(content).first(length);
    if (slot.kind == Kind::Write) {
        slot.cursor.copy_out(part);
    }
    const IoStatus status = length == kPage
                                ? upper_->write(page, part)
                                : upper_->write_part(page, slot.at % kPage, part, beneath);
    if (status != IoStatus::Ok) {
        finish(slot, status);
        return false;
    }
    slot.at += length;
    return true;
}

/// Has the base read [from, to) into the slot's pieces. True where that is done: all of it lies
/// behind the base's end, so it is zeros, and a read has gone on to `to`.
bool OverlayDevice::ask_base(Slot& slot, std::uint64_t from, std::uint64_t to) {
    const std::uint64_t base_end = to_bytes(base_->capacity()).value();
    const std::uint64_t length = from < base_end ? std::min(to, base_end) - from : 0;
    std::uint64_t left = length;
    std::vector<Segment> wanted;
    for (const Segment piece : slot.pieces) {
        const std::size_t here = std::min<std::uint64_t>(left, piece.size());
        if (here > 0) {
            wanted.push_back(piece.first(here));
        }
        std::ranges::fill(piece.subspan(here), std::byte{0});
        left -= here;
    }
    if (slot.kind == Kind::Read) {
        slot.at = to;
    }
    if (length == 0) {
        return true;
    }
    slot.asked = length;
    const auto index = static_cast<std::uint64_t>(&slot - slots_.data());
    base_->read(Sectors(from / kSector), wanted, index);
    return false;
}

void OverlayDevice::on_base(const IoCompletion& done) {
    Slot& slot = slots_[done.tag];
    slot.asked = 0;
    if (done.status != IoStatus::Ok) {
        return finish(slot, done.status);
    }
    if (slot.kind != Kind::Read) {
        const std::size_t length = std::min(kPage - slot.at % kPage, slot.end - slot.at);
        if (!write_piece(slot, length, slot.page)) {
            return;
        }
    }
    advance(slot);
}

void OverlayDevice::finish(Slot& slot, IoStatus status) {
    done_.push_back({.tag = slot.tag, .status = status});
    free_.push_back(static_cast<std::uint32_t>(&slot - slots_.data()));
}

bool OverlayDevice::poll() {
    is_polling_ = true;
    const bool base_told = base_->poll();
    is_polling_ = false;
    base_->submit();  // what requests went on to ask
    return tell() || base_told;
}

/// Where nobody asks us: the base may be done at once.
void OverlayDevice::go_on() {
    base_->submit();
    (void)tell();
    while (poll()) {}
}

bool OverlayDevice::tell() {
    const std::vector<IoCompletion> done = std::exchange(done_, {});
    if (!done.empty() && listener_) {
        listener_(done);
    }
    return !done.empty();
}

void OverlayDevice::drain() {
    while (free_.size() < slots_.size() || !done_.empty()) {
        base_->drain();
        if (!paused_.empty()) {
            take_turn();
        }
        (void)poll();
    }
}

}  // namespace pepita::storage
