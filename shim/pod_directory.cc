#include "shim/pod_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>  // renameat2
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/state.h"
#include "shim/jail.h"

namespace pepita::shim {
namespace {

// The name of a directory that is being filled. No container can have it: check_container_id().
constexpr const char* kNewPrefix = "new~";
// Longer than a shim needs from mkdir(2) to its lock.
constexpr std::time_t kFillingMaxSeconds = 60;

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

void for_each_name(FdRef directory, std::move_only_function<void(const char*)> visit) {
    // A descriptor of its own, because closedir(3) closes what it was given.
    const int copy = ::openat(directory.number(), ".", kOpenDirectory);
    DIR* entries = copy == -1 ? nullptr : ::fdopendir(copy);
    if (entries == nullptr) {
        return;
    }
    while (const dirent* entry = ::readdir(entries)) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            visit(entry->d_name);
        }
    }
    (void)::closedir(entries);
}

void unlink_all(FdRef directory) {
    for_each_name(directory,
                  [directory](const char* name) { (void)::unlinkat(directory.number(), name, 0); });
}

void remove_directory(FdRef parent, const std::string& name, FdRef directory) {
    if (const Result<Fd> machine = open_directory(directory, "machine")) {
        unlink_all(machine->ref());
        (void)::unlinkat(directory.number(), "machine", AT_REMOVEDIR);
    }
    unlink_all(directory);
    (void)::unlinkat(parent.number(), name.c_str(), AT_REMOVEDIR);
}

bool is_same_file(FdRef parent, const std::string& name, FdRef file) {
    struct stat by_name{};
    struct stat by_fd{};
    return ::fstatat(parent.number(), name.c_str(), &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
           ::fstat(file.number(), &by_fd) == 0 && by_name.st_dev == by_fd.st_dev &&
           by_name.st_ino == by_fd.st_ino;
}

bool is_old(FdRef parent, const char* name) {
    struct stat about{};
    return ::fstatat(parent.number(), name, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
           about.st_mtime + kFillingMaxSeconds < ::time(nullptr);
}

bool lock(FdRef directory) { return ::flock(directory.number(), LOCK_EX | LOCK_NB) == 0; }

/// Removes `name` if no shim has it and no container was created in it. What a client may still
/// want to see as stopped stays.
void sweep(FdRef parent, const std::string& name) {
    const Result<Fd> directory = open_directory(parent, name.c_str());
    if (!directory || !lock(directory->ref()) || !is_same_file(parent, name, directory->ref())) {
        return;
    }
    const auto state = runtime::read_state(directory->ref());
    if (!state || state->status == runtime::ContainerStatus::Creating) {
        remove_directory(parent, name, directory->ref());
    }
}

}  // namespace

Result<std::unique_ptr<PodDirectory>> PodDirectory::create(const Options& options) {
    TRY(make_parents(options.root));
    Fd parent = TRY(open_file(options.root.c_str(), O_RDONLY | O_DIRECTORY));
    for_each_name(parent.ref(), [&parent](const char* name) {
        if (std::string_view(name).starts_with(kNewPrefix) && is_old(parent.ref(), name)) {
            sweep(parent.ref(), name);
        }
    });
    const std::string filling = kNewPrefix + std::to_string(::getpid()) + "~" + options.name;
    if (::mkdirat(parent.ref().number(), filling.c_str(), 0711) != 0) {
        return Error::from_errno(errno, "make directory '" + options.root + "/" + filling + "'");
    }
    std::unique_ptr<PodDirectory> made(
        new PodDirectory(std::move(parent), filling, options.root + "/" + options.name));
    TRY(made->fill(options));
    TRY(made->appear(options.name));
    return made;
}

Result<void> PodDirectory::fill(const Options& options) {
    fd_ = TRY(open_directory(parent_.ref(), name_.c_str()));
    if (!lock(fd_.ref())) {
        return Error::from_errno(errno, "lock '" + name_ + "'");
    }
    if (options.state) {
        TRY(runtime::write_state(fd_.ref(), *options.state));
    }
    listener_ = TRY(listen_unix_at(fd_.ref(), runtime::kShimSocket));
    if (!options.machine) {
        return {};
    }
    machine_user_ = *options.machine;
    if (::mkdirat(fd_.ref().number(), "machine", 0700) != 0) {
        return Error::from_errno(errno, "make directory 'machine'");
    }
    machine_fd_ = TRY(open_directory(fd_.ref(), "machine"));
    if (::fchown(machine_fd_.ref().number(), machine_user_.id, machine_user_.id) != 0) {
        return Error::from_errno(errno, "give 'machine' to its user");
    }
    return {};
}

Result<void> PodDirectory::appear(const std::string& name) {
    for (int attempt = 0; attempt < 2; ++attempt) {
        if (::renameat2(parent_.ref().number(), name_.c_str(), parent_.ref().number(), name.c_str(),
                        RENAME_NOREPLACE) == 0) {
            name_ = name;
            return {};
        }
        if (errno != EEXIST) {
            return Error::from_errno(errno, "make directory '" + path_ + "'");
        }
        sweep(parent_.ref(), name);
    }
    return Error(Code::AlreadyExists, "container '" + name + "' already exists");
}

PodDirectory::~PodDirectory() {
    if (fd_) {
        remove_directory(parent_.ref(), name_, fd_.ref());
    } else {
        (void)::unlinkat(parent_.ref().number(), name_.c_str(), AT_REMOVEDIR);
    }
}

void PodDirectory::remove_state() const {
    (void)::unlinkat(fd_.ref().number(), runtime::kStateFile, 0);
}

Result<Fd> PodDirectory::listen_in_machine(const std::string& name) const {
    Fd listener = TRY(listen_unix_at(machine_fd_.ref(), name));
    if (::fchownat(machine_fd_.ref().number(), name.c_str(), machine_user_.id, machine_user_.id,
                   AT_SYMLINK_NOFOLLOW) != 0) {
        return Error::from_errno(errno, "give '" + name + "' to its user");
    }
    return listener;
}

}  // namespace pepita::shim
