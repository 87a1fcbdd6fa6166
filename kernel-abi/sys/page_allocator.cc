#include "kernel-abi/sys/page_allocator.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

constexpr std::uint64_t kBits = 64;

}  // namespace

PageAllocator::PageAllocator(Pages capacity)
    : capacity_(capacity), free_(capacity), words_((capacity.value() + kBits - 1) / kBits) {}

std::optional<Pages> PageAllocator::take(Pages count) {
    if (count.value() == 0 || count > free_) {
        return std::nullopt;
    }
    std::optional<std::uint64_t> first = find(next_, capacity_.value(), count.value());
    if (!first) {  // a gap may begin before next_ and end behind it
        const std::uint64_t end = std::min(capacity_.value(), next_ + count.value() - 1);
        first = find(0, end, count.value());
    }
    if (!first) {
        return std::nullopt;
    }
    flip(*first, count.value());
    free_ = free_ - count;
    next_ = *first + count.value();
    return Pages(*first);
}

bool PageAllocator::take_at(Pages first, Pages count) {
    if (first > capacity_ || count > capacity_ - first) {
        return false;
    }
    for (std::uint64_t page = first.value(); page < first.value() + count.value(); ++page) {
        if (is_taken(page)) {
            return false;
        }
    }
    flip(first.value(), count.value());
    free_ = free_ - count;
    return true;
}

void PageAllocator::give(Pages first, Pages count) {
    CHECK(first <= capacity_ && count <= capacity_ - first);
    for (std::uint64_t page = first.value(); page < first.value() + count.value(); ++page) {
        CHECK(is_taken(page));
    }
    flip(first.value(), count.value());
    free_ = free_ + count;
}

void PageAllocator::flip(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t page = first; page < first + count; ++page) {
        words_[page / kBits] ^= 1ULL << (page % kBits);
    }
}

std::optional<std::uint64_t> PageAllocator::find(std::uint64_t from, std::uint64_t to,
                                                 std::uint64_t count) const {
    std::uint64_t gap = from;
    std::uint64_t page = from;
    while (page < to) {
        const std::uint64_t rest = words_[page / kBits] >> (page % kBits);
        if ((rest & 1U) != 0) {  // over all that are taken in this word
            const auto taken = static_cast<std::uint64_t>(std::countr_one(rest));
            page += taken;
            gap = page;
            continue;
        }
        const std::uint64_t left_in_word = kBits - page % kBits;
        const auto empty = static_cast<std::uint64_t>(std::countr_zero(rest));
        page = std::min(to, page + std::min(empty, left_in_word));
        if (page - gap >= count) {
            return gap;
        }
    }
    return std::nullopt;
}

}  // namespace pepita
