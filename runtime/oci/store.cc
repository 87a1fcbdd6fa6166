#include "runtime/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/rpc/json.h"
#include "runtime/state.h"

namespace pepita::runtime::oci {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr int kDepthMax = 16;

struct CloseDirectory {
    void operator()(DIR* directory) const { (void)::closedir(directory); }
};

/// The names in a directory, without "." and "..".
Result<std::vector<std::string>> names_in(FdRef directory) {
    // Opened anew: the stream takes its descriptor, and reads from where that stands.
    Fd again(::openat(directory.number(), ".", kDirectory));
    if (!again) {
        return Error::from_errno(errno, "open directory");
    }
    const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(again.ref().number()));
    if (stream == nullptr) {
        return Error::from_errno(errno, "read directory");
    }
    (void)again.release();  // the stream's now
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            names.emplace_back(name);
        }
    }
    if (errno != 0) {
        return Error::from_errno(errno, "read directory");
    }
    return names;
}

Result<dev_t> device_of(FdRef file) {
    struct stat status{};
    if (::fstat(file.number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    return status.st_dev;
}

/// Empties `directory`, but not what is mounted in it.
// NOLINTNEXTLINE(misc-no-recursion): kDepthMax bounds it.
Result<void> remove_content(FdRef directory, dev_t device, int depth) {
    for (const std::string& name : TRY(names_in(directory))) {
        if (::unlinkat(directory.number(), name.c_str(), 0) == 0 || errno == ENOENT) {
            continue;
        }
        if (errno != EISDIR && errno != EPERM) {  // Linux; POSIX
            return Error::from_errno(errno, "remove " + in_quotes(name));
        }
        {
            const Fd child(::openat(directory.number(), name.c_str(), kDirectory));
            if (!child) {
                return Error::from_errno(errno, "open " + in_quotes(name));
            }
            if (depth == kDepthMax || TRY(device_of(child.ref())) != device) {
                return Error(Code::FailedPrecondition,
                             in_quotes(name) + " is mounted or nested too deep to be removed");
            }
            TRY(remove_content(child.ref(), device, depth + 1));
        }
        if (::unlinkat(directory.number(), name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
            return Error::from_errno(errno, "remove " + in_quotes(name));
        }
    }
    return {};
}

}  // namespace

Result<ContainerStore> ContainerStore::open(std::string_view root) {
    // The root itself may be a link: the operator names it.
    Result<Fd> directory = open_file(std::string(root).c_str(), O_RDONLY | O_DIRECTORY);
    if (directory) {
        return ContainerStore(*std::move(directory));
    }
    if (directory.error().sys_errno() == ENOENT) {
        return ContainerStore(std::nullopt);
    }
    return std::move(directory).error();
}

Result<std::vector<std::string>> ContainerStore::ids() const {
    std::vector<std::string> ids;
    if (!root_) {
        return ids;
    }
    for (std::string& name : TRY(names_in(root_->ref()))) {
        struct stat status{};
        const int looked =
            ::fstatat(root_->ref().number(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW);
        if (looked == 0 && S_ISDIR(status.st_mode) && check_container_id(name)) {
            ids.push_back(std::move(name));
        }
    }
    std::ranges::sort(ids);
    return ids;
}

Result<Fd> ContainerStore::open_container(std::string_view id) const {
    TRY(check_container_id(id));
    const Error missing(Code::NotFound, "container " + in_quotes(id) + " does not exist");
    if (!root_) {
        return Error(missing.code(), missing.message());
    }
    Fd directory(::openat(root_->ref().number(), std::string(id).c_str(), kDirectory));
    if (directory) {
        return directory;
    }
    if (errno == ENOENT) {
        return Error(missing.code(), missing.message());
    }
    return Error::from_errno(errno, "open container " + in_quotes(id));
}

Result<std::optional<std::string>> ContainerStore::pod_of_network(const std::string& path) const {
    struct stat wanted{};
    if (::stat(path.c_str(), &wanted) != 0) {
        return std::optional<std::string>();  // for its user to report
    }
    for (const std::string& id : TRY(ids())) {
        const auto directory = open_container(id);
        const auto state = directory ? read_state(directory->ref()) : Error(Code::NotFound, id);
        if (!state || state->pid == 0 || state->pod.empty() || !is_alive(state->shim)) {
            continue;
        }
        struct stat has{};
        const std::string network = "/proc/" + std::to_string(state->pid) + "/ns/net";
        if (::stat(network.c_str(), &has) == 0 && has.st_dev == wanted.st_dev &&
            has.st_ino == wanted.st_ino) {
            return std::optional(state->pod);
        }
    }
    return std::optional<std::string>();
}

Result<void> ContainerStore::remove(std::string_view id) const {
    TRY(check_container_id(id));
    const std::string name(id);
    if (!root_) {
        return {};
    }
    const Fd directory(::openat(root_->ref().number(), name.c_str(), kDirectory));
    if (!directory) {
        if (errno == ENOENT) {
            return {};
        }
        return Error::from_errno(errno, "open container " + in_quotes(id));
    }
    TRY(remove_content(directory.ref(), TRY(device_of(directory.ref())), 0), "remove container ",
        in_quotes(id));
    if (::unlinkat(root_->ref().number(), name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
        return Error::from_errno(errno, "remove container " + in_quotes(id));
    }
    return {};
}

Result<void> ContainerStore::remove_pod(std::string_view pod) const {
    for (const std::string& id : TRY(ids())) {
        const auto directory = open_container(id);
        const auto state = directory ? read_state(directory->ref()) : Error(Code::NotFound, id);
        if (!directory || (id != pod && (!state || state->pod != pod))) {
            continue;
        }
        if (::flock(directory->ref().number(), LOCK_EX | LOCK_NB) != 0) {
            return Error(Code::Unavailable, "a shim still has " + in_quotes(id));
        }
        TRY(remove(id));
    }
    return {};
}

Result<Fd> connect_shim(FdRef directory) { return connect_unix_at(directory, kShimSocket); }

bool has_no_shim(const Error& error) {
    return error.sys_errno() == ENOENT || error.sys_errno() == ECONNREFUSED;
}

}  // namespace pepita::runtime::oci
