#include "storage/image/directories.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita::storage::image {

Result<void> lock(FdRef file, Lock kind) {
    while (::flock(file.number(), kind == Lock::Shared ? LOCK_SH : LOCK_EX) != 0) {
        if (errno != EINTR) {
            return Error::from_errno(errno, "flock");
        }
    }
    return {};
}

Result<bool> try_lock(FdRef file, Lock kind) {
    if (::flock(file.number(), (kind == Lock::Shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) {
        return true;
    }
    if (errno == EWOULDBLOCK) {
        return false;
    }
    return Error::from_errno(errno, "flock");
}

Result<void> sync_file(FdRef file, std::string_view name) {
    if (::fsync(file.number()) != 0) {
        return Error::from_errno(errno, "sync '" + std::string(name) + "'");
    }
    return {};
}

Result<void> sync_directory(const std::string& path) {
    const Fd directory = TRY(open_file(path.c_str(), O_RDONLY | O_DIRECTORY));
    return sync_file(directory.ref(), path);
}

Result<Fd> create_file(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) {
        return Error::from_errno(errno, "create '" + path + "'");
    }
    return file;
}

Result<void> replace_durably(const std::string& directory, const std::string& name,
                             std::string_view text) {
    const std::string path = directory + "/" + name;
    const std::string temporary = path + ".new";
    (void)::unlink(temporary.c_str());
    Result<void> done;
    {
        const Fd file = TRY(create_file(temporary));
        done = write_all(file.ref(), text, temporary);
        if (done) {
            done = sync_file(file.ref(), temporary);
        }
    }
    if (done && ::rename(temporary.c_str(), path.c_str()) != 0) {
        done = Error::from_errno(errno, "create '" + path + "'");
    }
    if (!done) {
        (void)::unlink(temporary.c_str());
        return done;
    }
    return sync_directory(directory);
}

Result<TemporaryDirectory> TemporaryDirectory::create(const std::string& parent) {
    std::string path = parent + "/XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
        return Error::from_errno(errno, "make a directory in '" + parent + "'");
    }
    TemporaryDirectory made(path, Fd());
    made.lock_ = TRY(open_file(path.c_str(), O_RDONLY | O_DIRECTORY));
    TRY(lock(made.lock_.ref(), Lock::Shared));
    return made;
}

TemporaryDirectory::~TemporaryDirectory() {
    if (!path_.empty()) {
        std::error_code ignored;  // the next sweep tries again
        (void)std::filesystem::remove_all(path_, ignored);
    }
}

Result<void> TemporaryDirectory::move_to(const std::string& parent, const std::string& name) {
    TRY(sync_file(lock_.ref(), path_));
    const std::string target = parent + "/" + name;
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0) {
        return Error::from_errno(errno, "create '" + target + "'");
    }
    path_.clear();
    return sync_directory(parent);
}

Result<void> remove_stale(const std::string& parent) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
        const Fd directory = TRY(open_file(entry.path().c_str(), O_RDONLY | O_NOFOLLOW));
        if (TRY(try_lock(directory.ref(), Lock::Exclusive))) {
            std::error_code ignored;  // what is left costs room, and is tried again
            (void)std::filesystem::remove_all(entry.path(), ignored);
        }
    }
    if (error) {
        return Error::from_errno(error.value(), "list '" + parent + "'");
    }
    return {};
}

}  // namespace pepita::storage::image
