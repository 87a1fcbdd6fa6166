#include "kernel-abi/sys/page_allocator.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

TEST(PageAllocator, GivesEachPageOnce) {
    PageAllocator pages(Pages(130));
    std::vector<bool> seen(130);
    for (int i = 0; i < 130; ++i) {
        const std::optional<Pages> page = pages.take();
        ASSERT_TRUE(page.has_value());
        ASSERT_LT(page->value(), 130U);
        EXPECT_FALSE(seen[page->value()]);
        seen[page->value()] = true;
    }
    EXPECT_EQ(pages.free(), Pages(0));
    EXPECT_EQ(pages.take(), std::nullopt);
}

TEST(PageAllocator, FindsTheOnlyGapWhereverItIs) {
    PageAllocator pages(Pages(256));
    ASSERT_TRUE(pages.take_at(Pages(0), Pages(256)));
    pages.give(Pages(60), Pages(9));  // across two words
    EXPECT_EQ(pages.take(Pages(10)), std::nullopt);
    EXPECT_EQ(pages.take(Pages(9)), Pages(60));
    pages.give(Pages(10), Pages(3));  // before the place where the last search ended
    EXPECT_EQ(pages.take(Pages(3)), Pages(10));
}

TEST(PageAllocator, FindsAGapThatTheLastSearchEndedIn) {
    PageAllocator pages(Pages(64));
    ASSERT_EQ(pages.take(Pages(32)), Pages(0));
    ASSERT_TRUE(pages.take_at(Pages(40), Pages(24)));
    pages.give(Pages(28), Pages(4));
    EXPECT_EQ(pages.take(Pages(12)), Pages(28));
}

TEST(PageAllocator, TakesNothingWhereAPageIsTakenOrMissing) {
    PageAllocator pages(Pages(64));
    ASSERT_TRUE(pages.take_at(Pages(20)));
    EXPECT_FALSE(pages.take_at(Pages(10), Pages(11)));
    EXPECT_FALSE(pages.take_at(Pages(60), Pages(5)));
    EXPECT_FALSE(pages.take_at(Pages(~0ULL), Pages(2)));
    EXPECT_EQ(pages.free(), Pages(63));
    EXPECT_EQ(pages.take(Pages(0)), std::nullopt);
}

TEST(PageAllocatorDeathTest, GivingWhatIsFreeIsAMistake) {
    PageAllocator pages(Pages(64));
    ASSERT_TRUE(pages.take_at(Pages(3)));
    EXPECT_DEATH(pages.give(Pages(3), Pages(2)), "page_allocator");
    EXPECT_DEATH(pages.give(Pages(63), Pages(2)), "page_allocator");
}

/// The same by the simplest means: a flag for each page.
TEST(PageAllocator, AgreesWithAModelAfterManyRandomCalls) {
    constexpr std::size_t capacity = 300;
    PageAllocator pages{Pages(capacity)};
    std::vector<bool> model(capacity);
    struct Run {
        Pages first, count;
    };
    std::vector<Run> runs;
    std::mt19937 random(1);
    for (int i = 0; i < 20'000; ++i) {
        const Pages count(1 + random() % 20);
        if (random() % 2 == 0 && !runs.empty()) {
            const std::size_t which = random() % runs.size();
            const Run run = runs[which];
            runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(which));
            pages.give(run.first, run.count);
            for (std::uint64_t page = 0; page < run.count.value(); ++page) {
                model[run.first.value() + page] = false;
            }
            continue;
        }
        std::size_t longest = 0;
        std::size_t gap = 0;
        std::size_t free = 0;
        for (const bool is_taken : model) {
            gap = is_taken ? 0 : gap + 1;
            free += is_taken ? 0 : 1;
            longest = gap > longest ? gap : longest;
        }
        ASSERT_EQ(pages.free().value(), free);
        const std::optional<Pages> first = pages.take(count);
        ASSERT_EQ(first.has_value(), longest >= count.value()) << "call " << i;
        if (first) {
            for (std::uint64_t page = 0; page < count.value(); ++page) {
                ASSERT_FALSE(model[first->value() + page]) << "call " << i;
                model[first->value() + page] = true;
            }
            runs.push_back({.first = *first, .count = count});
        }
    }
}

}  // namespace
}  // namespace pepita
