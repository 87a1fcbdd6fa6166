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
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::test {
namespace {

// The image's file; its name is gone already. The program gets it after its other arguments.
Result<Fd> make(SpawnOptions options, Bytes size, const std::vector<std::string>& more,
                int access) {
    std::string path = "/tmp/pepita-image-XXXXXX";
    const Fd made(::mkstemp(path.data()));
    if (!made) {
        return Error::from_errno(errno, "mkstemp");
    }
    if (::ftruncate(made.ref().number(), static_cast<off_t>(size.value())) != 0) {
        return Error::from_errno(errno, "ftruncate");
    }
    const std::string program = options.path;
    options.arguments.insert(options.arguments.begin(), program);
    options.arguments.push_back(path);
    options.arguments.insert(options.arguments.end(), more.begin(), more.end());
    Result<Child> child = spawn(std::move(options));
    ChildExit ended{.by_signal = false, .value = 1};
    if (child) {
        ended = child->reap();
    }
    Result<Fd> image = open_file(path.c_str(), access);
    (void)::unlink(path.c_str());
    if (!child) {
        return std::move(child).error();
    }
    if (ended != ChildExit()) {
        return Error(Code::Internal, program + ": " + to_string(ended));
    }
    return image;
}

}  // namespace

Result<std::unique_ptr<LoopImage>> LoopImage::create(const std::string& folder) {
    SpawnOptions options;
    options.path = "/usr/bin/mkfs.erofs";
    return attach(TRY(make(std::move(options), Bytes(0), {folder}, O_RDONLY)), LO_FLAGS_READ_ONLY,
                  O_RDONLY);
}

Result<std::unique_ptr<LoopImage>> LoopImage::create_empty(Bytes size) {
    SpawnOptions options;
    options.path = "/usr/sbin/mkfs.ext4";
    options.arguments = {"-q", "-F", "-m", "0", "-O", "^has_journal"};
    return attach(TRY(make(std::move(options), size, {}, O_RDWR)), 0, O_RDWR);
}

Result<std::unique_ptr<LoopImage>> LoopImage::attach(const Fd& image, unsigned flags, int access) {
    const Fd control = TRY(open_file("/dev/loop-control", O_RDWR));
    loop_config config{};
    config.fd = static_cast<unsigned>(image.ref().number());
    config.info.lo_flags = flags | LO_FLAGS_AUTOCLEAR;
    // Others may be faster to take the device that was free.
    for (int attempt = 0; attempt < 20; ++attempt) {
        const int number = ::ioctl(control.ref().number(), LOOP_CTL_GET_FREE);
        if (number < 0) {
            return Error::from_errno(errno, "LOOP_CTL_GET_FREE");
        }
        std::string device = "/dev/loop" + std::to_string(number);
        Fd fd = TRY(open_file(device.c_str(), access));
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
