#include "kernel-abi/virtio/ring.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"

namespace pepita::virtio {
namespace {

using test::Direction;
using test::GuestRam;
using test::QueueDriver;

constexpr std::uint64_t kOutside = 1ULL << 40U;
constexpr std::uint64_t kInside = 0x2000;

class RingTest : public testing::Test {
protected:
    /// One descriptor, made available by hand.
    void publish(const abi::VirtqDesc& descriptor) {
        driver_.write_descriptor(0, descriptor);
        driver_.publish(0);
    }
    void expect_broken() {
        EXPECT_FALSE(ring_.pop().has_value());
        EXPECT_TRUE(ring_.is_broken());
        EXPECT_FALSE(ring_.enable_kicks()) << "a broken ring must not be polled for ever";
    }
    /// A table of indirect descriptors in RAM, referred to by descriptor 0.
    void publish_indirect(const std::vector<abi::VirtqDesc>& table) {
        const GuestAddress at = ram_.place(std::as_bytes(std::span(table)));
        publish({.address = std::to_underlying(at),
                 .length = static_cast<std::uint32_t>(table.size() * sizeof(abi::VirtqDesc)),
                 .flags = abi::kVirtqDescIndirect,
                 .next = 0});
    }

    GuestRam ram_;
    QueueDriver driver_{ram_};  // 8 entries
    Ring ring_ = driver_.open_ring();
};

// --- what a driver that keeps the rules gets

TEST_F(RingTest, EmptyRingGivesNothing) {
    EXPECT_FALSE(ring_.pop().has_value());
    EXPECT_FALSE(ring_.is_broken());
    EXPECT_FALSE(ring_.should_interrupt());
}

TEST_F(RingTest, ChainGoesToTheDeviceAndBack) {
    const GuestAddress question = ram_.place("ping");
    const GuestAddress answer = ram_.allocate(8);
    const std::uint16_t head =
        driver_.add({{.at = question, .length = 4, .direction = Direction::ToDevice},
                     {.at = answer, .length = 8, .direction = Direction::FromDevice}});
    auto chain = ring_.pop();
    ASSERT_TRUE(chain.has_value());
    EXPECT_EQ(chain->head(), head);
    EXPECT_EQ(chain->readable(), 4U);
    EXPECT_EQ(chain->writable(), 8U);
    std::array<std::byte, 4> got{};
    ASSERT_EQ(chain->read(got), 4U);
    ASSERT_EQ(chain->write(got), 4U);
    ring_.complete(*std::move(chain), 4);
    EXPECT_EQ(ram_.text_at(answer, 4), "ping");
    const auto used = driver_.collect();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->id, head);
    EXPECT_EQ(used->length, 4U);
}

// The ring keeps what a chain was made of for the next one, but none of its segments.
TEST_F(RingTest, ChainHasNothingOfTheOneBefore) {
    const GuestAddress at = ram_.place("abcdef");
    driver_.add({{.at = at, .length = 6},
                 {.at = at, .length = 6},
                 {.at = at, .length = 6, .direction = Direction::FromDevice}});
    auto before = ring_.pop();
    ASSERT_TRUE(before.has_value());
    ring_.complete(*std::move(before), 0);
    driver_.add({{.at = at, .length = 2}});
    const auto chain = ring_.pop();
    ASSERT_TRUE(chain.has_value());
    EXPECT_EQ(chain->readable(), 2U);
    EXPECT_EQ(chain->writable(), 0U);
}

TEST_F(RingTest, IndirectChainReadsAsADirectOne) {
    const GuestAddress at = ram_.place("abcdef");
    driver_.add_indirect({{.at = at, .length = 2},
                          {.at = at, .length = 4},
                          {.at = at, .length = 6, .direction = Direction::FromDevice}});
    const auto chain = ring_.pop();
    ASSERT_TRUE(chain.has_value());
    EXPECT_EQ(chain->readable(), 6U);
    EXPECT_EQ(chain->writable(), 6U);
}

TEST_F(RingTest, DirectDescriptorsMayEndInAnIndirectTable) {  // virtio 1.2 §2.7.5.3.2
    const std::array table{
        abi::VirtqDesc{.address = kInside, .length = 5, .flags = abi::kVirtqDescWrite, .next = 0}};
    const GuestAddress at = ram_.place(std::as_bytes(std::span(table)));
    driver_.write_descriptor(
        0, {.address = kInside, .length = 3, .flags = abi::kVirtqDescNext, .next = 1});
    driver_.write_descriptor(1, {.address = std::to_underlying(at),
                                 .length = sizeof(table),
                                 .flags = abi::kVirtqDescIndirect,
                                 .next = 0});
    driver_.publish(0);
    const auto chain = ring_.pop();
    ASSERT_TRUE(chain.has_value());
    EXPECT_EQ(chain->readable(), 3U);
    EXPECT_EQ(chain->writable(), 5U);
}

TEST_F(RingTest, ChainsComeBackInAnyOrder) {
    const std::uint16_t first = driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    const std::uint16_t second = driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    auto a = ring_.pop();
    auto b = ring_.pop();
    ring_.complete(*std::move(b), 0);
    ring_.complete(*std::move(a), 0);
    EXPECT_EQ(driver_.collect()->id, second);
    EXPECT_EQ(driver_.collect()->id, first);
}

TEST_F(RingTest, ZeroLengthDescriptorIsNoSegment) {
    // Its address means nothing, then.
    driver_.add({{.at = GuestAddress{kOutside}, .length = 0},
                 {.at = GuestAddress{kInside}, .length = 4},
                 {.at = GuestAddress{kOutside}, .length = 0, .direction = Direction::FromDevice}});
    const auto chain = ring_.pop();
    ASSERT_TRUE(chain.has_value());
    EXPECT_EQ(chain->readable(), 4U);
    EXPECT_EQ(chain->writable(), 0U);
}

TEST_F(RingTest, ChainAsLongAsTheQueueIsTaken) {
    driver_.add(std::vector<test::Buffer>(8, {.at = GuestAddress{kInside}, .length = 1}));
    EXPECT_EQ(ring_.pop()->readable(), 8U);
}

TEST(Ring, BufferMayCrossIntoAnAdjacentRegion) {
    GuestRam ram;
    std::array<std::byte, 64> above{};
    const GuestMemory memory = *GuestMemory::create(
        {ram.memory().regions()[0], {.start = GuestAddress{ram.bytes().size()}, .bytes = above}});
    QueueDriver driver(ram);
    Ring ring = *Ring::open(memory, driver.geometry(), 0);
    driver.add({{.at = GuestAddress{ram.bytes().size() - 16}, .length = 80}});
    auto chain = ring.pop();
    ASSERT_TRUE(chain.has_value());
    const auto segments = chain->take_readable(80);
    ASSERT_EQ(segments.size(), 2U);
    EXPECT_EQ(segments[0].size(), 16U);
    EXPECT_EQ(segments[1].data(), above.data());
    driver.add({{.at = GuestAddress{ram.bytes().size() - 16}, .length = 81}});
    EXPECT_FALSE(ring.pop().has_value());
    EXPECT_TRUE(ring.is_broken());
}

// --- indices wrap at 2^16 (integer wrap)

TEST(Ring, ServesChainsAcrossTheWrapOfTheIndices) {
    GuestRam ram;
    QueueDriver driver(ram, {.size = 4, .first = 65534});
    Ring ring = driver.open_ring();
    const test::Buffer buffer{.at = GuestAddress{kInside}, .length = 1};
    for (std::uint32_t i = 0; i < 6; ++i) {
        driver.add({buffer});
        auto chain = ring.pop();
        ASSERT_TRUE(chain.has_value()) << i;
        ring.complete(*std::move(chain), i);
        EXPECT_TRUE(ring.should_interrupt()) << i;
        EXPECT_EQ(driver.collect()->length, i);
    }
    EXPECT_EQ(ring.next_available(), 4);
    EXPECT_EQ(driver.used_idx(), 4);
}

TEST(Ring, GoesOnWhereAPredecessorStopped) {
    GuestRam ram;
    QueueDriver driver(ram, {.first = 1000});
    Ring ring = driver.open_ring();
    driver.add({{.at = GuestAddress{kInside}, .length = 1}});
    ring.complete(*ring.pop(), 0);
    EXPECT_EQ(driver.used_idx(), 1001);
    EXPECT_EQ(ring.next_available(), 1001);
}

// --- interrupts and kicks

TEST_F(RingTest, InterruptsOnceForWhatWasCompleted) {
    driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    ring_.complete(*ring_.pop(), 0);
    EXPECT_TRUE(ring_.should_interrupt());
    EXPECT_FALSE(ring_.should_interrupt());
}

TEST_F(RingTest, InterruptsOnlyPastUsedEvent) {
    driver_.want_interrupt_after(1);  // not for the first element, for the second
    driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    ring_.complete(*ring_.pop(), 0);
    EXPECT_FALSE(ring_.should_interrupt());
    ring_.complete(*ring_.pop(), 0);
    EXPECT_TRUE(ring_.should_interrupt());
}

TEST(Ring, InterruptFlagCountsWithoutEventIdx) {
    GuestRam ram;
    QueueDriver driver(ram, {.features = 0});
    Ring ring = driver.open_ring();
    driver.refuse_interrupts();
    driver.add({{.at = GuestAddress{kInside}, .length = 1}});
    ring.complete(*ring.pop(), 0);
    EXPECT_FALSE(ring.should_interrupt());
    driver.want_interrupt_after(0);
    driver.add({{.at = GuestAddress{kInside}, .length = 1}});
    ring.complete(*ring.pop(), 0);
    EXPECT_TRUE(ring.should_interrupt());
}

TEST_F(RingTest, KicksAreSilentWhileWeWork) {
    driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    EXPECT_TRUE(driver_.needs_kick());
    ring_.disable_kicks();
    ring_.complete(*ring_.pop(), 0);
    driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    EXPECT_FALSE(driver_.needs_kick());
    EXPECT_TRUE(ring_.enable_kicks()) << "the second chain came without a kick";
    ring_.complete(*ring_.pop(), 0);
    EXPECT_FALSE(ring_.enable_kicks());
    EXPECT_EQ(driver_.avail_event(), 2);
    driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    EXPECT_TRUE(driver_.needs_kick());
}

TEST(Ring, KickFlagServesWithoutEventIdx) {
    GuestRam ram;
    QueueDriver driver(ram, {.features = 0});
    Ring ring = driver.open_ring();
    ring.disable_kicks();
    driver.add({{.at = GuestAddress{kInside}, .length = 1}});
    EXPECT_FALSE(driver.needs_kick());
    ring.complete(*ring.pop(), 0);
    EXPECT_FALSE(ring.enable_kicks());
    driver.add({{.at = GuestAddress{kInside}, .length = 1}});
    EXPECT_TRUE(driver.needs_kick());
}

// --- geometry

TEST(Ring, RefusesSizesThatAreNoPowerOfTwoUpTo32768) {
    GuestRam ram;
    QueueDriver driver(ram);
    RingGeometry geometry = driver.geometry();
    geometry.size = 0;
    EXPECT_EQ(Ring::open(ram.memory(), geometry, 0).error().code(), Code::InvalidArgument);
    geometry.size = 7;
    EXPECT_EQ(Ring::open(ram.memory(), geometry, 0).error().code(), Code::InvalidArgument);
    geometry.size = 65535;
    EXPECT_EQ(Ring::open(ram.memory(), geometry, 0).error().code(), Code::InvalidArgument);
    geometry.size = 1;
    EXPECT_TRUE(Ring::open(ram.memory(), geometry, 0).has_value());
}

TEST(Ring, TakesTheLargestSize) {
    GuestRam ram;
    QueueDriver driver(ram, {.size = 32768});
    EXPECT_TRUE(Ring::open(ram.memory(), driver.geometry(), 0).has_value());
}

TEST(Ring, RefusesMisalignedParts) {
    GuestRam ram;
    QueueDriver driver(ram);
    RingGeometry geometry = driver.geometry();
    geometry.descriptors = GuestAddress{std::to_underlying(geometry.descriptors) + 8};
    EXPECT_EQ(Ring::open(ram.memory(), geometry, 0).error().code(), Code::InvalidArgument);
    geometry = driver.geometry();
    geometry.available = GuestAddress{std::to_underlying(geometry.available) + 1};
    EXPECT_EQ(Ring::open(ram.memory(), geometry, 0).error().code(), Code::InvalidArgument);
    geometry = driver.geometry();
    geometry.used = GuestAddress{std::to_underlying(geometry.used) + 2};
    EXPECT_EQ(Ring::open(ram.memory(), geometry, 0).error().code(), Code::InvalidArgument);
}

TEST(Ring, RefusesPartsThatAreNotWhollyInRam) {
    GuestRam ram;
    QueueDriver driver(ram);
    const std::uint64_t end = ram.bytes().size();
    RingGeometry geometry = driver.geometry();
    geometry.used = GuestAddress{end - 68};  // 6 + 8 * 8 = 70 bytes
    EXPECT_EQ(Ring::open(ram.memory(), geometry, 0).error().code(), Code::OutOfRange);
    geometry.used = GuestAddress{end - 72};
    EXPECT_TRUE(Ring::open(ram.memory(), geometry, 0).has_value());
    geometry.available = GuestAddress{std::numeric_limits<std::uint64_t>::max() - 1};
    EXPECT_EQ(Ring::open(ram.memory(), geometry, 0).error().code(), Code::OutOfRange);
}

// CVE-2026-5747: a queue size that grows after activation wrote past the ring. Whatever happens to
// the numbers the ring was opened with, it keeps its own.
TEST(Ring, GeometryIsLatchedWhenTheQueueStarts) {
    GuestRam ram;
    QueueDriver driver(ram);
    RingGeometry registers = driver.geometry();
    Ring ring = *Ring::open(ram.memory(), registers, test::kRingFeatures);
    const GuestAddress elsewhere = ram.allocate(4096);
    registers.size = 32768;
    registers.used = elsewhere;
    driver.add({{.at = GuestAddress{kInside}, .length = 1}});
    ring.complete(*ring.pop(), 0);
    EXPECT_EQ(driver.used_idx(), 1);
    EXPECT_EQ(ram.read<std::uint64_t>(elsewhere), 0U);
    driver.publish(8);  // inside 32768, outside 8
    EXPECT_FALSE(ring.pop().has_value());
    EXPECT_TRUE(ring.is_broken());
}

// --- drivers that break the rules

TEST_F(RingTest, AvailableIndexFurtherThanTheQueueIsLongBreaksTheRing) {
    driver_.set_available_idx(9);
    expect_broken();
}

TEST_F(RingTest, FullQueueIsNotTooFar) {
    for (int i = 0; i < 8; ++i) {
        driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    }
    EXPECT_TRUE(ring_.pop().has_value());
}

TEST_F(RingTest, AvailableIndexThatGoesBackBreaksTheRing) {
    driver_.set_available_idx(65535);
    expect_broken();
}

TEST_F(RingTest, HeadOutsideTheTableBreaksTheRing) {
    driver_.publish(8);
    expect_broken();
}

TEST_F(RingTest, HeadThatIsStillInFlightBreaksTheRing) {
    const std::uint16_t head = driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    auto chain = ring_.pop();
    driver_.publish(head);
    expect_broken();
    ring_.complete(*std::move(chain), 0);  // what was taken before still goes back
    EXPECT_EQ(driver_.collect()->id, head);
}

TEST_F(RingTest, NextOutsideTheTableBreaksTheRing) {
    publish({.address = kInside, .length = 1, .flags = abi::kVirtqDescNext, .next = 8});
    expect_broken();
}

// Chain length DoS: a loop would be walked for ever, or would gather segments without end.
TEST_F(RingTest, LoopBreaksTheRing) {
    publish({.address = kInside, .length = 1, .flags = abi::kVirtqDescNext, .next = 0});
    expect_broken();
}

TEST_F(RingTest, LoopOfEmptyDescriptorsBreaksTheRing) {
    publish({.address = kInside, .length = 0, .flags = abi::kVirtqDescNext, .next = 0});
    expect_broken();
}

TEST_F(RingTest, LoopInAnIndirectTableBreaksTheRing) {
    publish_indirect({{.address = kInside, .length = 1, .flags = abi::kVirtqDescNext, .next = 1},
                      {.address = kInside, .length = 1, .flags = abi::kVirtqDescNext, .next = 0}});
    expect_broken();
}

TEST_F(RingTest, ReadableAfterWritableBreaksTheRing) {
    driver_.add({{.at = GuestAddress{kInside}, .length = 1, .direction = Direction::FromDevice},
                 {.at = GuestAddress{kInside}, .length = 1, .direction = Direction::ToDevice}});
    expect_broken();
}

TEST_F(RingTest, ReadableAfterEmptyWritableBreaksTheRing) {
    driver_.add({{.at = GuestAddress{kInside}, .length = 0, .direction = Direction::FromDevice},
                 {.at = GuestAddress{kInside}, .length = 1, .direction = Direction::ToDevice}});
    expect_broken();
}

TEST_F(RingTest, BufferOutsideRamBreaksTheRing) {
    driver_.add({{.at = GuestAddress{kOutside}, .length = 1}});
    expect_broken();
}

TEST_F(RingTest, BufferThatEndsOutsideRamBreaksTheRing) {
    driver_.add({{.at = GuestAddress{ram_.bytes().size() - 4}, .length = 5}});
    expect_broken();
}

TEST_F(RingTest, BufferThatWrapsTheAddressSpaceBreaksTheRing) {
    driver_.add(
        {{.at = GuestAddress{std::numeric_limits<std::uint64_t>::max() - 3}, .length = 4096}});
    expect_broken();
}

TEST(Ring, BytesOfAChainFitIn32BitsOrBreakTheRing) {
    GuestRam ram(4_MiB);
    QueueDriver driver(ram, {.size = 1024});
    Ring ring = driver.open_ring();
    std::vector<test::Buffer> chain(1024, {.at = GuestAddress{0}, .length = 4U << 20U});
    chain.back().length -= 1;  // 2^32 - 1 in all
    driver.add_indirect(chain);
    EXPECT_EQ(ring.pop()->readable(), 0xffff'ffffU);
    chain.back().length += 1;
    driver.add_indirect(chain);
    EXPECT_FALSE(ring.pop().has_value());
    EXPECT_TRUE(ring.is_broken());
}

TEST_F(RingTest, IndirectWithoutTheFeatureBreaksTheRing) {
    Ring ring = *Ring::open(ram_.memory(), driver_.geometry(), abi::kVirtioFEventIdx);
    driver_.add_indirect({{.at = GuestAddress{kInside}, .length = 1}});
    EXPECT_FALSE(ring.pop().has_value());
    EXPECT_TRUE(ring.is_broken());
}

TEST_F(RingTest, NestedIndirectTableBreaksTheRing) {
    publish_indirect(
        {{.address = kInside, .length = 16, .flags = abi::kVirtqDescIndirect, .next = 0}});
    expect_broken();
}

TEST_F(RingTest, IndirectWithNextBreaksTheRing) {
    publish({.address = kInside,
             .length = 16,
             .flags = abi::kVirtqDescIndirect | abi::kVirtqDescNext,
             .next = 1});
    expect_broken();
}

TEST_F(RingTest, IndirectTableOfNoEntriesBreaksTheRing) {
    publish({.address = kInside, .length = 0, .flags = abi::kVirtqDescIndirect, .next = 0});
    expect_broken();
}

TEST_F(RingTest, IndirectTableOfBrokenLengthBreaksTheRing) {
    publish({.address = kInside, .length = 17, .flags = abi::kVirtqDescIndirect, .next = 0});
    expect_broken();
}

TEST_F(RingTest, IndirectTableAsLongAsTheQueueIsTakenAndOneMoreIsNot) {
    std::vector<test::Buffer> chain(8, {.at = GuestAddress{kInside}, .length = 1});
    driver_.add_indirect(chain);
    EXPECT_EQ(ring_.pop()->readable(), 8U);
    chain.push_back(chain[0]);
    driver_.add_indirect(chain);
    expect_broken();
}

TEST_F(RingTest, IndirectTableLongerThanTheQueueBreaksTheRingThoughItsChainIsShort) {
    publish_indirect(
        std::vector<abi::VirtqDesc>(9, {.address = kInside, .length = 1, .flags = 0, .next = 0}));
    expect_broken();
}

TEST_F(RingTest, IndirectTableOutsideRamBreaksTheRing) {
    publish({.address = kOutside, .length = 16, .flags = abi::kVirtqDescIndirect, .next = 0});
    expect_broken();
}

TEST_F(RingTest, NextOutsideTheIndirectTableBreaksTheRing) {
    publish_indirect({{.address = kInside, .length = 1, .flags = abi::kVirtqDescNext, .next = 1}});
    expect_broken();
}

// TOCTOU: what pop() checked is what it gave. A driver that rewrites its descriptors afterwards
// changes nothing.
TEST_F(RingTest, DescriptorsAreReadOnceAndNeverAgain) {
    const GuestAddress at = ram_.place("safe");
    const std::uint16_t head = driver_.add({{.at = at, .length = 4}});
    auto chain = ring_.pop();
    driver_.write_descriptor(
        head, {.address = kOutside, .length = 0xffff'ffffU, .flags = 0xffff, .next = 0xffff});
    EXPECT_EQ(chain->readable(), 4U);
    const auto segments = chain->take_readable(100);
    ASSERT_EQ(segments.size(), 1U);
    EXPECT_EQ(segments[0].data(), ram_.at(at, 4).data());
    EXPECT_EQ(segments[0].size(), 4U);
    ring_.complete(*std::move(chain), 0);
    EXPECT_EQ(driver_.collect()->id, head);
}

// The used ring is the device's: a driver that scribbles over it confuses only itself.
TEST_F(RingTest, UsedIndexIsOursWhateverTheDriverWritesThere) {
    driver_.add({{.at = GuestAddress{kInside}, .length = 1}});
    auto chain = ring_.pop();
    ram_.write(GuestAddress{std::to_underlying(driver_.geometry().used) + abi::kVirtqIdxOffset},
               std::uint16_t{500});
    ring_.complete(*std::move(chain), 0);
    EXPECT_EQ(driver_.used_idx(), 1);
}

TEST(RingDeathTest, CompletingWhatWasNotPoppedIsOurBug) {
    GuestRam ram;
    QueueDriver driver(ram);
    Ring ring = driver.open_ring();
    EXPECT_DEATH(ring.complete(Chain(3, {}, {}), 0), "is_taken");
}

}  // namespace
}  // namespace pepita::virtio
