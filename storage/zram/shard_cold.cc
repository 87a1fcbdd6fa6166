// How a shard's idle contents become cold. Packing with zstd takes long, so it is done on copies,
// without the lock; then the frame is packed anew somewhere else with what is still the same, and
// page tables need no change: an object keeps its frame's number and its slot.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/units.h"
#include "storage/zram/cold_codec.h"
#include "storage/zram/dedup_index.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/shard.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {
namespace {

// Places of the index that are looked at before others get their turn at the lock.
constexpr std::size_t kPlacesAtOnce = 1024;

// What zstd gains less than this part on is not worth being unpacked so slowly.
constexpr std::size_t kWorthPart = 16;

bool is_candidate(const Slot& slot) {
    return slot.references > 0 && slot.is(Mark::Idle) && !slot.is(Mark::Cold) &&
           !slot.is(Mark::Stays);
}

}  // namespace

void Shard::mark_idle() {
    std::size_t at = 0;
    do {
        const std::scoped_lock lock(mutex_);
        at = index_.visit_some(at, kPlacesAtOnce, [&](ObjectId id) {
            slot_of(frame_of(id.frame), id.slot).set(Mark::Idle);
        });
        compact_at_ = 0;
    } while (at != 0);
}

ZramCompaction Shard::compact_idle(std::uint64_t budget) {
    ZramCompaction done;
    while (done.pages < budget) {
        std::uint32_t number = 0;
        const std::vector<IdleObject> objects = copy_idle(number);
        if (objects.empty()) {
            done.is_done = true;
            break;
        }
        Replacements replacements;
        for (const IdleObject& object : objects) {
            replacements[object.slot] = make_cold(object);
        }
        done.pages += objects.size();
        done.saved = done.saved + Bytes(switch_to_cold(number, objects, std::move(replacements)));
    }
    return done;
}

/// All that is to be packed of the next frame that has such; nothing where none is left.
std::vector<Shard::IdleObject> Shard::copy_idle(std::uint32_t& number) {
    std::vector<IdleObject> objects;
    while (true) {
        const std::scoped_lock lock(mutex_);
        number = 0;
        for (std::size_t looked = 0; looked < kPlacesAtOnce && number == 0; ++looked) {
            const std::size_t next = index_.visit_some(compact_at_, 1, [&](ObjectId id) {
                number = is_candidate(slot_of(frame_of(id.frame), id.slot)) ? id.frame : 0;
            });
            if (number == 0 && next == 0) {
                return objects;
            }
            compact_at_ = number == 0 ? next : compact_at_;
        }
        if (number != 0) {
            ObjectFrame& frame = frame_of(number);
            for (std::uint32_t i = 0; i < frame.slots; ++i) {
                const Slot& slot = slot_of(frame, i);
                if (is_candidate(slot)) {
                    const std::span<const std::byte> content = content_of(frame, slot);
                    objects.push_back({.slot = static_cast<std::uint16_t>(i),
                                       .as_it_was = slot,
                                       .content = {content.begin(), content.end()}});
                }
            }
            return objects;
        }
    }
}

/// What it becomes; no content where zstd gains nothing, or it is damaged.
Shard::ColdObject Shard::make_cold(const IdleObject& object) {
    __attribute__((uninitialized)) std::array<std::byte, kPageBytes> page;
    __attribute__((uninitialized)) std::array<std::byte, kPageBytes> packed;
    const std::size_t before = object.content.size();
    const std::size_t most = before - before / kWorthPart;
    if (most <= sizeof(ColdHeader) || !unpack(object.as_it_was, object.content, page)) {
        return {};
    }
    const auto room = std::span(packed).first(most - sizeof(ColdHeader));
    const std::size_t size = cold_codec_.pack(page, room);
    if (size == 0) {
        return {};
    }
    ColdObject cold;
    const ColdHeader header{.size_before = static_cast<std::uint16_t>(before)};
    const auto begin = std::as_bytes(std::span(&header, 1));
    cold.content.reserve(begin.size() + size);
    cold.content.insert(cold.content.end(), begin.begin(), begin.end());
    cold.content.insert(cold.content.end(), packed.begin(),
                        packed.begin() + static_cast<std::ptrdiff_t>(size));
    cold.slot.size_and_marks = static_cast<std::uint16_t>(cold.content.size());
    cold.slot.set(Mark::Cold);
    return cold;
}

/// Nobody marks anything meanwhile: an object that still has its mark is the one that was copied,
/// wherever in the frame it lies by now. Gives the bytes saved.
std::uint64_t Shard::switch_to_cold(std::uint32_t number, const std::vector<IdleObject>& objects,
                                    Replacements replacements) {
    const std::scoped_lock lock(mutex_);
    std::uint64_t saved = 0;
    std::uint64_t cold_bytes = 0;
    std::vector<Slot*> switched;
    for (const IdleObject& object : objects) {
        const ObjectId mine{.frame = number, .slot = object.slot};
        // Where the index has it, the frame is still this shard's.
        const bool is_there =
            index_.find(object.as_it_was.hash, [&](ObjectId id) { return id == mine; });
        Slot* const slot = is_there ? &slot_of(frame_of(number), object.slot) : nullptr;
        const std::size_t size = replacements[object.slot].content.size();
        if (slot == nullptr || !is_candidate(*slot) || size == 0) {
            replacements.erase(object.slot);
            if (slot != nullptr && is_candidate(*slot)) {
                slot->set(Mark::Stays);
            }
            continue;
        }
        switched.push_back(slot);
        saved += object.content.size() - size;
        cold_bytes += size;
    }
    if (switched.empty()) {
        return 0;
    }
    if (!pack(number, 0, replacements)) {
        for (Slot* const slot : switched) {
            slot->clear(Mark::Idle);  // no frame to pack it in: another time
        }
        return 0;
    }
    payload_ -= saved;
    cold_payload_ += cold_bytes;
    cold_objects_ += switched.size();
    return saved;
}

}  // namespace pepita::storage::zram
