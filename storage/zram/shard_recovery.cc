// What a shard does while a store is opened that another process left. Nothing in the file is
// believed: a frame's slots are checked before anything refers to them.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernel-abi/sys/units.h"
#include "storage/zram/cold_codec.h"
#include "storage/zram/dedup_index.h"
#include "storage/zram/frame_table.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"
#include "storage/zram/shard.h"

namespace pepita::storage::zram {

/// The slot's object lies in its frame.
bool Shard::is_sound_if_cold(ObjectFrame& frame, const Slot& slot) {
    if (!slot.is(Mark::Cold)) {
        return true;
    }
    if (slot.size() <= sizeof(ColdHeader)) {
        return false;
    }
    const std::uint16_t before = counted_size(frame, slot);
    return before > slot.size() && before <= kPageBytes;
}

bool Shard::adopt(std::uint32_t number, const MemoryFile::Written& physical) {
    FrameInfo& info = frames_[number];
    info = {};
    info.physical = physical.frame;
    info.shard = number_;
    ObjectFrame& frame = frame_of(number);
    if (frame.slots > kSlotsMax) {
        return false;
    }
    const std::size_t end = kFrameBytes - frame.slots * sizeof(Slot);
    if (!physical.has(end, kFrameBytes) || !account_.charge(sizeof(FrameInfo))) {
        return false;
    }
    for (std::uint32_t i = 0; i < frame.slots; ++i) {
        Slot& slot = slot_of(frame, i);
        // One that was being written, or is free, is nobody's and may say anything.
        if (slot.offset < sizeof(ObjectFrame) || slot.offset >= end || slot.size() > kPageBytes ||
            slot.size() > end - slot.offset ||
            !physical.has(slot.offset, slot.offset + slot.size()) ||
            !is_sound_if_cold(frame, slot)) {
            slot = {};
        }
        slot.references = 0;
    }
    return true;
}

std::uint16_t Shard::adopt_reference(ObjectId id) {
    ObjectFrame& frame = frame_of(id.frame);
    if (id.slot >= frame.slots) {
        return 0;
    }
    Slot& slot = slot_of(frame, id.slot);
    if (slot.size() == 0 || slot.references == UINT32_MAX) {
        return 0;
    }
    ++slot.references;
    return counted_size(frame, slot);
}

bool Shard::settle(std::uint32_t number) {
    FrameInfo& info = frames_[number];
    ObjectFrame& frame = frame_of(number);
    std::size_t live_bytes = 0;
    std::uint32_t tail = sizeof(ObjectFrame);
    for (std::uint32_t i = 0; i < frame.slots; ++i) {
        Slot& slot = slot_of(frame, i);
        if (slot.references == 0) {
            slot = {};
            ++info.free_slots;
            continue;
        }
        ++info.live;
        live_bytes += slot.size();
        tail = std::max<std::uint32_t>(tail, slot.offset + slot.size());
        ++objects_;
        references_ += slot.references;
        payload_ += slot.size();
        if (slot.is(Mark::Cold)) {
            ++cold_objects_;
            cold_payload_ += slot.size();
            if (!cold_codec_.prepare()) {
                return false;
            }
        }
        if (!index_.reserve()) {
            return false;
        }
        index_.insert(slot.hash, {.frame = number, .slot = static_cast<std::uint16_t>(i)});
    }
    if (live_bytes > kFrameBytes - sizeof(ObjectFrame) - frame.slots * sizeof(Slot)) {
        return false;  // objects that lie on top of each other
    }
    frame.tail = tail;
    info.free = static_cast<std::uint32_t>(kFrameBytes - sizeof(ObjectFrame) -
                                           frame.slots * sizeof(Slot) - live_bytes);
    const std::size_t slots_begin = kFrameBytes - frame.slots * sizeof(Slot);
    if (!charge_pages(info, tail, frame.slots)) {
        return false;
    }
    if (info.live == 0) {
        drop_frame(number);
        return true;
    }
    account_.file().release(info.physical, tail, slots_begin);
    link(number);
    return true;
}

}  // namespace pepita::storage::zram
