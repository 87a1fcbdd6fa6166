#include "kernel-abi/sys/memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

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
