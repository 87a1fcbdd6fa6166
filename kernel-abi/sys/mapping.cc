#include "kernel-abi/sys/mapping.h"

#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

Result<std::span<std::byte>> map(Bytes size, int protection, int flags, int fd,
                                 std::uint64_t offset) {
    void* at = ::mmap(nullptr, size.value(), protection, flags, fd, static_cast<off_t>(offset));
    if (at == MAP_FAILED) {
        return Error::from_errno(errno, "mmap " + std::to_string(size.value()) + " B");
    }
    return std::span(static_cast<std::byte*>(at), size.value());
}

}  // namespace

Result<Mapping> Mapping::anonymous(Bytes size) {
    return Mapping(TRY(map(size, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)));
}

Result<Mapping> Mapping::huge(Bytes size) {
    return Mapping(TRY(
        map(size, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0)));
}

Result<Mapping> Mapping::shared(FdRef file, Bytes size, std::uint64_t offset) {
    return Mapping(TRY(map(size, kReadWrite, MAP_SHARED, file.number(), offset)));
}

Result<Mapping> Mapping::shared_huge(FdRef file, Bytes size, std::uint64_t offset) {
    // Room with a huge page to spare; what lies outside the aligned part goes back.
    const std::span<std::byte> room = TRY(
        map(size + kHugePageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    void* aligned = room.data();
    std::size_t left = room.size();
    CHECK(std::align(kHugePageSize.value(), size.value(), aligned, left) != nullptr);
    const std::size_t before = room.size() - left;
    const std::span<std::byte> after = room.subspan(before + size.value());
    void* at = ::mmap(aligned, size.value(), kReadWrite, MAP_SHARED | MAP_FIXED, file.number(),
                      static_cast<off_t>(offset));
    if (at == MAP_FAILED) {
        const int failed = errno;
        (void)::munmap(room.data(), room.size());
        return Error::from_errno(failed, "mmap " + std::to_string(size.value()) + " B");
    }
    if (before != 0) {
        (void)::munmap(room.data(), before);
    }
    if (!after.empty()) {
        (void)::munmap(after.data(), after.size());
    }
    // A kernel without transparent huge pages refuses; the mapping is as good in small ones.
    (void)::madvise(at, size.value(), MADV_HUGEPAGE);
    return Mapping(std::span(static_cast<std::byte*>(at), size.value()));
}

Result<Mapping> Mapping::shared_read_only(FdRef file, Bytes size, std::uint64_t offset) {
    return Mapping(TRY(map(size, PROT_READ, MAP_SHARED, file.number(), offset)));
}

Mapping::~Mapping() {
    if (!bytes_.empty()) {
        (void)::munmap(bytes_.data(), bytes_.size());
    }
}

}  // namespace pepita
