#include "kernel-abi/sys/mapping.h"

#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

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

Result<Mapping> Mapping::shared_read_only(FdRef file, Bytes size, std::uint64_t offset) {
    return Mapping(TRY(map(size, PROT_READ, MAP_SHARED, file.number(), offset)));
}

Mapping::~Mapping() {
    if (!bytes_.empty()) {
        (void)::munmap(bytes_.data(), bytes_.size());
    }
}

}  // namespace pepita
