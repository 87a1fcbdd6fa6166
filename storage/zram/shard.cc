#include "storage/zram/shard.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>
#include <span>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/cold_codec.h"
#include "storage/zram/dedup_index.h"
#include "storage/zram/frame_table.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {
namespace {

constexpr std::size_t pages_for(std::size_t bytes) { return (bytes + kPageBytes - 1) / kPageBytes; }

/// Pages of a frame that are written: objects grow from its begin, slots from its end.
constexpr std::size_t pages_of(std::size_t tail, std::size_t slots) {
    return std::min(kFrameBytes / kPageBytes, pages_for(tail) + pages_for(slots * sizeof(Slot)));
}

constexpr std::size_t kCacheLine = 64;

/// An object lies somewhere in memory that is much larger than any cache: all of it is asked for at
/// once, and not as far as unpacking has got.
void prefetch(std::span<const std::byte> content) {
    for (std::size_t at = 0; at < content.size(); at += kCacheLine) {
        __builtin_prefetch(&content[at]);
    }
}

// Of a frame that could do with so many pages less, they are given back.
constexpr std::size_t kWorthPacking = 2;

}  // namespace

Slot& Shard::slot_of(ObjectFrame& frame, std::uint32_t slot) {
    // SAFETY: slots stand at the frame's end, aligned as their members are.
    auto* const end = reinterpret_cast<std::byte*>(&frame) + kFrameBytes;
    return *reinterpret_cast<Slot*>(end - (slot + 1) * sizeof(Slot));
}

std::span<const std::byte> Shard::content_of(ObjectFrame& frame, const Slot& slot) {
    // SAFETY: an object lies in its frame; who opens a store has checked that.
    return {reinterpret_cast<const std::byte*>(&frame) + slot.offset, slot.size()};
}

std::uint16_t Shard::counted_size(ObjectFrame& frame, const Slot& slot) {
    if (!slot.is(Mark::Cold)) {
        return slot.size();
    }
    ColdHeader header{};
    std::memcpy(&header, content_of(frame, slot).data(), sizeof(header));
    return header.size_before;
}

bool Shard::unpack(const Slot& slot, std::span<const std::byte> content, PageSpan into) const {
    if (slot.is(Mark::Cold)) {
        return cold_codec_.unpack(content.subspan(sizeof(ColdHeader)), into);
    }
    if (content.size() == kPageBytes) {
        std::memcpy(into.data(), content.data(), kPageBytes);
        return true;
    }
    return lz4_decompress_page(content, into);
}

bool Shard::is_equal(const Slot& slot, std::span<const std::byte> content, PageView page) const {
    if (content.size() == kPageBytes && !slot.is(Mark::Cold)) {
        return std::memcmp(content.data(), page.data(), kPageBytes) == 0;
    }
    __attribute__((uninitialized)) std::array<std::byte, kPageBytes> unpacked;
    return unpack(slot, content, unpacked) &&
           std::memcmp(unpacked.data(), page.data(), kPageBytes) == 0;
}

template <typename IsIt>
std::optional<Object> Shard::find(std::uint32_t hash, const IsIt& is_it) {
    std::optional<Object> found;
    index_.find(hash, [&](ObjectId id) {
        ObjectFrame& frame = frame_of(id.frame);
        Slot& slot = slot_of(frame, id.slot);
        if (slot.hash != hash || slot.references == std::numeric_limits<std::uint32_t>::max() ||
            !is_it(slot, content_of(frame, slot))) {
            return false;
        }
        slot.clear(Mark::Idle);
        ++slot.references;
        ++references_;
        found = Object{.id = id, .size = counted_size(frame, slot)};
        return true;
    });
    return found;
}

std::optional<Object> Shard::share(std::uint32_t hash, PageView page, Age& age) {
    // The first with that hash is most certainly the page: it is compared as a copy, without the
    // lock, and the reference is there already.
    Slot slot{};
    __attribute__((uninitialized)) std::array<std::byte, kPageBytes> copy;
    std::optional<Object> found;
    {
        const std::scoped_lock lock(mutex_);
        age = age_;
        found = find(hash, [&](const Slot& its, std::span<const std::byte> content) {
            slot = its;
            std::memcpy(copy.data(), content.data(), content.size());
            return true;
        });
    }
    if (!found || is_equal(slot, std::span(copy).first(slot.size()), page)) {
        return found;
    }
    (void)release(found->id);
    const std::scoped_lock lock(mutex_);
    age = age_;
    return find_equal(hash, page);
}

std::optional<Object> Shard::find_equal(std::uint32_t hash, PageView page) {
    return find(hash, [&](const Slot& slot, std::span<const std::byte> content) {
        return is_equal(slot, content, page);
    });
}

std::optional<Object> Shard::add(std::uint32_t hash, PageView page,
                                 std::span<const std::byte> content, Age age) {
    const std::scoped_lock lock(mutex_);
    if (age != age_) {
        if (const std::optional<Object> found = find_equal(hash, page)) {
            return found;
        }
    }
    if (!index_.reserve()) {
        return std::nullopt;
    }
    const std::optional<ObjectId> id = append(hash, content);
    if (!id) {
        return std::nullopt;
    }
    index_.insert(hash, *id);
    ++age_;
    ++objects_;
    ++references_;
    payload_ += content.size();
    return Object{.id = *id, .size = static_cast<std::uint16_t>(content.size())};
}

bool Shard::read(ObjectId id, PageSpan into) const {
    const std::scoped_lock lock(mutex_);
    ObjectFrame& frame = frame_of(id.frame);
    Slot& slot = slot_of(frame, id.slot);
    if (slot.is(Mark::Idle)) {  // seldom: others read the same slot's line
        slot.clear(Mark::Idle);
    }
    const std::span<const std::byte> content = content_of(frame, slot);
    prefetch(content);
    return unpack(slot, content, into);
}

std::uint16_t Shard::size_of(ObjectId id) const {
    const std::scoped_lock lock(mutex_);
    ObjectFrame& frame = frame_of(id.frame);
    return counted_size(frame, slot_of(frame, id.slot));
}

std::uint16_t Shard::release(ObjectId id) {
    const std::scoped_lock lock(mutex_);
    ObjectFrame& its_frame = frame_of(id.frame);
    Slot& slot = slot_of(its_frame, id.slot);
    const std::uint16_t counted = counted_size(its_frame, slot);
    CHECK(slot.references > 0);
    --references_;
    if (--slot.references > 0) {
        return counted;
    }
    const std::uint16_t size = slot.size();
    index_.erase(slot.hash, id);
    --objects_;
    payload_ -= size;
    if (slot.is(Mark::Cold)) {
        --cold_objects_;
        cold_payload_ -= size;
    }
    FrameInfo& info = frames_[id.frame];
    unlink(id.frame);
    info.free += size;
    ++info.free_slots;
    --info.live;
    if (info.live == 0) {
        drop_frame(id.frame);
        return counted;
    }
    const std::size_t slots = frame_of(id.frame).slots;
    const std::size_t live_end = kFrameBytes - info.free - slots * sizeof(Slot);
    link(id.frame);
    if (pages_of(live_end, slots) + kWorthPacking <= info.pages) {
        (void)pack(id.frame, 0);  // where there is no frame to do it in, another time
    }
    return counted;
}

ZramSharing Shard::sharing() const {
    const std::scoped_lock lock(mutex_);
    return {.objects = objects_,
            .shared = references_ - objects_,
            .payload = Bytes(payload_),
            .cold = cold_objects_,
            .cold_payload = Bytes(cold_payload_)};
}

std::optional<ObjectId> Shard::append(std::uint32_t hash, std::span<const std::byte> content) {
    std::uint32_t number = frame_with_room(content.size() + sizeof(Slot));
    if (number == 0) {
        number = new_frame();
    }
    if (number == 0) {
        return std::nullopt;
    }
    FrameInfo& info = frames_[number];
    const auto end_with = [&](std::size_t slots) { return kFrameBytes - slots * sizeof(Slot); };
    const bool is_new_slot = info.free_slots == 0;
    if (frame_of(number).tail + content.size() >
            end_with(frame_of(number).slots + (is_new_slot ? 1U : 0U)) &&
        !pack(number, content.size())) {
        return std::nullopt;
    }
    ObjectFrame& frame = frame_of(number);
    std::uint32_t at = frame.slots;
    if (info.free_slots > 0) {  // packing may have taken free slots away
        for (at = 0; slot_of(frame, at).references != 0; ++at) {}
    }
    const std::uint32_t slots = std::max<std::uint32_t>(frame.slots, at + 1);
    const std::size_t tail = frame.tail + content.size();
    CHECK(tail <= end_with(slots));
    if (!charge_pages(info, tail, slots)) {
        if (info.live == 0) {
            unlink(number);
            drop_frame(number);
        } else {
            account_.file().release(info.physical, frame.tail, end_with(frame.slots));
        }
        return std::nullopt;
    }
    // All of it stands in the file before anybody's page table says so.
    // SAFETY: [frame.tail, tail) lies in the frame, behind all other objects.
    std::memcpy(reinterpret_cast<std::byte*>(&frame) + frame.tail, content.data(), content.size());
    slot_of(frame, at) = {.references = 1,
                          .hash = hash,
                          .offset = static_cast<std::uint16_t>(frame.tail),
                          .size_and_marks = static_cast<std::uint16_t>(content.size())};
    unlink(number);
    info.free -= static_cast<std::uint32_t>(content.size());
    if (slots > frame.slots) {
        info.free -= static_cast<std::uint32_t>(sizeof(Slot));
    } else {
        --info.free_slots;
    }
    ++info.live;
    frame.slots = static_cast<std::uint16_t>(slots);
    frame.tail = static_cast<std::uint32_t>(tail);
    link(number);
    return ObjectId{.frame = number, .slot = static_cast<std::uint16_t>(at)};
}

std::uint32_t Shard::frame_with_room(std::size_t bytes) {
    for (std::size_t bucket = (bytes + kBucketBytes - 1) / kBucketBytes; bucket < kBuckets;
         ++bucket) {
        if (buckets_[bucket] != 0) {
            return buckets_[bucket];
        }
    }
    return 0;
}

std::uint32_t Shard::new_frame() {
    // The info; the pages are charged as they are written.
    if (!account_.charge(sizeof(FrameInfo))) {
        return 0;
    }
    const auto physical = account_.file().take();
    const auto number = physical ? frames_.take() : std::nullopt;
    if (!number) {
        if (physical) {
            account_.file().give(*physical);
        }
        account_.refund(sizeof(FrameInfo));
        return 0;
    }
    FrameInfo& info = frames_[*number];
    info = {.physical = *physical,
            .free = kFrameBytes - sizeof(ObjectFrame),
            .previous = 0,
            .next = 0,
            .bucket = 0,
            .shard = number_,
            .live = 0,
            .free_slots = 0,
            .pages = 0};
    if (!charge_pages(info, sizeof(ObjectFrame), 1)) {
        drop_frame(*number);
        return 0;
    }
    ObjectFrame& frame = frame_of(*number);
    frame.generation = 1;
    frame.number = *number;
    frame.salt = salt_;
    frame.shard = number_;
    frame.slots = 0;
    frame.tail = sizeof(ObjectFrame);
    publish(frame.kind, FrameKind::Objects);
    link(*number);
    return *number;
}

/// It is in no list any more.
void Shard::drop_frame(std::uint32_t number) {
    const FrameInfo info = frames_[number];
    if (info.pages > 0) {
        publish(frame_of(number).kind, FrameKind::Free);
    }
    account_.file().give(info.physical);
    {
        // Who empties whole frames is about to need less: a store that becomes empty keeps nothing.
        const std::scoped_lock lock(account_.file().packing());
        account_.file().give_kept();
    }
    frames_.give(number);
    account_.refund(sizeof(FrameInfo) + info.pages * kPageBytes);
}

/// Moves what lives in the frame to another, one behind the other. Whoever has the file at any
/// moment finds one of the two, and it is whole. Memory for an object of `room` bytes, and its
/// slot, may stay behind without a charge.
bool Shard::pack(std::uint32_t number, std::size_t room, const Replacements& replacements) {
    MemoryFile& file = account_.file();
    const std::scoped_lock lock(file.packing());
    const auto physical = file.take_for_packing();
    if (!physical) {
        return false;
    }
    FrameInfo& info = frames_[number];
    ObjectFrame& from = frame_of(number);
    ObjectFrame& to = file.at<ObjectFrame>(*physical);
    std::uint32_t slots = from.slots;
    while (slots > 0 && slot_of(from, slots - 1).references == 0) {
        --slots;
    }
    // What lives now is no less than what will stand there.
    const std::size_t live = kFrameBytes - info.free - from.slots * sizeof(Slot);
    if (!file.reserve(*physical, 0, live) ||
        !file.reserve(*physical, kFrameBytes - slots * sizeof(Slot), kFrameBytes)) {
        file.keep_for_packing(*physical);
        return false;
    }
    info.free_slots = static_cast<std::uint16_t>(info.free_slots - (from.slots - slots));
    std::uint32_t tail = sizeof(ObjectFrame);
    for (std::uint32_t i = 0; i < slots; ++i) {
        const Slot& slot = slot_of(from, i);
        if (slot.references == 0) {
            slot_of(to, i) = {};
            continue;
        }
        const auto found = replacements.find(static_cast<std::uint16_t>(i));
        const bool is_new = found != replacements.end();
        const std::span<const std::byte> content =
            is_new ? std::span<const std::byte>(found->second.content) : content_of(from, slot);
        // SAFETY: what lives in one frame fits into another; replacements are smaller.
        std::memcpy(reinterpret_cast<std::byte*>(&to) + tail, content.data(), content.size());
        slot_of(to, i) = {
            .references = slot.references,
            .hash = slot.hash,
            .offset = static_cast<std::uint16_t>(tail),
            .size_and_marks = is_new ? found->second.slot.size_and_marks : slot.size_and_marks};
        tail += static_cast<std::uint32_t>(content.size());
    }
    to.generation = from.generation + 1;
    to.number = number;
    to.salt = salt_;
    to.shard = from.shard;
    to.slots = static_cast<std::uint16_t>(slots);
    to.tail = tail;
    publish(to.kind, FrameKind::Objects);
    publish(from.kind, FrameKind::Free);
    file.keep_for_packing(info.physical);
    const std::size_t slots_to_be = slots + (room > 0 ? 1U : 0U);
    file.release(*physical, tail + room, kFrameBytes - slots_to_be * sizeof(Slot));
    unlink(number);
    info.physical = *physical;
    info.free = static_cast<std::uint32_t>(kFrameBytes - tail - slots * sizeof(Slot));
    link(number);
    const std::size_t pages = pages_of(tail, slots);
    account_.refund((info.pages - pages) * kPageBytes);
    info.pages = static_cast<std::uint16_t>(pages);
    return true;
}

bool Shard::charge_pages(FrameInfo& info, std::size_t tail, std::size_t slots) {
    const std::size_t pages = pages_of(tail, slots);
    if (pages <= info.pages) {
        return true;
    }
    const std::size_t cost = (pages - info.pages) * kPageBytes;
    if (!account_.charge(cost)) {
        return false;
    }
    // No object is larger than a page, and one slot comes at a time: the rest is there already.
    MemoryFile& file = account_.file();
    const std::size_t slots_at = kFrameBytes - slots * sizeof(Slot);
    if (!file.reserve(info.physical, tail - std::min(tail, kPageBytes), tail) ||
        !file.reserve(info.physical, slots_at, std::min(slots_at + sizeof(Slot), kFrameBytes))) {
        account_.refund(cost);
        return false;
    }
    info.pages = static_cast<std::uint16_t>(pages);
    return true;
}

void Shard::link(std::uint32_t number) {
    FrameInfo& info = frames_[number];
    const bool has_slot = info.free_slots > 0 || frame_of(number).slots < kSlotsMax;
    info.bucket = static_cast<std::uint16_t>(has_slot ? info.free / kBucketBytes : 0);
    std::uint32_t& first = buckets_[info.bucket];
    info.previous = 0;
    info.next = first;
    if (first != 0) {
        frames_[first].previous = number;
    }
    first = number;
}

void Shard::unlink(std::uint32_t number) {
    const FrameInfo& info = frames_[number];
    if (info.previous != 0) {
        frames_[info.previous].next = info.next;
    } else {
        buckets_[info.bucket] = info.next;
    }
    if (info.next != 0) {
        frames_[info.next].previous = info.previous;
    }
}

}  // namespace pepita::storage::zram
