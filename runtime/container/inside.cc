#include "runtime/container/inside.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {
namespace {

Result<Fd> open_below(FdRef root, const std::string& path, int flags) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(static_cast<unsigned>(flags) | O_CLOEXEC);
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    Fd fd(static_cast<int>(::syscall(SYS_openat2, root.number(), path.c_str(), &how, sizeof(how))));
    if (!fd) {
        return Error::from_errno(errno, "open '" + path + "'");
    }
    return fd;
}

Result<Fd> open_root() { return open_file("/", O_PATH | O_DIRECTORY); }

}  // namespace

Result<Fd> open_inside(const std::string& path, int flags) {
    const Fd root = TRY(open_root());
    return open_below(root.ref(), path, flags);
}

Result<Fd> open_or_make_directory(const std::string& path) {
    const Fd root = TRY(open_root());
    Fd parent = TRY(open_root());
    std::size_t end = 0;
    while (end < path.size()) {
        const std::size_t start = path.find_first_not_of('/', end);
        if (start == std::string::npos) {
            break;
        }
        end = std::min(path.find('/', start), path.size());
        const std::string so_far = path.substr(0, end);
        Result<Fd> here = open_below(root.ref(), so_far, O_PATH);
        if (!here && here.error().sys_errno() == ENOENT) {
            const std::string name = path.substr(start, end - start);
            if (::mkdirat(parent.ref().number(), name.c_str(), 0755) != 0) {
                return Error::from_errno(errno, "make directory '" + so_far + "'");
            }
            here = open_below(root.ref(), so_far, O_PATH);
        }
        parent = TRY(std::move(here));
    }
    return parent;
}

Result<Fd> open_or_make_file(const std::string& path) {
    Result<Fd> found = open_inside(path, O_PATH);
    if (found || found.error().sys_errno() != ENOENT) {
        return found;
    }
    const std::size_t slash = path.find_last_not_of('/') == std::string::npos
                                  ? std::string::npos
                                  : path.rfind('/', path.find_last_not_of('/'));
    if (slash == std::string::npos) {
        return found;
    }
    const Fd parent = TRY(open_or_make_directory(path.substr(0, slash)));
    const std::string name = path.substr(slash + 1);
    const Fd made(::openat(parent.ref().number(), name.c_str(),
                           O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
    if (!made) {
        return Error::from_errno(errno, "make file '" + path + "'");
    }
    return open_inside(path, O_PATH);
}

Result<void> enter_directory(FdRef directory, const std::string& path) {
    if (::fchdir(directory.number()) != 0) {
        return Error::from_errno(errno, "enter '" + path + "'");
    }
    return {};
}

}  // namespace pepita::runtime::container
