#include "shim/disk_image.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/host_programs.h"

namespace pepita::shim {
namespace {

constexpr int kImageNumber = 3;

// No journal, because nobody mounts the disk a second time; no room is kept back for root, because
// root is who fills it. The file is all zeros, so nothing has to be cleared, neither now nor by the
// guest's kernel (lazy_itable_init, assume_storage_prezeroed). All is said here, and the host's
// mke2fs.conf left out: it has smaller blocks for smaller disks.
struct MkfsOption {
    const char* option;
    const char* value;
};
constexpr Bytes kExt4Block = 4_KiB;
constexpr const char* kExt4Features =
    "none,64bit,dir_index,dir_nlink,extent,extra_isize,filetype,flex_bg,huge_file,large_file,"
    "sparse_super,uninit_bg";
constexpr std::array kExt4{
    MkfsOption{.option = "-b", .value = "4096"},
    MkfsOption{.option = "-I", .value = "256"},
    MkfsOption{.option = "-i", .value = "16384"},
    MkfsOption{.option = "-m", .value = "0"},
    MkfsOption{.option = "-O", .value = kExt4Features},
    MkfsOption{.option = "-E", .value = "nodiscard,lazy_itable_init=1,assume_storage_prezeroed=1"},
};

std::string image_path() { return "/proc/self/fd/" + std::to_string(kImageNumber); }

Result<Fd> unnamed_file(const std::string& directory) {
    Fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!fd) {
        return Error::from_errno(errno, "make a file in '" + directory + "'");
    }
    return fd;
}

// Shares the blocks where the file system can.
Result<void> copy(FdRef from, FdRef to) {
    off_t at = 0;
    const auto end = static_cast<off_t>(TRY(file_size(from)).value());
    while (at < end) {
        const auto left = static_cast<std::size_t>(end - at);
        ssize_t moved = ::copy_file_range(from.number(), &at, to.number(), nullptr, left, 0);
        if (moved < 0 && errno == EXDEV) {
            moved = ::sendfile(to.number(), from.number(), &at, left);
        }
        if (moved == 0 || (moved < 0 && errno != EINTR)) {
            return Error::from_errno(moved == 0 ? EIO : errno, "copy a part of the image");
        }
    }
    return {};
}

// mkfs programs report a full disk in many ways; the file system says it in one.
bool is_full(FdRef file) {
    struct statvfs room{};
    return ::fstatvfs(file.number(), &room) == 0 && room.f_bavail * room.f_frsize < 64UL * 1024;
}

}  // namespace

DiskImage::DiskImage(std::string name, Fd image, Fd messages, Child child, OnMade on_made)
    : name_(std::move(name)),
      image_(std::move(image)),
      messages_(std::move(messages)),
      child_(std::move(child)),
      on_made_(std::move(on_made)) {}

Result<std::unique_ptr<DiskImage>> DiskImage::pack(EventLoop& loop, const std::string& directory,
                                                   const std::string& place, OnMade on_made) {
    SpawnOptions options;
    options.path = runtime::kMkfsErofs;
    options.arguments = {"mkfs.erofs", image_path(), directory};
    return start(loop, std::move(options), TRY(unnamed_file(place)), std::move(on_made));
}

// TODO(perf): where the file system shares no blocks, each pod has a copy of its image.
Result<std::unique_ptr<DiskImage>> DiskImage::concatenate(EventLoop& loop,
                                                          const std::vector<Fd>& parts,
                                                          const std::string& place,
                                                          OnMade on_made) {
    SpawnOptions options;
    options.arguments = {"copy"};
    int number = kImageNumber;
    for (const Fd& part : parts) {
        options.fds.push_back({.fd = part.ref(), .number = ++number});
    }
    options.instead_of_exec = [last = number] {
        for (int part = kImageNumber + 1; part <= last; ++part) {
            if (const Result<void> copied = copy(FdRef(part), FdRef(kImageNumber)); !copied) {
                (void)write_all(FdRef(STDERR_FILENO), copied.error().message(), "messages");
                ::_exit(1);
            }
        }
    };
    return start(loop, std::move(options), TRY(unnamed_file(place)), std::move(on_made));
}

Result<std::unique_ptr<DiskImage>> DiskImage::format(EventLoop& loop, Bytes size,
                                                     const std::string& place, OnMade on_made) {
    Fd image = TRY(unnamed_file(place));
    if (::ftruncate(image.ref().number(), static_cast<off_t>(size.value())) != 0) {
        return Error::from_errno(errno, "make a disk of " + std::to_string(size.value() >> 20U) +
                                            " MiB in '" + place + "'");
    }
    SpawnOptions options;
    options.path = runtime::kMkfsExt4;
    options.arguments = {"mkfs.ext4", "-q", "-F"};
    for (const auto& [option, value] : kExt4) {
        options.arguments.insert(options.arguments.end(), {option, value});
    }
    options.arguments.insert(options.arguments.end(),
                             {image_path(), std::to_string(size.value() / kExt4Block.value())});
    return start(loop, std::move(options), std::move(image), std::move(on_made));
}

Result<std::unique_ptr<DiskImage>> DiskImage::start(EventLoop& loop, SpawnOptions options, Fd image,
                                                    OnMade on_made) {
    std::string name = options.arguments.front();
    Fd messages(::memfd_create(name.c_str(), MFD_CLOEXEC));
    if (!messages) {
        return Error::from_errno(errno, "memfd_create");
    }
    options.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C", "MKE2FS_CONFIG=/dev/null"};
    for (const int number : {STDOUT_FILENO, STDERR_FILENO}) {
        options.fds.push_back({.fd = messages.ref(), .number = number});
    }
    options.fds.push_back({.fd = image.ref(), .number = kImageNumber});
    Child child = TRY(spawn(std::move(options)));
    std::unique_ptr<DiskImage> making(new DiskImage(std::move(name), std::move(image),
                                                    std::move(messages), std::move(child),
                                                    std::move(on_made)));
    DiskImage* self = making.get();
    making->watch_ =
        TRY(loop.watch(self->child_.pidfd(), EPOLLIN, [self](std::uint32_t) { self->finish(); }));
    return making;
}

std::string DiskImage::last_words() const {
    std::array<char, 4096> text{};
    const off_t size = ::lseek(messages_.ref().number(), 0, SEEK_END);
    const off_t from = std::max<off_t>(0, size - static_cast<off_t>(text.size()));
    const ssize_t got = ::pread(messages_.ref().number(), text.data(), text.size(), from);
    std::string_view all(text.data(), static_cast<std::size_t>(std::max<ssize_t>(0, got)));
    while (all.ends_with('\n')) {
        all.remove_suffix(1);
    }
    return std::string(all.substr(all.rfind('\n') + 1));
}

void DiskImage::finish() {
    watch_.cancel();
    const ChildExit exit = child_.reap();
    // The callback may give this object up.
    OnMade done = std::move(on_made_);
    if (exit.by_signal || exit.value != 0) {
        if (is_full(image_.ref())) {
            return done(Error::from_errno(ENOSPC, name_));
        }
        // A program that was killed had no time to say why: its last line is some other.
        return done(Error(Code::Internal, name_ + ": " + to_string(exit) +
                                              (exit.by_signal ? "" : ": " + last_words())));
    }
    done(std::move(image_));
}

}  // namespace pepita::shim
