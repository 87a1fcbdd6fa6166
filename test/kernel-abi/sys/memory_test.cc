#include "kernel-abi/sys/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
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

bool has_huge_pages() {
    const auto free = read_file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    return free && *free != "0\n";
}

TEST(PageBuffer, IsWholeAlignedZeroPages) {
    const auto buffer = PageBuffer::create({.size = Bytes(5000)});
    ASSERT_TRUE(buffer.has_value());
    EXPECT_EQ(buffer->bytes().size(), 8192U);
    EXPECT_EQ(std::to_underlying(address_of(buffer->bytes().data())) % 4096, 0U);
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

TEST(PageBuffer, HugePagesLieTogether) {
    if (!has_huge_pages()) {
        GTEST_SKIP() << "no free huge pages (vm.nr_hugepages)";
    }
    const auto buffer = PageBuffer::create({.size = Bytes(1), .kind = PageKind::Huge});
    ASSERT_TRUE(buffer.has_value());
    EXPECT_EQ(buffer->bytes().size(), kHugePageSize.value());
    EXPECT_EQ(std::to_underlying(address_of(buffer->bytes().data())) % kHugePageSize.value(), 0U);
    buffer->bytes()[0] = std::byte{1};
    const auto start = translate(address_of(buffer->bytes().data()));
    const auto end = translate(address_of(&buffer->bytes()[kHugePageSize.value() - 1]));
    ASSERT_TRUE(start.has_value() && end.has_value());
    EXPECT_EQ(std::to_underlying(*end) - std::to_underlying(*start), kHugePageSize.value() - 1);
}

TEST(Translate, TwoMappingsOfOnePageAreOnePlace) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "physical addresses are root's";
    }
    const Fd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.ref().number(), 8192), 0);
    const auto one = Mapping::shared(file.ref(), 8_KiB);
    const auto other = Mapping::shared(file.ref(), 8_KiB);
    ASSERT_TRUE(one.has_value() && other.has_value());
    one->bytes()[5000] = std::byte{1};
    EXPECT_EQ(other->bytes()[5000], std::byte{1});
    const auto here = translate(address_of(&one->bytes()[5000]));
    const auto there = translate(address_of(&other->bytes()[5000]));
    ASSERT_TRUE(here.has_value() && there.has_value());
    EXPECT_EQ(*here, *there);
    EXPECT_EQ(std::to_underlying(*here) % 4096, 5000U % 4096);
}

TEST(Translate, SaysThatNoPageIsThere) {
    const auto untouched = PageBuffer::create({.size = 4_KiB});
    ASSERT_TRUE(untouched.has_value());
    EXPECT_EQ(translate(address_of(untouched->bytes().data())).error().code(), Code::NotFound);
    EXPECT_EQ(translate(VirtualAddress{0}).error().code(), Code::NotFound);
}

}  // namespace
}  // namespace pepita
