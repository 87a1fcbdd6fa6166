#include "storage/zram/dedup_index.h"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"

namespace pepita::storage::zram {
namespace {

constexpr std::size_t kSizeMin = 64;

}  // namespace

bool DedupIndex::reserve() {
    if (count_ + 1 <= words_.size() / 8 * 7) {
        return true;
    }
    const std::size_t size = words_.empty() ? kSizeMin : words_.size() * 2;
    if (!account_.charge(size * sizeof(std::uint64_t))) {
        return false;
    }
    const std::vector<std::uint64_t> before =
        std::exchange(words_, std::vector<std::uint64_t>(size));
    for (const std::uint64_t word : before) {
        if (word != 0) {
            place(word);
        }
    }
    account_.refund(before.size() * sizeof(std::uint64_t));
    return true;
}

void DedupIndex::place(std::uint64_t word) {
    std::size_t at = (word >> kTagShift) & mask();
    while (words_[at] != 0) {
        at = (at + 1) & mask();
    }
    words_[at] = word;
}

void DedupIndex::insert(std::uint32_t hash, ObjectId id) {
    CHECK(count_ < words_.size() / 8 * 7);
    place(word_of(hash, id));
    ++count_;
}

void DedupIndex::erase(std::uint32_t hash, ObjectId id) {
    const std::uint64_t word = word_of(hash, id);
    std::size_t hole = tag_of(hash) & mask();
    while (words_[hole] != word) {
        CHECK(words_[hole] != 0);  // what was inserted is found
        hole = (hole + 1) & mask();
    }
    // Those behind move up, as far as their own place: no marks of the dead stay behind.
    for (std::size_t at = (hole + 1) & mask(); words_[at] != 0; at = (at + 1) & mask()) {
        const std::size_t home = (words_[at] >> kTagShift) & mask();
        if (((at - home) & mask()) >= ((at - hole) & mask())) {
            words_[hole] = words_[at];
            hole = at;
        }
    }
    words_[hole] = 0;
    if (--count_ == 0) {
        account_.refund(words_.size() * sizeof(std::uint64_t));
        words_ = {};
    }
}

}  // namespace pepita::storage::zram
