#include "kernel-abi/sys/eventfd.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
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

}  // namespace pepita
