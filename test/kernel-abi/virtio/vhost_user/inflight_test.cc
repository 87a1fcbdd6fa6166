#include "kernel-abi/virtio/vhost_user/inflight.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "test/support/driver.h"

namespace pepita::virtio {
namespace {

using Heads = std::vector<std::uint16_t>;
using test::Direction;
using test::GuestRam;
using test::QueueDriver;

constexpr std::uint16_t kSize = 8;

class InflightTest : public testing::Test {
protected:
    InflightQueue open() { return *InflightQueue::open(region_, kSize); }
    // What a successor would find, had the process ended here.
    Heads recovered(std::uint16_t used_idx) {
        alignas(8) std::array<std::byte, 256> copy = region_;
        return InflightQueue::open(copy, kSize)->recover(used_idx);
    }
    abi::VhostUserInflightSplit header() const {
        abi::VhostUserInflightSplit header{};
        std::memcpy(&header, region_.data(), sizeof(header));
        return header;
    }
    void set_header(const abi::VhostUserInflightSplit& header) {
        std::memcpy(region_.data(), &header, sizeof(header));
    }
    void set_entry(std::size_t index, const abi::VhostUserInflightDesc& entry) {
        std::memcpy(region_.data() + sizeof(header()) + index * sizeof(entry), &entry,
                    sizeof(entry));
    }

    alignas(8) std::array<std::byte, 256> region_{};
};

TEST_F(InflightTest, ANewRegionIsMadeReady) {
    (void)open();
    EXPECT_EQ(header().version, 1);
    EXPECT_EQ(header().desc_num, kSize);
    EXPECT_EQ(recovered(0), Heads());
}

TEST_F(InflightTest, EachStepLeavesBooksThatASuccessorUnderstands) {
    InflightQueue queue = open();
    (void)queue.recover(65535);
    queue.take(5);
    EXPECT_EQ(recovered(65535), Heads({5}));
    queue.take(2);
    queue.take(7);
    EXPECT_EQ(recovered(65535), Heads({5, 2, 7}));
    queue.before_used(2);
    EXPECT_EQ(recovered(65535), Heads({5, 2, 7}));
    EXPECT_EQ(recovered(0), Heads({5, 7}));  // the used ring's index is out
    queue.after_used(2, 0);
    EXPECT_EQ(recovered(0), Heads({5, 7}));
    queue.before_used(5);
    EXPECT_EQ(recovered(0), Heads({5, 7}));
    EXPECT_EQ(recovered(1), Heads({7}));
    queue.after_used(5, 1);
    queue.take(5);
    EXPECT_EQ(recovered(1), Heads({7, 5}));
}

TEST_F(InflightTest, ASuccessorCountsOn) {
    InflightQueue first = open();
    first.take(1);
    first.take(0);
    InflightQueue second = open();
    EXPECT_EQ(second.recover(0), Heads({1, 0}));
    second.take(3);
    EXPECT_EQ(recovered(0), Heads({1, 0, 3}));
}

TEST_F(InflightTest, ABatchOfAnotherBackEndIsUnderstood) {
    (void)open();
    abi::VhostUserInflightSplit changed = header();
    changed.last_batch_head = 3;
    set_header(changed);
    set_entry(3, {.inflight = 1, .padding = {}, .next = 4, .counter = 1});
    set_entry(4, {.inflight = 1, .padding = {}, .next = 6, .counter = 2});
    set_entry(6, {.inflight = 1, .padding = {}, .next = 0, .counter = 3});
    EXPECT_EQ(recovered(2), Heads({6}));
}

TEST_F(InflightTest, AListThatLoopsOrLeavesTheRegionEnds) {
    (void)open();
    abi::VhostUserInflightSplit changed = header();
    changed.last_batch_head = 3;
    set_header(changed);
    set_entry(3, {.inflight = 1, .padding = {}, .next = 3, .counter = 1});
    EXPECT_EQ(recovered(60'000), Heads());
    set_entry(3, {.inflight = 1, .padding = {}, .next = 50'000, .counter = 1});
    set_entry(5, {.inflight = 255, .padding = {}, .next = 0, .counter = ~0ULL});
    EXPECT_EQ(recovered(60'000), Heads({5}));
}

TEST_F(InflightTest, RefusesOtherVersionsAndSizes) {
    set_header({.features = 0, .version = 2, .desc_num = 8, .last_batch_head = 0, .used_idx = 0});
    EXPECT_EQ(InflightQueue::open(region_, kSize).error().message(),
              "in-flight region of version 2 for 8 descriptors, not 8");
    set_header({.features = 0, .version = 1, .desc_num = 4, .last_batch_head = 0, .used_idx = 0});
    EXPECT_EQ(InflightQueue::open(region_, kSize).error().code(), Code::InvalidArgument);
}

TEST(InflightRegions, QueuesDoNotOverlap) {
    const InflightRegions::Made made = *InflightRegions::make(2, 3);
    const InflightRegions regions = *InflightRegions::map(made.file.ref(), made.description);
    InflightQueue first = *regions.queue(0);
    InflightQueue second = *regions.queue(1);
    for (std::uint16_t i = 0; i < 3; ++i) {
        first.take(i);
        first.before_used(i);
    }
    EXPECT_EQ(second.recover(0), Heads());
    EXPECT_EQ(regions.queue(2).error().code(), Code::OutOfRange);
}

TEST(InflightRegions, RefusesSizesThatTheirFileDoesNotHave) {
    const InflightRegions::Made made = *InflightRegions::make(1, 8);
    abi::VhostUserInflight description = made.description;
    description.mmap_size = 100;
    EXPECT_EQ(InflightRegions::map(made.file.ref(), description).error().message(),
              "1 in-flight regions for 8 descriptors take 192 B, not 100");
    description.mmap_size = 1 << 20;
    description.num_queues = 2;
    EXPECT_EQ(InflightRegions::map(made.file.ref(), description).error().code(),
              Code::InvalidArgument);
    description.num_queues = 1;
    for (const std::uint64_t offset : {1ULL, 4096ULL, ~0ULL - 4095ULL}) {
        description.mmap_offset = offset;
        EXPECT_EQ(InflightRegions::map(made.file.ref(), description).error().code(),
                  Code::InvalidArgument);
    }
    description = made.description;
    description.num_queues = 0;
    EXPECT_EQ(InflightRegions::map(made.file.ref(), description).error().code(),
              Code::InvalidArgument);
}

class RingInflightTest : public InflightTest {
protected:
    std::optional<Ring> open_ring() {
        auto ring = Ring::open(ram_.memory(), driver_.geometry(), test::kRingFeatures, open());
        return ring ? std::optional(*std::move(ring)) : std::nullopt;
    }
    std::uint16_t add() {
        return driver_.add({{.at = at_, .length = 1, .direction = Direction::ToDevice}});
    }

    GuestRam ram_{1_MiB};
    QueueDriver driver_{ram_, {.size = kSize, .features = test::kRingFeatures, .first = 65534}};
    GuestAddress at_ = ram_.allocate(1);
};

TEST_F(RingInflightTest, TakenChainsComeAgainFirstAndInTheirOrder) {
    const Heads heads{add(), add(), add(), add()};
    {
        std::optional<Ring> killed = open_ring();
        ASSERT_TRUE(killed.has_value());
        std::vector<Chain> taken;
        for (int i = 0; i < 3; ++i) {
            taken.push_back(*killed->pop());
        }
        killed->complete(std::move(taken[1]), 0);
    }
    std::optional<Ring> ring = open_ring();
    ASSERT_TRUE(ring.has_value());
    EXPECT_TRUE(ring->enable_kicks());
    EXPECT_EQ(ring->inherited(), 2U);
    Heads seen;
    while (std::optional<Chain> chain = ring->pop()) {
        seen.push_back(chain->head());
        ring->complete(*std::move(chain), 0);
    }
    EXPECT_EQ(seen, Heads({heads[0], heads[2], heads[3]}));
    EXPECT_FALSE(ring->enable_kicks());
    EXPECT_FALSE(ring->is_broken());
    EXPECT_EQ(driver_.used_idx(), 2);
    EXPECT_EQ(ring->next_available(), 2);
    EXPECT_EQ(recovered(2), Heads());
}

TEST_F(RingInflightTest, LiesBreakTheRingAndNothingElse) {
    (void)open();
    set_entry(5, {.inflight = 1, .padding = {}, .next = 0, .counter = 1});
    driver_.write_descriptor(5, {.address = 1U << 30U, .length = 1, .flags = 0, .next = 0});
    std::optional<Ring> ring = open_ring();
    ASSERT_TRUE(ring.has_value());
    EXPECT_FALSE(ring->pop().has_value());
    EXPECT_TRUE(ring->is_broken());
}

TEST_F(RingInflightTest, ASmallRingInALargeRegion) {
    alignas(8) std::array<std::byte, 512> large{};
    InflightQueue books = *InflightQueue::open(large, 16);
    books.take(12);  // no descriptor of this ring
    Ring ring = *Ring::open(ram_.memory(), driver_.geometry(), 0, books);
    EXPECT_FALSE(ring.pop().has_value());
    EXPECT_TRUE(ring.is_broken());
}

}  // namespace
}  // namespace pepita::virtio
