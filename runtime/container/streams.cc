#include "runtime/container/streams.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/engine.h"
#include "runtime/container/inside.h"

namespace pepita::runtime::container {
namespace {

constexpr unsigned kStandard = 3;  // 0, 1 and 2 come before it

Result<Fd> null_or_spare(const Fd& spare) {
    Result<Fd> null = open_null();
    if (!null && null.error().sys_errno() == ENOENT && spare) {
        return duplicate(spare.ref());
    }
    return null;
}

Result<void> give_to(FdRef stream, uid_t owner) {
    struct stat about{};
    if (::fstat(stream.number(), &about) != 0) {
        return Error::from_errno(errno, "standard stream");
    }
    const bool is_passed_on = S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode) ||
                              (S_ISCHR(about.st_mode) && ::isatty(stream.number()) == 1);
    if (!is_passed_on || about.st_uid == owner) {
        return {};
    }
    if (::fchown(stream.number(), owner, static_cast<gid_t>(-1)) != 0 && errno != EPERM &&
        errno != EROFS && errno != EINVAL) {
        return Error::from_errno(errno, "give a standard stream to user " + std::to_string(owner));
    }
    return {};
}

}  // namespace

void close_all_but(std::initializer_list<FdRef> kept) {
    std::vector<unsigned> numbers;
    for (const FdRef fd : kept) {
        if (fd.number() >= static_cast<int>(kStandard)) {
            numbers.push_back(static_cast<unsigned>(fd.number()));
        }
    }
    std::ranges::sort(numbers);
    unsigned from = kStandard;
    for (const unsigned number : numbers) {
        if (number > from) {
            (void)::close_range(from, number - 1, 0);
        }
        from = number + 1;
    }
    (void)::close_range(from, ~0U, 0);
}

Result<Fd> open_null() {
    // A running container may have put anything there: nothing that waits, nothing that follows.
    Fd null = TRY(open_inside("/dev/null", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    struct stat about{};
    if (::fstat(null.ref().number(), &about) != 0 || !S_ISCHR(about.st_mode) ||
        about.st_rdev != ::makedev(1, 3)) {
        return Error(Code::FailedPrecondition, "'/dev/null' is not the null device");
    }
    TRY(set_blocking(null.ref()));
    return null;
}

Result<void> place_stdio(Stdio stdio, const Fd& spare_null, uid_t owner) {
    for (Fd* end : {&stdio.in, &stdio.out, &stdio.err}) {
        if (!*end) {
            *end = TRY(null_or_spare(spare_null));
        }
        TRY(give_to(end->ref(), owner));
        // Off the numbers that are being filled.
        Fd moved(::fcntl(end->ref().number(), F_DUPFD_CLOEXEC, kStandard));
        if (!moved) {
            return Error::from_errno(errno, "duplicate a standard stream");
        }
        *end = std::move(moved);
    }
    int number = 0;
    for (const Fd* end : {&stdio.in, &stdio.out, &stdio.err}) {
        if (::dup2(end->ref().number(), number) == -1) {
            return Error::from_errno(errno, "standard stream " + std::to_string(number));
        }
        ++number;
    }
    return {};
}

}  // namespace pepita::runtime::container
