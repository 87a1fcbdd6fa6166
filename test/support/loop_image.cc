#include "test/support/loop_image.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"

namespace pepita::test {
namespace {

// The image's file; its name is gone already.
Result<Fd> pack(const std::string& folder) {
    std::string path = "/tmp/pepita-image-XXXXXX";
    const Fd made(::mkstemp(path.data()));
    if (!made) {
        return Error::from_errno(errno, "mkstemp");
    }
    SpawnOptions options;
    options.path = "/usr/bin/mkfs.erofs";
    options.arguments = {"mkfs.erofs", path, folder};
    Result<Child> child = spawn(std::move(options));
    ChildExit ended{.by_signal = false, .value = 1};
    if (child) {
        ended = child->reap();
    }
    Result<Fd> image = open_file(path.c_str(), O_RDONLY);
    (void)::unlink(path.c_str());
    if (!child) {
        return std::move(child).error();
    }
    if (ended != ChildExit()) {
        return Error(Code::Internal, "mkfs.erofs: " + to_string(ended));
    }
    return image;
}

}  // namespace

Result<std::unique_ptr<LoopImage>> LoopImage::create(const std::string& folder) {
    const Fd image = TRY(pack(folder));
    const Fd control = TRY(open_file("/dev/loop-control", O_RDWR));
    loop_config config{};
    config.fd = static_cast<unsigned>(image.ref().number());
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    // Others may be faster to take the device that was free.
    for (int attempt = 0; attempt < 20; ++attempt) {
        const int number = ::ioctl(control.ref().number(), LOOP_CTL_GET_FREE);
        if (number < 0) {
            return Error::from_errno(errno, "LOOP_CTL_GET_FREE");
        }
        std::string device = "/dev/loop" + std::to_string(number);
        Fd fd = TRY(open_file(device.c_str(), O_RDONLY));
        if (::ioctl(fd.ref().number(), LOOP_CONFIGURE, &config) == 0) {
            return std::unique_ptr<LoopImage>(new LoopImage(std::move(device), std::move(fd)));
        }
        if (errno != EBUSY) {
            return Error::from_errno(errno, "LOOP_CONFIGURE");
        }
    }
    return Error(Code::Unavailable, "no loop device stays free");
}

}  // namespace pepita::test
