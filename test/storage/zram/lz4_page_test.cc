#include "storage/zram/lz4_page.h"

#include <gtest/gtest.h>
#include <lz4.h>
#include <lz4hc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace pepita::storage {
namespace {

using Page = std::array<std::byte, kPageBytes>;
constexpr std::size_t kRoom = kPageBytes + kPageBytes / 255 + 16 + kLz4Spare;

std::vector<std::byte> compressed(const Page& page, std::size_t room = kRoom) {
    std::vector<std::byte> block(room);
    block.resize(lz4_compress_page(page, block));
    return block;
}

Page text_page(unsigned seed) {
    static constexpr std::array words{"kernel ", "page ",  "of ", "the ",
                                      "store ",  "virtio", "\n\n"};
    std::mt19937 random(seed);
    Page page{};
    std::size_t at = 0;
    while (at < page.size()) {
        const char* word = words[random() % words.size()];
        const std::size_t length = std::min(std::strlen(word), page.size() - at);
        std::memcpy(&page[at], word, length);
        at += length;
        if (random() % 8 == 0 && at < page.size()) {
            page[at++] = static_cast<std::byte>(random());
        }
    }
    return page;
}

/// Runs of repeated patterns of each short length, with noise between.
Page pattern_page(unsigned seed) {
    std::mt19937 random(seed);
    Page page{};
    std::size_t at = 0;
    while (at < page.size()) {
        const std::size_t period = 1 + random() % 20;
        const std::size_t run = std::min<std::size_t>(1 + random() % 400, page.size() - at);
        for (std::size_t i = 0; i < run; ++i) {
            page[at + i] = i < period ? static_cast<std::byte>(random()) : page[at + i - period];
        }
        at += run;
    }
    return page;
}

Page random_page(unsigned seed) {
    std::mt19937 random(seed);
    Page page{};
    std::ranges::generate(page, [&] { return static_cast<std::byte>(random()); });
    return page;
}

std::vector<Page> all_kinds() {
    std::vector<Page> pages;
    for (unsigned seed = 0; seed < 500; ++seed) {
        pages.push_back(text_page(seed));
        pages.push_back(pattern_page(seed));
    }
    pages.push_back(random_page(1));
    pages.push_back(Page{});
    return pages;
}

TEST(Lz4Page, LibraryUnpacksWhatWePack) {
    for (const Page& page : all_kinds()) {
        const std::vector<std::byte> block = compressed(page);
        ASSERT_FALSE(block.empty());
        Page got{};
        ASSERT_EQ(LZ4_decompress_safe(reinterpret_cast<const char*>(block.data()),
                                      reinterpret_cast<char*>(got.data()),
                                      static_cast<int>(block.size()), kPageBytes),
                  static_cast<int>(kPageBytes));
        ASSERT_EQ(got, page);
    }
}

TEST(Lz4Page, WeUnpackWhatWeAndTheLibraryPack) {
    for (const Page& page : all_kinds()) {
        Page got{};
        ASSERT_TRUE(lz4_decompress_page(compressed(page), got));
        ASSERT_EQ(got, page);
        std::vector<std::byte> block(kRoom);
        for (const int level : {0, 3, 12}) {
            const auto* from = reinterpret_cast<const char*>(page.data());
            auto* to = reinterpret_cast<char*>(block.data());
            const int size = level == 0 ? LZ4_compress_default(from, to, kPageBytes, kRoom)
                                        : LZ4_compress_HC(from, to, kPageBytes, kRoom, level);
            ASSERT_GT(size, 0);
            got.fill(std::byte{1});
            ASSERT_TRUE(
                lz4_decompress_page(std::span(block).first(static_cast<std::size_t>(size)), got));
            ASSERT_EQ(got, page);
        }
    }
}

TEST(Lz4Page, ZerosBecomeAFewBytes) { EXPECT_LT(compressed(Page{}).size(), 30U); }

TEST(Lz4Page, GivesNothingWithoutRoomAndStaysInside) {
    for (const Page& page : {text_page(3), pattern_page(3), random_page(3)}) {
        const std::size_t needed = compressed(page).size();
        for (std::size_t room = 0; room <= needed + kLz4Spare; ++room) {
            std::vector<std::byte> into(room + 64, std::byte{0x5a});
            const std::size_t size = lz4_compress_page(page, std::span(into).first(room));
            EXPECT_TRUE(size == 0 || size == needed);
            EXPECT_TRUE(size == needed || room < needed + kLz4Spare);
            EXPECT_TRUE(std::ranges::all_of(std::span(into).subspan(room),
                                            [](std::byte b) { return b == std::byte{0x5a}; }));
        }
        EXPECT_EQ(compressed(page, needed + kLz4Spare).size(), needed);
    }
}

/// Whether the block is refused, or taken for a page, with nothing written outside of it.
bool unpacks_inside(std::span<const std::byte> block) {
    const std::vector<std::byte> exact(block.begin(), block.end());  // so ASan sees its end
    std::vector<std::byte> into(kPageBytes + 64, std::byte{0x5a});
    const bool is_page = lz4_decompress_page(exact, PageSpan(into.data(), kPageBytes));
    EXPECT_TRUE(std::ranges::all_of(std::span(into).subspan(kPageBytes),
                                    [](std::byte b) { return b == std::byte{0x5a}; }));
    return is_page;
}

TEST(Lz4Page, RefusesABlockThatIsCutShortAnywhere) {
    for (const Page& page : {text_page(5), pattern_page(5), Page{}}) {
        const std::vector<std::byte> block = compressed(page);
        for (std::size_t size = 0; size < block.size(); ++size) {
            EXPECT_FALSE(unpacks_inside(std::span(block).first(size))) << size;
        }
    }
}

TEST(Lz4Page, RefusesABlockThatIsNoPage) {
    const auto bytes = [](std::initializer_list<int> values) {
        std::vector<std::byte> block;
        for (const int value : values) {
            block.push_back(static_cast<std::byte>(value));
        }
        return block;
    };
    EXPECT_FALSE(unpacks_inside({}));
    EXPECT_FALSE(unpacks_inside(bytes({0x00})));                 // no literals, no match
    EXPECT_FALSE(unpacks_inside(bytes({0x10, 1, 0, 0})));        // offset 0
    EXPECT_FALSE(unpacks_inside(bytes({0x10, 1, 2, 0})));        // before the page
    EXPECT_FALSE(unpacks_inside(bytes({0x50, 1, 2, 3, 4, 5})));  // 5 bytes, not 4096
    EXPECT_FALSE(unpacks_inside(bytes({0xff, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
                                       255, 255, 255, 255, 255, 255})));  // endless length
    std::vector<std::byte> more = compressed(text_page(1));
    more.push_back(std::byte{0});
    EXPECT_FALSE(unpacks_inside(more));
}

TEST(Lz4Page, RefusesAMatchTooNearTheEnd) {
    // One literal, a match of `match` bytes that repeats it, then the literals that are left.
    const auto block_of = [](std::size_t match) {
        std::vector<std::byte> block{std::byte{0x1f}, std::byte{7}, std::byte{1}, std::byte{0}};
        std::size_t rest = match - 4 - 15;
        for (; rest >= 255; rest -= 255) {
            block.push_back(std::byte{255});
        }
        block.push_back(static_cast<std::byte>(rest));
        const std::size_t literals = kPageBytes - 1 - match;
        block.push_back(static_cast<std::byte>(literals << 4U));
        block.resize(block.size() + literals, std::byte{9});
        return block;
    };
    EXPECT_TRUE(unpacks_inside(block_of(kPageBytes - 1 - 5)));
    EXPECT_FALSE(unpacks_inside(block_of(kPageBytes - 1 - 4)));  // 5 literals have to end a block
    // 4084 literals, a match of 4, 8 literals: the match begins 12 bytes before the end.
    const auto with_late_match = [](std::size_t literals) {
        std::vector<std::byte> block{std::byte{0xf0}};
        std::size_t rest = literals - 15;
        for (; rest >= 255; rest -= 255) {
            block.push_back(std::byte{255});
        }
        block.push_back(static_cast<std::byte>(rest));
        block.resize(block.size() + literals, std::byte{9});
        block.push_back(std::byte{1});
        block.push_back(std::byte{0});
        const std::size_t last = kPageBytes - literals - 4;
        block.push_back(static_cast<std::byte>(last << 4U));
        block.resize(block.size() + last, std::byte{9});
        return block;
    };
    EXPECT_TRUE(unpacks_inside(with_late_match(4084)));
    EXPECT_FALSE(unpacks_inside(with_late_match(4085)));
}

TEST(Lz4Page, UnpacksMatchesOfEachOffsetAndLength) {
    for (std::size_t offset = 1; offset <= 40; ++offset) {
        for (std::size_t period_end = offset + 4; period_end < kPageBytes - 12; period_end += 97) {
            Page page = random_page(static_cast<unsigned>(offset));
            for (std::size_t i = offset; i < period_end; ++i) {
                page[i] = page[i - offset];
            }
            Page got{};
            ASSERT_TRUE(lz4_decompress_page(compressed(page), got));
            ASSERT_EQ(got, page) << offset << " " << period_end;
        }
    }
}

TEST(Lz4Page, DamageNeverLeavesThePage) {
    std::mt19937 random(7);
    std::size_t taken = 0;
    for (unsigned seed = 0; seed < 200; ++seed) {
        const std::vector<std::byte> block =
            compressed(seed % 2 == 0 ? text_page(seed) : pattern_page(seed));
        for (int i = 0; i < 50; ++i) {
            std::vector<std::byte> damaged = block;
            for (std::size_t flips = 1 + random() % 3; flips > 0; --flips) {
                damaged[random() % damaged.size()] ^= static_cast<std::byte>(1U << (random() % 8));
            }
            Page theirs{};
            const int size = LZ4_decompress_safe(reinterpret_cast<const char*>(damaged.data()),
                                                 reinterpret_cast<char*>(theirs.data()),
                                                 static_cast<int>(damaged.size()), kPageBytes);
            const bool is_page = unpacks_inside(damaged);
            taken += is_page ? 1 : 0;
            if (is_page) {
                Page ours{};
                ASSERT_EQ(size, static_cast<int>(kPageBytes));
                ASSERT_TRUE(lz4_decompress_page(damaged, ours));
                ASSERT_EQ(ours, theirs);
            }
        }
    }
    EXPECT_GT(taken, 0U);  // a changed literal is still a page
}

}  // namespace
}  // namespace pepita::storage
