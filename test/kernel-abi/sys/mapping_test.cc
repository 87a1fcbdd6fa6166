#include "kernel-abi/sys/mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

TEST(Mapping, AnonymousIsZeroAndWritable) {
    auto mapping = Mapping::anonymous(8_KiB);
    ASSERT_TRUE(mapping.has_value());
    ASSERT_EQ(mapping->bytes().size(), 8192U);
    EXPECT_EQ(mapping->bytes()[8191], std::byte{0});
    mapping->bytes()[8191] = std::byte{7};
    EXPECT_EQ(mapping->bytes()[8191], std::byte{7});
}

TEST(Mapping, SharedWritesReachTheFile) {
    const Fd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.ref().number(), 8192), 0);
    auto mapping = Mapping::shared(file.ref(), 4_KiB, 4096);
    ASSERT_TRUE(mapping.has_value());
    mapping->bytes()[0] = std::byte{9};
    std::byte seen{};
    ASSERT_EQ(::pread(file.ref().number(), &seen, 1, 4096), 1);
    EXPECT_EQ(seen, std::byte{9});
}

TEST(Mapping, ReadOnlyNeedsNoWritableFileAndSeesItsBytes) {
    const Fd file(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::pwrite(file.ref().number(), "x", 1, 4096), 1);
    ASSERT_EQ(::ftruncate(file.ref().number(), 8192), 0);
    ASSERT_EQ(::fcntl(file.ref().number(), F_ADD_SEALS, F_SEAL_WRITE), 0);
    EXPECT_FALSE(Mapping::shared(file.ref(), 4_KiB, 4096).has_value());
    auto mapping = Mapping::shared_read_only(file.ref(), 4_KiB, 4096);
    ASSERT_TRUE(mapping.has_value());
    EXPECT_EQ(mapping->bytes()[0], std::byte{'x'});
}

TEST(Mapping, IsUnmappedWhenItGoes) {
    void* at = nullptr;
    {
        auto mapping = Mapping::anonymous(4_KiB);
        ASSERT_TRUE(mapping.has_value());
        const Mapping moved = std::move(*mapping);
        at = moved.bytes().data();
        unsigned char resident = 0;
        EXPECT_EQ(::mincore(at, 4096, &resident), 0);
    }
    unsigned char resident = 0;
    EXPECT_EQ(::mincore(at, 4096, &resident), -1);
    EXPECT_EQ(errno, ENOMEM);
}

TEST(Mapping, RefusesWhatTheKernelRefuses) {
    EXPECT_EQ(Mapping::anonymous(Bytes(0)).error().sys_errno(), EINVAL);
    EXPECT_EQ(Mapping::shared(FdRef(-1), 4_KiB).error().sys_errno(), EBADF);
}

}  // namespace
}  // namespace pepita
