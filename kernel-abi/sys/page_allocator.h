#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernel-abi/sys/units.h"

namespace pepita {

/// Says which of so many pages are free; the pages themselves are wherever the caller has them.
///
/// One bit a page. A search goes on from where the last one ended, so pages that were just given
/// back rest for a while, and no search begins with the part that is full.
///
/// Thread: one at a time. Cost: one step for 64 pages that are taken.
class PageAllocator {
public:
    /// All of `capacity` pages are free.
    explicit PageAllocator(Pages capacity);

    /// The first of `count` adjacent pages, which are the caller's now; none where no gap is that
    /// long, or `count` is 0.
    std::optional<Pages> take(Pages count = Pages(1));

    /// Takes these very pages; false, and nothing is taken, where one of them is taken already or
    /// does not exist. For who rebuilds what was allocated before.
    bool take_at(Pages first, Pages count = Pages(1));

    /// Gives back what take() or take_at() gave, or a part of it. Any other page is our own
    /// mistake.
    void give(Pages first, Pages count = Pages(1));

    Pages capacity() const { return capacity_; }
    Pages free() const { return free_; }

private:
    bool is_taken(std::uint64_t page) const {
        return ((words_[page / 64] >> (page % 64)) & 1U) != 0;
    }
    void flip(std::uint64_t first, std::uint64_t count);
    std::optional<std::uint64_t> find(std::uint64_t from, std::uint64_t to,
                                      std::uint64_t count) const;

    Pages capacity_;
    Pages free_;
    std::uint64_t next_ = 0;            // where the next search begins
    std::vector<std::uint64_t> words_;  // a bit is 1 where the page is taken
};

}  // namespace pepita
