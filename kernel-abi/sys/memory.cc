#include "kernel-abi/sys/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

// One word of /proc/PID/pagemap for each page of the address space.
constexpr std::uint64_t kPagePresent = 1ULL << 63U;
constexpr std::uint64_t kFrameMask = (1ULL << 55U) - 1;

Result<Mapping> map(PageKind kind, Bytes size) {
    if (kind == PageKind::Base) {
        return Mapping::anonymous(size);
    }
    Result<Mapping> mapping = Mapping::huge(size);
    if (!mapping && mapping.error().sys_errno() == ENOMEM) {
        return Error(Code::ResourceExhausted,
                     "no " + std::to_string(size.value() / kHugePageSize.value()) +
                         " free huge pages of 2 MiB (sysctl vm.nr_hugepages)");
    }
    return mapping;
}

}  // namespace

VirtualAddress address_of(const void* at) {
    return VirtualAddress{std::bit_cast<std::uintptr_t>(at)};
}

Result<PhysicalAddress> translate(VirtualAddress at) {
    const std::uint64_t address = std::to_underlying(at);
    const Fd pagemap = TRY(open_file("/proc/self/pagemap", O_RDONLY));
    std::uint64_t word = 0;
    const auto offset = static_cast<off_t>(address / kPageSize.value() * sizeof(word));
    const ssize_t got = ::pread(pagemap.ref().number(), &word, sizeof(word), offset);
    if (got < 0) {
        return Error::from_errno(errno, "read '/proc/self/pagemap'");
    }
    if (got != sizeof(word) || (word & kPagePresent) == 0) {
        return Error(Code::NotFound, "no page is in memory at this address");
    }
    const std::uint64_t frame = word & kFrameMask;
    if (frame == 0) {  // what the kernel shows without CAP_SYS_ADMIN
        return Error(Code::PermissionDenied, "physical addresses are for CAP_SYS_ADMIN");
    }
    return PhysicalAddress{frame * kPageSize.value() + address % kPageSize.value()};
}

Result<PageBuffer> PageBuffer::create(const Options& options) {
    const std::uint64_t page =
        options.kind == PageKind::Huge ? kHugePageSize.value() : kPageSize.value();
    if (options.size.value() == 0 ||
        options.size.value() > std::numeric_limits<std::uint64_t>::max() - page) {
        return Error(Code::InvalidArgument,
                     "a buffer of " + std::to_string(options.size.value()) + " B");
    }
    const Bytes size((options.size.value() + page - 1) / page * page);
    Mapping mapping = TRY(map(options.kind, size));
    if (options.residence == Residence::Pinned &&
        ::mlock(mapping.bytes().data(), mapping.bytes().size()) != 0) {
        if (errno == ENOMEM || errno == EPERM || errno == EAGAIN) {
            return Error(Code::ResourceExhausted, "cannot pin " + std::to_string(size.value()) +
                                                      " B in memory (RLIMIT_MEMLOCK)");
        }
        return Error::from_errno(errno, "mlock");
    }
    return PageBuffer(std::move(mapping));
}

}  // namespace pepita
