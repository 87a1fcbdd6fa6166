#include "vmm/host/kernel_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "vmm/host/kernel_image.h"

namespace pepita::vmm {
namespace {

constexpr std::string_view kCacheName = "the kernel cache";
constexpr std::string_view kSuffix = ".vmlinux";
constexpr mode_t kWritableByOthers = S_IWGRP | S_IWOTH;

Result<struct stat> status_of(FdRef file) {
    struct stat status{};
    if (::fstat(file.number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    return status;
}

bool is_ours(const struct stat& status) {
    return status.st_uid == ::geteuid() && (status.st_mode & kWritableByOthers) == 0;
}

/// The name of what is unpacked from a file of this identity. A file that is replaced has another
/// inode, and one that is written in place another time of change.
std::string entry_name(const struct stat& image) {
    std::array<char, 128> name{};
    const int size = std::snprintf(
        name.data(), name.size(), "%lx-%lx-%lx-%lx.%lx-%lx.%lx", image.st_dev, image.st_ino,
        static_cast<unsigned long>(image.st_size), static_cast<unsigned long>(image.st_mtim.tv_sec),
        static_cast<unsigned long>(image.st_mtim.tv_nsec),
        static_cast<unsigned long>(image.st_ctim.tv_sec),
        static_cast<unsigned long>(image.st_ctim.tv_nsec));
    return std::string(name.data(), static_cast<std::size_t>(size)) + std::string(kSuffix);
}

Result<Fd> open_at(FdRef directory, const std::string& name, int flags) {
    Fd file(::openat(directory.number(), name.c_str(), flags | O_CLOEXEC, 0644));
    if (!file) {
        return Error::from_errno(errno, "open '" + name + "'");
    }
    return file;
}

Result<Fd> open_cache(const std::string& path) {
    TRY(make_directory(path, 0700));
    Fd directory = TRY(open_file(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (!is_ours(TRY(status_of(directory.ref())))) {
        return Error(Code::PermissionDenied, "kernel cache '" + path + "': others may write to it");
    }
    return directory;
}

/// The kept kernel of that name. Errors: openat(2)'s; DataLoss for what nobody here put there.
Result<Fd> open_entry(FdRef cache, const std::string& name) {
    Fd file = TRY(open_at(cache, name, O_RDONLY | O_NOFOLLOW));
    const struct stat status = TRY(status_of(file.ref()));
    if (!S_ISREG(status.st_mode) || status.st_size == 0 || !is_ours(status)) {
        return Error(Code::DataLoss, "kept kernel '" + name + "' is not ours");
    }
    return file;
}

Result<std::vector<std::byte>> read_image(FdRef file) {
    const Bytes size = TRY(file_size(file));
    if (size > kKernelFileMax) {
        return Error(Code::OutOfRange, "kernel of " + std::to_string(size.value()) +
                                           " B; the limit is " +
                                           std::to_string(kKernelFileMax.value()));
    }
    std::vector<std::byte> content(size.value());
    TRY(read_exactly(file, content, 0));
    return content;
}

/// Removes what was unpacked from images that were replaced since. Machines that run have it open.
void remove_others(FdRef cache, const std::string& kept) {
    Result<Fd> listing = open_at(cache, ".", O_RDONLY | O_DIRECTORY);
    if (!listing) {
        return;
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(listing->ref().number()),
                                                      ::closedir);
    if (!entries) {
        return;
    }
    (void)listing->release();  // closedir() closes it
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view name = entry->d_name;
        if (name != kept && name.contains(kSuffix)) {
            (void)::unlinkat(cache.number(), entry->d_name, 0);
        }
    }
}

/// Writes a file without a name, and gives it one when it is on the disk as a whole: a crash, or
/// somebody who does the same meanwhile, leaves nothing that is half written.
Result<Fd> store(FdRef cache, const std::string& name, std::span<const std::byte> kernel) {
    const Fd file = TRY(open_at(cache, ".", O_TMPFILE | O_RDWR));
    // A kernel is no secret, and QEMU, which has a user of its own, opens it again by its number.
    if (::fchmod(file.ref().number(), 0644) != 0) {
        return Error::from_errno(errno, "fchmod");
    }
    TRY(write_all(file.ref(), kernel, kCacheName));
    if (::fdatasync(file.ref().number()) != 0) {
        return Error::from_errno(errno, "fdatasync '" + std::string(kCacheName) + "'");
    }
    const std::string self = "/proc/self/fd/" + std::to_string(file.ref().number());
    if (::linkat(AT_FDCWD, self.c_str(), cache.number(), name.c_str(), AT_SYMLINK_FOLLOW) != 0 &&
        errno != EEXIST) {
        return Error::from_errno(errno, "link '" + name + "'");
    }
    remove_others(cache, name);
    return open_file(self.c_str(), O_RDONLY);
}

}  // namespace

Result<Fd> open_vmlinux(const std::string& path, const std::string& cache_directory) {
    // Without O_NONBLOCK a FIFO by that name would hold us for ever.
    Fd file = TRY(open_file(path.c_str(), O_RDONLY | O_NONBLOCK));
    std::array<std::byte, 4> start{};
    if (TRY(file_size(file.ref())).value() < start.size()) {
        return Error(Code::InvalidArgument, "not a kernel: shorter than 4 B");
    }
    TRY(read_exactly(file.ref(), start, 0));
    if (is_elf(start)) {
        return file;
    }
    const std::string name = entry_name(TRY(status_of(file.ref())));
    const Fd cache = TRY(open_cache(cache_directory));
    Result<Fd> found = open_entry(cache.ref(), name);
    if (found) {
        return found;
    }
    if (found.error().code() == Code::DataLoss) {
        (void)::unlinkat(cache.ref().number(), name.c_str(), 0);
    }
    const std::vector<std::byte> image = TRY(read_image(file.ref()));
    const Mapping kernel = TRY(unpack_kernel(image));
    if (entry_name(TRY(status_of(file.ref()))) != name) {
        return Error(Code::Aborted, "the kernel was written to while it was read");
    }
    return store(cache.ref(), name, kernel.bytes());
}

}  // namespace pepita::vmm
