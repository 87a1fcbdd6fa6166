#include "kernel-abi/sys/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/units.h"
#include "test/support/sanitizer.h"

namespace pepita {
namespace {

std::size_t resident_pages(std::span<const std::byte> bytes) {
    std::vector<unsigned char> pages(bytes.size() / 4096);
    EXPECT_EQ(::mincore(const_cast<std::byte*>(bytes.data()), bytes.size(), pages.data()), 0);
    std::size_t count = 0;
    for (const unsigned char page : pages) {
        count += page & 1U;
    }
    return count;
}

std::uintptr_t address_of(std::span<const std::byte> bytes) {
    return std::bit_cast<std::uintptr_t>(bytes.data());
}

bool has_huge_pages() {
    const auto free = read_file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    return free && *free != "0\n";
}

TEST(PageBuffer, IsWholeAlignedZeroPages) {
    const auto buffer = PageBuffer::create({.size = Bytes(5000)});
    ASSERT_TRUE(buffer.has_value());
    EXPECT_EQ(buffer->bytes().size(), 8192U);
    EXPECT_EQ(address_of(buffer->bytes()) % 4096, 0U);
    EXPECT_EQ(buffer->bytes()[8191], std::byte{0});
}

TEST(PageBuffer, CostsMemoryOnDemandOrFromTheStart) {
    if (kIsSanitized) {
        GTEST_SKIP() << "a sanitizer's runtime takes mlock() for itself";
    }
    const auto lazy = PageBuffer::create({.size = 64_KiB});
    ASSERT_TRUE(lazy.has_value());
    EXPECT_EQ(resident_pages(lazy->bytes()), 0U);
    const auto pinned = PageBuffer::create({.size = 64_KiB, .residence = Residence::Pinned});
    ASSERT_TRUE(pinned.has_value());
    EXPECT_EQ(resident_pages(pinned->bytes()), 16U);
}

TEST(PageBuffer, RefusesSizesThatAreNone) {
    EXPECT_EQ(PageBuffer::create({.size = Bytes(0)}).error().code(), Code::InvalidArgument);
    const Bytes largest(std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(PageBuffer::create({.size = largest}).error().code(), Code::InvalidArgument);
}

TEST(PageBuffer, NamesTheLimitThatForbidsPinning) {
    if (kIsSanitized) {
        GTEST_SKIP() << "a sanitizer's runtime takes mlock() for itself";
    }
    if (::geteuid() == 0) {
        ASSERT_EQ(::setegid(65534), 0);
        ASSERT_EQ(::seteuid(65534), 0);  // CAP_IPC_LOCK would know no limit
    }
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &before), 0);
    const rlimit small{.rlim_cur = 4096, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &small), 0);
    const auto buffer = PageBuffer::create({.size = 64_KiB, .residence = Residence::Pinned});
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &before), 0);
    if (::getuid() == 0) {
        ASSERT_EQ(::seteuid(0), 0);
        ASSERT_EQ(::setegid(0), 0);
    }
    ASSERT_FALSE(buffer.has_value());
    EXPECT_EQ(buffer.error().code(), Code::ResourceExhausted);
    EXPECT_NE(buffer.error().message().find("RLIMIT_MEMLOCK"), std::string::npos);
}

TEST(PageBuffer, NamesThePoolThatHasNoHugePages) {
    const auto buffer = PageBuffer::create({.size = Bytes(1ULL << 40U), .kind = PageKind::Huge});
    ASSERT_FALSE(buffer.has_value());
    EXPECT_EQ(buffer.error().code(), Code::ResourceExhausted);
    EXPECT_NE(buffer.error().message().find("vm.nr_hugepages"), std::string::npos);
}

TEST(PageBuffer, HugePagesAreAlignedToTheirSize) {
    if (!has_huge_pages()) {
        GTEST_SKIP() << "no free huge pages (vm.nr_hugepages)";
    }
    const auto buffer = PageBuffer::create({.size = Bytes(1), .kind = PageKind::Huge});
    ASSERT_TRUE(buffer.has_value());
    EXPECT_EQ(buffer->bytes().size(), kHugePageSize.value());
    EXPECT_EQ(address_of(buffer->bytes()) % kHugePageSize.value(), 0U);
}

}  // namespace
}  // namespace pepita
