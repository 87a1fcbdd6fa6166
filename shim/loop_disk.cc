#include "shim/loop_disk.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "vmm/device_config.h"

namespace pepita::shim {
namespace {

// Others take free devices, too, between our question and our turn.
constexpr int kAttempts = 64;

}  // namespace

Result<LoopDisk> LoopDisk::create(FdRef file, vmm::Access access) {
    const Fd control = TRY(open_file("/dev/loop-control", O_RDWR), "loop devices");
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(file.number());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (access == vmm::Access::ReadOnly) {
        config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    }
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        const int number = ::ioctl(control.ref().number(), LOOP_CTL_GET_FREE);
        if (number < 0) {
            return Error::from_errno(errno, "LOOP_CTL_GET_FREE");
        }
        std::string path = "/dev/loop" + std::to_string(number);
        Fd device = TRY(open_file(path.c_str(), O_RDWR));
        if (::ioctl(device.ref().number(), LOOP_CONFIGURE, &config) == 0) {
            return LoopDisk(std::move(device), std::move(path));
        }
        if (errno != EBUSY) {
            return Error::from_errno(errno, "LOOP_CONFIGURE of '" + path + "'");
        }
    }
    return Error(Code::ResourceExhausted, "no loop device stays free");
}

}  // namespace pepita::shim
