#include "storage/tag_set.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <set>

#include "kernel-abi/sys/error.h"

namespace pepita::storage {
namespace {

TEST(TagSet, HasTheLimitsOfUblk) {
    EXPECT_TRUE(TagSet::create({.queues = 1, .depth = 1}).has_value());
    EXPECT_TRUE(TagSet::create({.queues = 4096, .depth = 1}).has_value());
    EXPECT_TRUE(TagSet::create({.queues = 1, .depth = 4096}).has_value());
    EXPECT_EQ(TagSet::create({.queues = 0, .depth = 1}).error().code(), Code::InvalidArgument);
    EXPECT_EQ(TagSet::create({.queues = 4097, .depth = 1}).error().code(), Code::InvalidArgument);
    EXPECT_EQ(TagSet::create({.queues = 1, .depth = 0}).error().code(), Code::InvalidArgument);
    EXPECT_EQ(TagSet::create({.queues = 1, .depth = 4097}).error().code(), Code::InvalidArgument);
}

TEST(TagSet, GivesEachTagToOneUntilItComesBack) {
    auto set = *TagSet::create({.queues = 1, .depth = 130});  // two words and a bit
    TagSet::Queue& queue = set.queue(0);
    std::set<Tag> taken;
    while (const std::optional<Tag> tag = queue.take()) {
        EXPECT_LT(*tag, 130);
        taken.insert(*tag);
    }
    EXPECT_EQ(taken.size(), 130U);
    EXPECT_TRUE(queue.is_full());
    queue.give_back(77);
    EXPECT_EQ(queue.in_use(), 129U);
    EXPECT_FALSE(queue.is_taken(77));
    EXPECT_EQ(queue.take(), Tag{77});
    EXPECT_EQ(queue.take(), std::nullopt);
}

TEST(TagSet, TakesTheTagsThatAnotherSetGave) {
    auto set = *TagSet::create({.queues = 2, .depth = 2});
    set.queue(0).claim(0);
    EXPECT_EQ(set.queue(0).take(), Tag{1});
    EXPECT_EQ(set.queue(1).in_use(), 0U) << "a queue's tags are its own";
    EXPECT_DEATH(set.queue(0).claim(0), "is_taken");
    EXPECT_DEATH(set.queue(0).claim(2), "depth_");
    EXPECT_DEATH(set.queue(1).give_back(0), "is_taken");
}

}  // namespace
}  // namespace pepita::storage
