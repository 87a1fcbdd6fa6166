#include "kernel-abi/sys/memory_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

std::string name_of(const Fd& file) {
    std::array<char, 64> text{};
    const std::string link = "/proc/self/fd/" + std::to_string(file.ref().number());
    const ssize_t size = ::readlink(link.c_str(), text.data(), text.size());
    return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : "";
}

std::uint64_t blocks_of(const Fd& file) {
    struct stat status = {};
    EXPECT_EQ(::fstat(file.ref().number(), &status), 0);
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

/// Of this process, in huge pages of files in memory.
std::uint64_t huge_kib() {
    const std::string text = *read_file("/proc/self/smaps_rollup");
    const std::size_t at = text.find("ShmemPmdMapped:");
    if (at == std::string::npos) {
        return 0;
    }
    const std::size_t digits = text.find_first_not_of(' ', at + 15);
    std::uint64_t kib = 0;
    (void)std::from_chars(text.data() + digits, text.data() + text.size(), kib);
    return kib;
}

bool has_transparent_huge_pages() {
    const auto shmem = read_file("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    return shmem && !shmem->contains("[deny]");
}

TEST(MemoryFile, IsSharedZerosOfItsSize) {
    const Fd file = *create_memory_file("test", 5_MiB);
    EXPECT_EQ(*file_size(file.ref()), 5_MiB);
    EXPECT_EQ(blocks_of(file), 0U);
    const Mapping one = *Mapping::shared_huge(file.ref(), 5_MiB);
    const Mapping other = *Mapping::shared(file.ref(), 5_MiB);
    EXPECT_EQ(one.bytes()[0], std::byte{0});
    one.bytes().back() = std::byte{7};
    EXPECT_EQ(other.bytes().back(), std::byte{7});
}

TEST(MemoryFile, IsOfHugePagesForRoot) {
    if (::geteuid() != 0 || !has_transparent_huge_pages()) {
        GTEST_SKIP() << "needs CAP_SYS_ADMIN and transparent huge pages";
    }
    const Fd file = *create_memory_file("test", 4_MiB);
    EXPECT_FALSE(name_of(file).starts_with("/memfd:"));
    const Mapping mapping = *Mapping::shared_huge(file.ref(), 4_MiB);
    EXPECT_EQ(std::bit_cast<std::uintptr_t>(mapping.bytes().data()) % kHugePageSize.value(), 0U);
    const std::uint64_t before = huge_kib();
    std::ranges::fill(mapping.bytes(), std::byte{1});
    EXPECT_EQ(huge_kib() - before, 4096U);
}

TEST(MemoryFile, GivesPagesBackByRemovingThem) {
    const Fd file = *create_memory_file("test", 4_MiB);
    const Mapping mapping = *Mapping::shared_huge(file.ref(), 4_MiB);
    std::ranges::fill(mapping.bytes(), std::byte{1});
    EXPECT_EQ(blocks_of(file), 4U << 20U);
    ASSERT_EQ(::madvise(mapping.bytes().data(), 2U << 20U, MADV_REMOVE), 0);
    EXPECT_EQ(blocks_of(file), 2U << 20U);
    EXPECT_EQ(mapping.bytes()[0], std::byte{0});
}

TEST(MemoryFile, IsAMemfdForOthers) {
    if (::geteuid() != 0) {
        EXPECT_TRUE(name_of(*create_memory_file("test", 4_MiB)).starts_with("/memfd:test"));
        return;
    }
    const pid_t pid = ::fork();
    if (pid == 0) {
        const bool is_user =
            ::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0;
        const auto file = create_memory_file("test", 4_MiB);
        const bool is_memfd = file.has_value() && name_of(*file).starts_with("/memfd:test");
        ::_exit(is_user && is_memfd ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

TEST(MemoryFile, MapsFromAnOffsetOfWholeHugePages) {
    const Fd file = *create_memory_file("test", 6_MiB);
    const Mapping all = *Mapping::shared(file.ref(), 6_MiB);
    const Mapping part = *Mapping::shared_huge(file.ref(), 1_MiB, 4U << 20U);
    part.bytes()[1] = std::byte{9};
    EXPECT_EQ(all.bytes()[(4U << 20U) + 1], std::byte{9});
}

}  // namespace
}  // namespace pepita
