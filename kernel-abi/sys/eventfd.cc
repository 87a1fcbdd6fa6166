#include "kernel-abi/sys/eventfd.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

Result<Fd> create_eventfd() {
    Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) {
        return Error::from_errno(errno, "eventfd");
    }
    return fd;
}

void signal_eventfd(FdRef eventfd) {
    const std::uint64_t one = 1;
    // Fails with EAGAIN alone, where the counter is full and so signalled already.
    (void)!::write(eventfd.number(), &one, sizeof(one));
}

std::uint64_t drain_eventfd(FdRef eventfd) {
    std::uint64_t count = 0;
    if (::read(eventfd.number(), &count, sizeof(count)) != sizeof(count)) {
        return 0;
    }
    return count;
}

Result<void> check_lent_eventfd(FdRef eventfd) {
    // An eventfd has no read of one byte, and can be read with RWF_NOWAIT. A file of another
    // program's (FUSE) cannot, and would keep fstat(2) waiting: so this comes first.
    std::byte byte{};
    iovec part{.iov_base = &byte, .iov_len = 1};
    struct stat status{};
    if (::preadv2(eventfd.number(), &part, 1, -1, RWF_NOWAIT) != -1 || errno != EINVAL ||
        ::fstat(eventfd.number(), &status) != 0 || (status.st_mode & S_IFMT) != 0) {
        return Error(Code::InvalidArgument, "it is no eventfd");
    }
    return {};
}

void signal_lent_eventfd(FdRef eventfd) {
    pollfd ready{.fd = eventfd.number(), .events = POLLOUT, .revents = 0};
    if (::poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0) {
        signal_eventfd(eventfd);
    }
}

Result<std::uint64_t> drain_lent_eventfd(FdRef eventfd) {
    std::uint64_t count = 0;
    iovec part{.iov_base = &count, .iov_len = sizeof(count)};
    // RWF_NOWAIT, whatever O_NONBLOCK says by now.
    const ssize_t got = ::preadv2(eventfd.number(), &part, 1, -1, RWF_NOWAIT);
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
        return Error::from_errno(errno, "read");
    }
    return got == sizeof(count) ? count : 0;
}

}  // namespace pepita
