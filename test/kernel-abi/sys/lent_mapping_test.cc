#include "kernel-abi/sys/lent_mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

constexpr std::size_t kPage = 4096;
constexpr Bytes kSize(4 * kPage);

class LentMappingTest : public testing::Test {
protected:
    Fd make_file() {
        Fd file(::memfd_create("lent", MFD_CLOEXEC));
        EXPECT_EQ(::ftruncate(file.ref().number(), kSize.value()), 0);
        return file;
    }
    LentMapping map(const Fd& file) { return *LentMapping::map(file.ref(), kSize, 0, lost_.ref()); }
    static void take_away(const Fd& file, std::size_t size = 0) {
        ASSERT_EQ(::ftruncate(file.ref().number(), static_cast<off_t>(size)), 0);
    }

    Fd lost_ = *create_eventfd();
};

TEST_F(LentMappingTest, IsSharedWithTheLender) {
    const Fd file = make_file();
    const LentMapping mapping = map(file);
    mapping.bytes()[5000] = std::byte{7};
    std::byte seen{};
    ASSERT_EQ(::pread(file.ref().number(), &seen, 1, 5000), 1);
    EXPECT_EQ(seen, std::byte{7});
    EXPECT_EQ(drain_eventfd(lost_.ref()), 0U);
}

TEST_F(LentMappingTest, WhatIsTakenAwayReadsAsZerosAndIsTold) {
    const Fd file = make_file();
    const LentMapping mapping = map(file);
    mapping.bytes()[0] = std::byte{7};
    mapping.bytes()[3 * kPage] = std::byte{7};
    take_away(file, 4096);
    EXPECT_EQ(mapping.bytes()[0], std::byte{7}) << "still there";
    EXPECT_EQ(drain_eventfd(lost_.ref()), 0U);
    EXPECT_EQ(mapping.bytes()[3 * kPage + 1], std::byte{0});
    EXPECT_EQ(drain_eventfd(lost_.ref()), 1U);
    EXPECT_EQ(mapping.bytes()[0], std::byte{0}) << "all of it is ours now";
    mapping.bytes()[2 * kPage] = std::byte{1};
    EXPECT_EQ(drain_eventfd(lost_.ref()), 0U) << "once";
    EXPECT_EQ(::lseek(file.ref().number(), 0, SEEK_END), 4096) << "nothing comes back to the file";
}

TEST_F(LentMappingTest, OneThatIsTakenAwayLeavesTheOthers) {
    const std::array files{make_file(), make_file(), make_file()};
    const Fd other_lost = *create_eventfd();
    const LentMapping first = map(files[0]);
    {
        const LentMapping gone = map(files[1]);  // its place is used again
    }
    const LentMapping second = *LentMapping::map(files[1].ref(), kSize, 0, other_lost.ref());
    LentMapping third = map(files[2]);
    const LentMapping moved = std::move(third);
    first.bytes()[0] = std::byte{1};
    moved.bytes()[0] = std::byte{3};
    take_away(files[1]);
    Thread thread = *Thread::start("writer", [&] { second.bytes()[9] = std::byte{2}; });
    thread.join();
    EXPECT_EQ(drain_eventfd(other_lost.ref()), 1U);
    EXPECT_EQ(drain_eventfd(lost_.ref()), 0U);
    EXPECT_EQ(first.bytes()[0], std::byte{1});
    EXPECT_EQ(moved.bytes()[0], std::byte{3});
    take_away(files[2]);
    EXPECT_EQ(moved.bytes()[0], std::byte{0});
    EXPECT_EQ(drain_eventfd(lost_.ref()), 1U);
}

TEST_F(LentMappingTest, ASystemCallFailsInstead) {
    const Fd file = make_file();
    const LentMapping mapping = map(file);
    take_away(file);
    EXPECT_EQ(::write(lost_.ref().number(), mapping.bytes().data(), 8), -1);
    EXPECT_EQ(errno, EFAULT);
}

// Sanitizers end a process in their own way.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
using LentMappingDeathTest = LentMappingTest;

TEST_F(LentMappingDeathTest, MemoryThatNobodyLentEndsTheProcessAsEver) {
    const Fd file = make_file();
    const Fd own = make_file();
    const LentMapping lent = map(file);
    const Mapping mapping = *Mapping::shared(own.ref(), kSize);
    take_away(own);
    EXPECT_EXIT(mapping.bytes()[0] = std::byte{1}, testing::KilledBySignal(SIGBUS), "");
    EXPECT_EXIT((void)::raise(SIGBUS), testing::KilledBySignal(SIGBUS), "");
}
#endif

TEST_F(LentMappingTest, RefusesWhatCannotBeMapped) {
    const auto code = [&](const Fd& file, Bytes size, std::uint64_t offset) {
        return LentMapping::map(file.ref(), size, offset, lost_.ref()).error().code();
    };
    const Fd file = make_file();
    EXPECT_EQ(code(file, Bytes(0), 0), Code::InvalidArgument);
    EXPECT_EQ(code(file, kSize + Bytes(1), 0), Code::InvalidArgument);
    EXPECT_EQ(code(file, kSize, 1), Code::InvalidArgument);
    EXPECT_EQ(code(file, Bytes(UINT64_MAX), 2), Code::InvalidArgument);
    EXPECT_EQ(code(file, Bytes(1), UINT64_MAX), Code::InvalidArgument);
}

// Its pages may never come.
TEST_F(LentMappingTest, X6_RefusesAFileThatIsNotInMemory) {
    const Fd program(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    const Fd zeros(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    for (const Fd* const file : {&program, &zeros}) {
        const auto mapped = LentMapping::map(file->ref(), Bytes(kPage), 0, lost_.ref());
        ASSERT_FALSE(mapped.has_value());
        EXPECT_EQ(mapped.error().message(), "it is no file in memory (memfd, tmpfs, hugetlbfs)");
    }
}

TEST_F(LentMappingTest, X2_BytesAreAnyPartOfTheFile) {
    const Fd file = make_file();
    const LentMapping mapping = *LentMapping::map(file.ref(), Bytes(100), 5000, lost_.ref());
    EXPECT_EQ(mapping.bytes().size(), 100U);
    mapping.bytes()[1] = std::byte{7};
    std::byte seen{};
    ASSERT_EQ(::pread(file.ref().number(), &seen, 1, 5001), 1);
    EXPECT_EQ(seen, std::byte{7});
    take_away(file);
    EXPECT_EQ(mapping.bytes()[1], std::byte{0});
    EXPECT_EQ(drain_eventfd(lost_.ref()), 1U);
}

// A part of a huge page cannot be replaced: the whole has to be.
TEST_F(LentMappingTest, X2_APartOfAHugePageIsTakenAwayWithoutHarm) {
    const Fd file(::memfd_create("lent", MFD_CLOEXEC | MFD_HUGETLB));
    if (!file || ::ftruncate(file.ref().number(), 2 << 20) != 0) {
        GTEST_SKIP() << "no huge pages in this kernel";
    }
    {
        const auto mapping = LentMapping::map(file.ref(), Bytes(kPage), kPage, lost_.ref());
        if (!mapping) {
            GTEST_SKIP() << "no huge page is free: " << mapping.error().message();
        }
        mapping->bytes()[0] = std::byte{7};
        take_away(file);
        EXPECT_EQ(mapping->bytes()[0], std::byte{0});
        EXPECT_EQ(drain_eventfd(lost_.ref()), 1U);
    }
    ASSERT_EQ(::ftruncate(file.ref().number(), 2 << 20), 0);
    EXPECT_TRUE(LentMapping::map(file.ref(), Bytes(kPage), 0, lost_.ref()).has_value())
        << "its place was given back";
}

}  // namespace
}  // namespace pepita
