#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/page_allocator.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::storage::zram {

/// What a shard knows of an object frame besides what stands in it.
struct FrameInfo {
    std::uint32_t physical;
    std::uint32_t free;      // bytes that packing it anew would make room for
    std::uint32_t previous;  // in the list of frames that are about as full; 0 for none
    std::uint32_t next;
    std::uint16_t bucket;
    std::uint16_t shard;
    std::uint16_t live;        // objects
    std::uint16_t free_slots;  // of those that stand in the frame
    std::uint16_t pages;       // charged
};

/// Logical frames: their numbers, from 1 on, and what is known of each.
/// Thread: any for take() and give(); a frame's info belongs to its shard.
class FrameTable {
public:
    static Result<std::unique_ptr<FrameTable>> create(std::uint32_t frames) {
        Mapping infos = TRY(Mapping::anonymous(Bytes(frames * sizeof(FrameInfo))));
        return std::unique_ptr<FrameTable>(new FrameTable(std::move(infos), frames));
    }

    std::optional<std::uint32_t> take() {
        const std::scoped_lock lock(mutex_);
        const std::optional<Pages> number = numbers_.take();
        return number ? std::optional(static_cast<std::uint32_t>(number->value())) : std::nullopt;
    }
    bool take_at(std::uint32_t number) {
        const std::scoped_lock lock(mutex_);
        return numbers_.take_at(Pages(number));
    }
    void give(std::uint32_t number) {
        (*this)[number] = {};
        const std::scoped_lock lock(mutex_);
        numbers_.give(Pages(number));
    }

    FrameInfo& operator[](std::uint32_t number) const {
        // SAFETY: the mapping is zeros at first, which are sound infos, and aligned to pages.
        return reinterpret_cast<FrameInfo*>(infos_.bytes().data())[number];
    }

private:
    FrameTable(Mapping infos, std::uint32_t frames)
        : infos_(std::move(infos)), numbers_(Pages(frames)) {
        (void)numbers_.take_at(Pages(0));  // means none
    }

    Mapping infos_;  // costs memory only where it was written
    std::mutex mutex_;
    PageAllocator numbers_;  // guarded by mutex_; its "pages" are numbers
};

}  // namespace pepita::storage::zram
