#include "shim/pod_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "shim/jail.h"

namespace pepita::shim {
namespace {

constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

Result<void> make_parents(const std::string& path) {
    for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
        if (::mkdir(path.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) {
            return Error::from_errno(errno, "make directory '" + path.substr(0, slash) + "'");
        }
    }
    if (::mkdir(path.c_str(), 0711) != 0 && errno != EEXIST) {
        return Error::from_errno(errno, "make directory '" + path + "'");
    }
    return {};
}

Result<Fd> open_directory(FdRef parent, const char* name) {
    Fd fd(::openat(parent.number(), name, kOpenDirectory));
    if (!fd) {
        return Error::from_errno(errno, std::string("open directory '") + name + "'");
    }
    return fd;
}

void unlink_all(FdRef directory) {
    // A descriptor of its own, because closedir(3) closes what it was given.
    const int copy = ::openat(directory.number(), ".", kOpenDirectory);
    DIR* entries = copy == -1 ? nullptr : ::fdopendir(copy);
    if (entries == nullptr) {
        return;
    }
    while (const dirent* entry = ::readdir(entries)) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            (void)::unlinkat(directory.number(), entry->d_name, 0);
        }
    }
    (void)::closedir(entries);
}

}  // namespace

Result<std::unique_ptr<PodDirectory>> PodDirectory::create(const std::string& root,
                                                           const std::string& id, JailUser user) {
    TRY(make_parents(root));
    Fd parent = TRY(open_file(root.c_str(), O_RDONLY | O_DIRECTORY));
    if (::mkdirat(parent.ref().number(), id.c_str(), 0711) != 0) {
        if (errno == EEXIST) {
            return Error(Code::AlreadyExists, "container '" + id + "' already exists");
        }
        return Error::from_errno(errno, "make directory '" + root + "/" + id + "'");
    }
    std::unique_ptr<PodDirectory> made(new PodDirectory(std::move(parent), id, root + "/" + id));
    made->fd_ = TRY(open_directory(made->parent_.ref(), id.c_str()));
    if (::mkdirat(made->fd_.ref().number(), "machine", 0700) != 0) {
        return Error::from_errno(errno, "make directory 'machine'");
    }
    made->machine_fd_ = TRY(open_directory(made->fd_.ref(), "machine"));
    if (::fchown(made->machine_fd_.ref().number(), user.id, user.id) != 0) {
        return Error::from_errno(errno, "give 'machine' to its user");
    }
    return made;
}

PodDirectory::~PodDirectory() {
    if (machine_fd_) {
        unlink_all(machine_fd_.ref());
        (void)::unlinkat(fd_.ref().number(), "machine", AT_REMOVEDIR);
    }
    if (fd_) {
        unlink_all(fd_.ref());
    }
    (void)::unlinkat(parent_.ref().number(), id_.c_str(), AT_REMOVEDIR);
}

Result<Fd> PodDirectory::listen_in_machine(const std::string& name, JailUser user) const {
    Fd listener = TRY(listen_unix_at(machine_fd_.ref(), name));
    if (::fchownat(machine_fd_.ref().number(), name.c_str(), user.id, user.id,
                   AT_SYMLINK_NOFOLLOW) != 0) {
        return Error::from_errno(errno, "give '" + name + "' to its user");
    }
    return listener;
}

}  // namespace pepita::shim
