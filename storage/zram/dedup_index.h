#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "storage/zram/memory_file.h"

namespace pepita::storage::zram {

/// Where an object is: a logical frame, and a slot of it.
struct ObjectId {
    std::uint32_t frame = 0;  // never 0
    std::uint16_t slot = 0;
    friend bool operator==(const ObjectId&, const ObjectId&) = default;
};

/// Finds objects by a part of their hash. Open addressing; one word for each object: 27 bits of
/// hash, 27 of frame, 10 of slot.
///
/// Thread: one at a time.
class DedupIndex {
public:
    explicit DedupIndex(Account& account) : account_(account) {}
    DedupIndex(const DedupIndex&) = delete;
    DedupIndex& operator=(const DedupIndex&) = delete;
    DedupIndex(DedupIndex&&) = delete;
    DedupIndex& operator=(DedupIndex&&) = delete;
    ~DedupIndex() { account_.refund(words_.size() * sizeof(std::uint64_t)); }

    /// Calls `is_it` for each object whose hash begins like this one, until it says true.
    template <typename IsIt>
    bool find(std::uint32_t hash, const IsIt& is_it) const {
        if (words_.empty()) {
            return false;
        }
        const std::uint64_t tag = tag_of(hash);
        for (std::size_t at = tag & mask(); words_[at] != 0; at = (at + 1) & mask()) {
            if (words_[at] >> kTagShift == tag && is_it(id_of(words_[at]))) {
                return true;
            }
        }
        return false;
    }

    /// Calls `visit` for the objects of up to `count` places from `at` on, and gives the place to
    /// go on from; 0 where there is none. Those that move meanwhile may be left out or come twice.
    template <typename Visit>
    std::size_t visit_some(std::size_t at, std::size_t count, const Visit& visit) const {
        for (; at < words_.size() && count > 0; ++at, --count) {
            if (words_[at] != 0) {
                visit(id_of(words_[at]));
            }
        }
        return at < words_.size() ? at : 0;
    }

    /// Makes room for one more. False where the account has no room for that.
    bool reserve();
    /// After reserve().
    void insert(std::uint32_t hash, ObjectId id);
    void erase(std::uint32_t hash, ObjectId id);

    static constexpr std::uint32_t kFrameMax = (1U << 27U) - 1;
    static constexpr std::uint32_t kSlotMax = (1U << 10U) - 1;

private:
    static constexpr unsigned kTagShift = 37;
    static constexpr unsigned kFrameShift = 10;

    static std::uint64_t tag_of(std::uint32_t hash) { return hash & ((1U << 27U) - 1); }
    static std::uint64_t word_of(std::uint32_t hash, ObjectId id) {
        return tag_of(hash) << kTagShift | static_cast<std::uint64_t>(id.frame) << kFrameShift |
               id.slot;
    }
    static ObjectId id_of(std::uint64_t word) {
        return {.frame = static_cast<std::uint32_t>(word >> kFrameShift) & kFrameMax,
                .slot = static_cast<std::uint16_t>(word & kSlotMax)};
    }
    std::size_t mask() const { return words_.size() - 1; }
    void place(std::uint64_t word);

    Account& account_;
    std::vector<std::uint64_t> words_;  // 0: empty; the size is a power of two, or 0
    std::size_t count_ = 0;
};

}  // namespace pepita::storage::zram
