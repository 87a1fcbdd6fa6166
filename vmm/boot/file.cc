#include "vmm/boot/file.h"

#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::vmm {

Result<Bytes> file_size(FdRef file) {
    struct stat status = {};
    if (::fstat(file.number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    if (!S_ISREG(status.st_mode)) {
        return Error(Code::InvalidArgument, "not a regular file");
    }
    return Bytes(static_cast<std::uint64_t>(status.st_size));
}

Result<void> read_exactly(FdRef file, std::span<std::byte> into, std::uint64_t offset) {
    while (!into.empty()) {
        const ssize_t got =
            ::pread(file.number(), into.data(), into.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return Error::from_errno(errno, "read");
        }
        if (got == 0) {
            return Error(Code::OutOfRange, "the file ends too early");
        }
        into = into.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
    return {};
}

}  // namespace pepita::vmm
