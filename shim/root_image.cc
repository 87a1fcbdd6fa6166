#include "shim/root_image.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
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

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {
namespace {

constexpr int kImageNumber = 3;

Result<Fd> unnamed_file(const std::string& directory) {
    Fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!fd) {
        return Error::from_errno(errno, "make a file in '" + directory + "'");
    }
    return fd;
}

// mkfs.erofs reports a full disk in many ways; the file system says it in one.
bool is_full(FdRef file) {
    struct statvfs room{};
    return ::fstatvfs(file.number(), &room) == 0 && room.f_bavail * room.f_frsize < 64UL * 1024;
}

}  // namespace

RootImage::RootImage(Fd image, Fd messages, Child child, OnPacked on_packed)
    : image_(std::move(image)),
      messages_(std::move(messages)),
      child_(std::move(child)),
      on_packed_(std::move(on_packed)) {}

Result<std::unique_ptr<RootImage>> RootImage::pack(EventLoop& loop, const std::string& directory,
                                                   const std::string& scratch, OnPacked on_packed) {
    Fd image = TRY(unnamed_file(scratch));
    Fd messages(::memfd_create("mkfs.erofs", MFD_CLOEXEC));
    if (!messages) {
        return Error::from_errno(errno, "memfd_create");
    }
    SpawnOptions options;
    options.path = "/usr/bin/mkfs.erofs";
    options.arguments = {"mkfs.erofs", "/proc/self/fd/" + std::to_string(kImageNumber), directory};
    options.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C"};
    options.fds = {{.fd = messages.ref(), .number = 1},
                   {.fd = messages.ref(), .number = 2},
                   {.fd = image.ref(), .number = kImageNumber}};
    Child child = TRY(spawn(std::move(options)));
    std::unique_ptr<RootImage> packing(new RootImage(std::move(image), std::move(messages),
                                                     std::move(child), std::move(on_packed)));
    RootImage* self = packing.get();
    packing->watch_ =
        TRY(loop.watch(self->child_.pidfd(), EPOLLIN, [self](std::uint32_t) { self->finish(); }));
    return packing;
}

std::string RootImage::last_words() const {
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

void RootImage::finish() {
    watch_.cancel();
    const ChildExit exit = child_.reap();
    // The callback may give this object up.
    OnPacked done = std::move(on_packed_);
    if (exit.by_signal || exit.value != 0) {
        if (is_full(image_.ref())) {
            return done(Error::from_errno(ENOSPC, "mkfs.erofs"));
        }
        return done(Error(Code::Internal, "mkfs.erofs: " + to_string(exit) + ": " + last_words()));
    }
    done(std::move(image_));
}

}  // namespace pepita::shim
