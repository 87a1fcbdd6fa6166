#include "storage/zram/shard.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/cold_codec.h"
#include "storage/zram/frame_table.h"
#include "storage/zram/layout.h"
#include "storage/zram/memory_file.h"

// What no store can be brought to by contents alone: equal hashes of pages that differ. The rest
// is in zram_store_test, against a model and over kills of its process.

namespace pepita::storage::zram {
namespace {

using Page = std::array<std::byte, 4096>;
constexpr std::uint32_t kHash = 0x1234;

Page page_of(std::uint8_t first) {
    Page page{};
    for (std::size_t i = 0; i < page.size(); ++i) {
        page.at(i) = static_cast<std::byte>(first + i % 7);
    }
    return page;
}

class ShardTest : public testing::Test {
protected:
    Object add(const Page& page) {
        Shard::Age age = 0;
        EXPECT_FALSE(shard_.share(kHash, page, age).has_value());
        return shard_.add(kHash, page, page, age).value_or(Object());
    }
    Object share(const Page& page) {
        Shard::Age age = 0;
        return shard_.share(kHash, page, age).value_or(Object());
    }
    Page read(const Object& object) {
        Page got{};
        EXPECT_TRUE(shard_.read(object.id, got));
        return got;
    }

    std::shared_ptr<MemoryFile> file_ =
        *MemoryFile::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 8_MiB);
    std::unique_ptr<FrameTable> frames_ = *FrameTable::create(file_->frames());
    ColdCodec cold_{file_};
    Account account_{*file_};
    Shard shard_{account_, *frames_, cold_, 1, 0};
};

TEST_F(ShardTest, PagesWithOneHashAreToldApart) {
    const Object first = add(page_of(1));
    const Object second = add(page_of(2));
    const Object third = add(page_of(3));
    EXPECT_EQ(shard_.sharing().objects, 3U);
    EXPECT_EQ(shard_.sharing().shared, 0U) << "a look at the wrong one leaves no reference";

    EXPECT_EQ(share(page_of(1)).id, first.id);
    EXPECT_EQ(share(page_of(2)).id, second.id);
    EXPECT_EQ(share(page_of(3)).id, third.id);
    EXPECT_EQ(shard_.sharing().shared, 3U);
    EXPECT_EQ(read(first), page_of(1));
    EXPECT_EQ(read(third), page_of(3));

    for (const Object& object : {first, second, third, first, second, third}) {
        EXPECT_EQ(shard_.release(object.id), 4096U);
    }
    EXPECT_EQ(shard_.sharing().objects, 0U);
    EXPECT_EQ(account_.used(), 0U);
}

TEST_F(ShardTest, WhatIsMarkedColdIsComparedAsItIsRead) {
    ASSERT_TRUE(cold_.prepare());
    const Object object = add(page_of(1));
    auto& frame = file_->at<ObjectFrame>((*frames_)[object.id.frame].physical);
    // SAFETY: the first slot stands at the frame's end. Whoever else has the file might write
    // there.
    auto* const end = reinterpret_cast<std::byte*>(&frame) + kFrameBytes;
    reinterpret_cast<Slot*>(end - sizeof(Slot))->set(Mark::Cold);
    Page got{};
    EXPECT_FALSE(shard_.read(object.id, got));
    Shard::Age age = 0;
    EXPECT_FALSE(shard_.share(kHash, page_of(1), age).has_value());
}

TEST_F(ShardTest, WhatAnotherAddedMeanwhileIsShared) {
    Shard::Age before = 0;
    EXPECT_FALSE(shard_.share(kHash, page_of(1), before).has_value());
    const Object first = add(page_of(1));
    const auto again = shard_.add(kHash, page_of(1), page_of(1), before);
    EXPECT_EQ(again.value_or(Object()).id, first.id);
    EXPECT_EQ(shard_.sharing().objects, 1U);
    EXPECT_EQ(shard_.sharing().shared, 1U);
}

}  // namespace
}  // namespace pepita::storage::zram
