#include "runtime/container/copy_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>        // PATH_MAX
#include <linux/limits.h>  // XATTR_SIZE_MAX
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/outcome.h"

namespace pepita::runtime::container {
namespace {

constexpr int kOpen = O_NOFOLLOW | O_CLOEXEC;
constexpr int kDirectory = kOpen | O_RDONLY | O_DIRECTORY;
constexpr std::size_t kPieceMax = std::size_t{1} << 24U;

Result<Fd> open_at(FdRef directory, const std::string& name, int flags) {
    Fd fd(::openat(directory.number(), name.c_str(), flags));
    TRY(outcome(fd ? 0 : -1, "open"));
    return fd;
}

Result<std::vector<std::string>> names_in(FdRef directory) {
    // A descriptor of its own, because closedir(3) closes what it was given.
    Fd own = TRY(open_at(directory, ".", kDirectory));
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(own.ref().number()), ::closedir);
    TRY(outcome(entries ? 0 : -1, "list"));
    (void)own.release();
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") {
            names.emplace_back(name);
        }
    }
    return names;
}

/// Those of user, capability and ACL; a file system that has none is as one without attributes.
Result<void> copy_attributes(FdRef from, FdRef to) {
    const ssize_t size = ::flistxattr(from.number(), nullptr, 0);
    if (size <= 0) {
        return {};
    }
    std::string names(static_cast<std::size_t>(size), '\0');
    const ssize_t listed = ::flistxattr(from.number(), names.data(), names.size());
    TRY(outcome(listed, "list its attributes"));
    names.resize(static_cast<std::size_t>(listed));
    for (std::size_t at = 0; at < names.size();) {
        const std::string name = names.c_str() + at;
        at += name.size() + 1;
        std::string value(XATTR_SIZE_MAX, '\0');
        const ssize_t got = ::fgetxattr(from.number(), name.c_str(), value.data(), value.size());
        TRY(outcome(got, "read its attribute '" + name + "'"));
        if (::fsetxattr(to.number(), name.c_str(), value.data(), static_cast<std::size_t>(got),
                        0) != 0 &&
            errno != EOPNOTSUPP) {
            return Error::from_errno(errno, "set its attribute '" + name + "'");
        }
    }
    return {};
}

Result<void> copy_about(FdRef to, const struct stat& about) {
    TRY(outcome(::fchown(to.number(), about.st_uid, about.st_gid), "give it to its owner"));
    TRY(outcome(::fchmod(to.number(), about.st_mode & 07777U), "set its mode"));
    return {};
}

Result<void> copy_times(FdRef to, const struct stat& about) {
    const std::array times{about.st_atim, about.st_mtim};
    return outcome(::futimens(to.number(), times.data()), "set its times");
}

Result<void> copy_file(FdRef from, FdRef to, const std::string& name, const struct stat& about) {
    const Fd source = TRY(open_at(from, name, kOpen | O_RDONLY));
    const Fd copy(
        ::openat(to.number(), name.c_str(), kOpen | O_WRONLY | O_CREAT | O_EXCL, mode_t{0600}));
    TRY(outcome(copy ? 0 : -1, "make"));
    for (;;) {
        const ssize_t sent =
            ::sendfile(copy.ref().number(), source.ref().number(), nullptr, kPieceMax);
        TRY(outcome(sent, "write"));
        if (sent == 0) {
            break;
        }
    }
    // Owner first: it takes away the bits and capabilities that set ids.
    TRY(copy_about(copy.ref(), about));
    TRY(copy_attributes(source.ref(), copy.ref()));
    return copy_times(copy.ref(), about);
}

Result<void> copy_link(FdRef from, FdRef to, const std::string& name) {
    std::string text(PATH_MAX, '\0');
    const ssize_t size = ::readlinkat(from.number(), name.c_str(), text.data(), text.size());
    TRY(outcome(size, "read"));
    text.resize(static_cast<std::size_t>(size));
    return outcome(::symlinkat(text.c_str(), to.number(), name.c_str()), "make");
}

Result<void> copy_one(FdRef from, FdRef to, const std::string& name, int depth);

// NOLINTNEXTLINE(misc-no-recursion): kCopyDepthMax bounds it.
Result<void> copy_entries(FdRef from, FdRef to, int depth) {
    if (depth == kCopyDepthMax) {
        return Error(Code::FailedPrecondition, "nests too deep to be copied");
    }
    for (const std::string& name : TRY(names_in(from))) {
        TRY(copy_one(from, to, name, depth), "'", name, "'");
    }
    return {};
}

// NOLINTNEXTLINE(misc-no-recursion): see copy_entries().
Result<void> copy_directory(FdRef from, FdRef to, const std::string& name, const struct stat& about,
                            int depth) {
    TRY(outcome(::mkdirat(to.number(), name.c_str(), 0700), "make"));
    const Fd copy = TRY(open_at(to, name, kDirectory));
    const Fd source = TRY(open_at(from, name, kDirectory));
    TRY(copy_entries(source.ref(), copy.ref(), depth + 1));
    TRY(copy_about(copy.ref(), about));
    TRY(copy_attributes(source.ref(), copy.ref()));
    return copy_times(copy.ref(), about);
}

// NOLINTNEXTLINE(misc-no-recursion): see copy_entries().
Result<void> copy_one(FdRef from, FdRef to, const std::string& name, int depth) {
    struct stat about{};
    TRY(outcome(::fstatat(from.number(), name.c_str(), &about, AT_SYMLINK_NOFOLLOW), "stat"));
    if (S_ISDIR(about.st_mode)) {
        return copy_directory(from, to, name, about, depth);
    }
    if (S_ISREG(about.st_mode)) {
        return copy_file(from, to, name, about);
    }
    if (S_ISSOCK(about.st_mode)) {
        return {};
    }
    if (S_ISLNK(about.st_mode)) {
        TRY(copy_link(from, to, name));
    } else {
        TRY(outcome(::mknodat(to.number(), name.c_str(), about.st_mode & ~07777U, about.st_rdev),
                    "make"));
        TRY(outcome(::fchmodat(to.number(), name.c_str(), about.st_mode & 07777U, 0),
                    "set its mode"));
    }
    TRY(outcome(
        ::fchownat(to.number(), name.c_str(), about.st_uid, about.st_gid, AT_SYMLINK_NOFOLLOW),
        "give it to its owner"));
    const std::array times{about.st_atim, about.st_mtim};
    return outcome(::utimensat(to.number(), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW),
                   "set its times");
}

}  // namespace

Result<void> copy_tree(FdRef from, FdRef to) { return copy_entries(from, to, 0); }

}  // namespace pepita::runtime::container
