#include "storage/file/alignment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/memory.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

namespace pepita::storage::file {
namespace {

// What is told is true: memory that lies as asked, and no better, is taken.
class DirectAlignmentTest : public testing::TestWithParam<const char*> {};

TEST_P(DirectAlignmentTest, IsWhatTheKernelTakes) {
    const Fd file(::open(GetParam(), O_RDWR | O_TMPFILE | O_DIRECT | O_CLOEXEC, 0600));
    if (!file) {
        GTEST_SKIP() << GetParam() << " has no file for direct I/O";
    }
    ASSERT_EQ(::ftruncate(file.ref().number(), 1 << 20), 0);
    const auto found = direct_alignment(file.ref());
    if (!found && found.error().code() == Code::Unsupported) {
        GTEST_SKIP() << GetParam() << ": " << found.error().message();
    }
    ASSERT_TRUE(found.has_value()) << found.error().message();
    EXPECT_TRUE(std::has_single_bit(found->memory));
    EXPECT_TRUE(std::has_single_bit(found->offset));
    const PageBuffer buffer = *PageBuffer::create({.size = Bytes(1U << 18U)});
    const std::span<std::byte> here = buffer.bytes().subspan(found->memory, found->offset);
    EXPECT_EQ(::pread(file.ref().number(), here.data(), here.size(), found->offset),
              static_cast<ssize_t>(here.size()));
}

INSTANTIATE_TEST_SUITE_P(FileSystems, DirectAlignmentTest,
                         testing::Values("/var/tmp", "/dev/shm", "/tmp"));

TEST(Alignment, ConcernsEachPieceOfMemory) {
    static constexpr Alignment sectors{.memory = 8, .offset = 512};
    alignas(512) std::array<std::byte, 2048> memory{};
    const std::span<std::byte> all(memory);
    const auto aligned = [](std::span<std::byte> first, std::span<std::byte> second) {
        const std::array<BlockDevice::Segment, 2> both{first, second};
        return is_aligned(both, sectors);
    };
    EXPECT_TRUE(aligned(all.first(512), all.subspan(8, 1024)));
    EXPECT_FALSE(aligned(all.first(512), all.subspan(4, 512)));
    EXPECT_FALSE(aligned(all.first(512), all.subspan(512, 256)));
    const std::array<BlockDevice::Segment, 1> odd{all.subspan(1, 3)};
    EXPECT_TRUE(is_aligned(odd, {})) << "the page cache takes all";
}

}  // namespace
}  // namespace pepita::storage::file
