#include "storage/ublk/commit_batch.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/uapi/ublk.h"

namespace pepita::storage::ublk {
namespace {

std::vector<std::uint16_t> tags_of(std::span<const std::uint64_t> elements, std::size_t words) {
    std::vector<std::uint16_t> tags;
    for (std::size_t i = 0; i < elements.size(); i += words) {
        tags.push_back(std::bit_cast<abi::UblkElemHeader>(elements[i]).tag);
    }
    return tags;
}

TEST(CommitBatch, WhatIsAddedWhileOneIsUnderWayWaits) {
    CommitBatch batch(CommitBatch::Addresses::None);
    EXPECT_EQ(batch.element_size(), 8);
    EXPECT_TRUE(batch.send().empty());
    batch.add({.tag = 3, .buf_index = 3, .result = -5}, 0);
    batch.add({.tag = 1, .buf_index = 1, .result = 512}, 0);
    const auto first = batch.send();
    EXPECT_EQ(tags_of(first, 1), (std::vector<std::uint16_t>{3, 1}));
    EXPECT_EQ(batch.count(first), 2);
    EXPECT_EQ(std::bit_cast<abi::UblkElemHeader>(first[0]).result, -5);
    batch.add({.tag = 2, .buf_index = 2, .result = 0}, 0);
    EXPECT_TRUE(batch.send().empty());
    batch.on_taken(16);
    EXPECT_EQ(tags_of(batch.send(), 1), (std::vector<std::uint16_t>{2}));
    EXPECT_FALSE(batch.is_empty());
    batch.on_taken(8);
    EXPECT_TRUE(batch.is_empty());
}

TEST(CommitBatch, WhatTheKernelDidNotTakeGoesFirst) {
    CommitBatch batch(CommitBatch::Addresses::Each);
    EXPECT_EQ(batch.element_size(), 16);
    batch.add({.tag = 0, .buf_index = 0, .result = 0}, 0x1000);
    batch.add({.tag = 1, .buf_index = 0, .result = 0}, 0x2000);
    EXPECT_EQ(batch.send()[1], 0x1000U);
    batch.add({.tag = 2, .buf_index = 0, .result = 0}, 0x3000);
    batch.on_taken(16);
    const auto rest = batch.send();
    EXPECT_EQ(tags_of(rest, 2), (std::vector<std::uint16_t>{1, 2}));
    EXPECT_EQ(rest[3], 0x3000U);
}

}  // namespace
}  // namespace pepita::storage::ublk
