#include "kernel-abi/sys/fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

Fd::~Fd() {
    if (number_ != kNone) {
        // Linux frees the number even when close(2) fails, so there is nothing to retry;
        // who must know that data reached the disk calls fsync(2) first.
        (void)::close(number_);
    }
}

Result<Fd> duplicate(FdRef fd) {
    Fd copy(::fcntl(fd.number(), F_DUPFD_CLOEXEC, 0));
    if (!copy) {
        return Error::from_errno(errno, "duplicate descriptor");
    }
    return copy;
}

Result<void> set_nonblocking(FdRef fd) {
    const int flags = ::fcntl(fd.number(), F_GETFL);
    if (flags == -1 || ::fcntl(fd.number(), F_SETFL, flags | O_NONBLOCK) == -1) {
        return Error::from_errno(errno, "make descriptor non-blocking");
    }
    return {};
}

Result<void> set_blocking(FdRef fd) {
    const int flags = ::fcntl(fd.number(), F_GETFL);
    if (flags == -1 || ::fcntl(fd.number(), F_SETFL, flags & ~O_NONBLOCK) == -1) {
        return Error::from_errno(errno, "make descriptor blocking");
    }
    return {};
}

Result<Fd> open_file(const char* path, int flags) {
    Fd fd(::open(path, flags | O_CLOEXEC));
    if (!fd) {
        return Error::from_errno(errno, std::string("open '") + path + "'");
    }
    return fd;
}

}  // namespace pepita
