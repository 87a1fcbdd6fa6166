#include "kernel-abi/sys/file.h"

#include <fcntl.h>
#include <stdio.h>  // renameat
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

constexpr std::size_t kKernelFileMax = std::size_t{1} << 20U;

std::string quoted(std::string_view doing, std::string_view name) {
    return std::string(doing) + " '" + std::string(name) + "'";
}

}  // namespace

Result<std::string> read_all(FdRef file, std::size_t size_max, std::string_view name) {
    std::string text;
    std::array<char, 4096> part{};
    while (true) {
        const ssize_t got = ::read(file.number(), part.data(), part.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return Error::from_errno(errno, quoted("read", name));
        }
        if (got == 0) {
            return text;
        }
        text.append(part.data(), static_cast<std::size_t>(got));
        if (text.size() > size_max) {
            return Error(Code::OutOfRange,
                         quoted("read", name) + ": larger than " + std::to_string(size_max) + " B");
        }
    }
}

Result<void> write_all(FdRef file, std::span<const std::byte> bytes, std::string_view name) {
    while (!bytes.empty()) {
        const ssize_t put = ::write(file.number(), bytes.data(), bytes.size());
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return Error::from_errno(errno, quoted("write", name));
        }
        bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    return {};
}

Result<void> write_all(FdRef file, std::string_view text, std::string_view name) {
    return write_all(file, std::as_bytes(std::span(text)), name);
}

Result<Bytes> file_size(FdRef file) {
    struct stat status = {};
    if (::fstat(file.number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    if (!S_ISREG(status.st_mode)) {
        return Error(Code::InvalidArgument, "not a regular file");
    }
    return Bytes(static_cast<std::uint64_t>(status.st_size));
}

Result<void> read_exactly(FdRef file, std::span<std::byte> into, std::uint64_t offset) {
    while (!into.empty()) {
        const ssize_t got =
            ::pread(file.number(), into.data(), into.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return Error::from_errno(errno, "read");
        }
        if (got == 0) {
            return Error(Code::OutOfRange, "the file ends too early");
        }
        into = into.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
    return {};
}

Result<std::string> read_file(const std::string& path) {
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
    return read_all(file.ref(), kKernelFileMax, path);
}

Result<void> write_file(const std::string& path, std::string_view text) {
    const Fd file = TRY(open_file(path.c_str(), O_WRONLY));
    return write_all(file.ref(), text, path);
}

Result<Fd> create_temporary(FdRef directory, const std::string& name, mode_t mode) {
    constexpr int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    Fd file(::openat(directory.number(), name.c_str(), flags, mode));
    if (!file && errno == EEXIST && ::unlinkat(directory.number(), name.c_str(), 0) == 0) {
        file = Fd(::openat(directory.number(), name.c_str(), flags, mode));
    }
    if (!file) {
        return Error::from_errno(errno, quoted("create", name));
    }
    return file;
}

Result<Fd> open_to_append(const std::string& path, mode_t mode) {
    Fd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_CLOEXEC, mode));
    if (!file) {
        return Error::from_errno(errno, quoted("open", path));
    }
    return file;
}

Result<void> replace_file(FdRef directory, const std::string& name, std::string_view text,
                          mode_t mode) {
    const std::string temporary = name + ".new";
    Result<void> done;
    {
        const Fd file = TRY(create_temporary(directory, temporary, mode));
        done = write_all(file.ref(), text, temporary);
    }
    if (done &&
        ::renameat(directory.number(), temporary.c_str(), directory.number(), name.c_str()) != 0) {
        done = Error::from_errno(errno, quoted("create", name));
    }
    if (!done) {
        (void)::unlinkat(directory.number(), temporary.c_str(), 0);
    }
    return done;
}

Result<void> make_directory(const std::string& path, mode_t mode) {
    if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
        return Error::from_errno(errno, quoted("make directory", path));
    }
    return {};
}

}  // namespace pepita
