#include "test/bench/storage/kernel_zram.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <sstream>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::bench {

KernelZram::KernelZram(std::string number, Bytes size) : number_(std::move(number)), size_(size) {}

KernelZram::KernelZram(KernelZram&& other) noexcept
    : number_(std::exchange(other.number_, {})),
      size_(other.size_),
      device_(std::move(other.device_)) {}

KernelZram::~KernelZram() {
    if (number_.empty()) {
        return;
    }
    device_ = Fd();
    const auto removed = write_file("/sys/class/zram-control/hot_remove", number_);
    if (!removed) {
        (void)std::fprintf(stderr, "zram%s stays: %s\n", number_.c_str(),
                           removed.error().message().c_str());
    }
}

Result<KernelZram> KernelZram::create(Bytes size) {
    std::string number = TRY(read_file("/sys/class/zram-control/hot_add"));
    while (!number.empty() && number.back() == '\n') {
        number.pop_back();
    }
    KernelZram zram(std::move(number), size);
    TRY(zram.reset());
    return zram;
}

std::string KernelZram::attribute(const char* name) const {
    return "/sys/block/zram" + number_ + "/" + name;
}

Result<void> KernelZram::reset() {
    device_ = Fd();
    TRY(write_file(attribute("reset"), "1"));
    TRY(write_file(attribute("comp_algorithm"), "lz4"));
    TRY(write_file(attribute("disksize"), std::to_string(size_.value())));
    return open_device();
}

Result<void> KernelZram::open_device() {
    // A node of our own: in a container nobody may have made one in /dev.
    const std::string text = TRY(read_file(attribute("dev")));
    unsigned major = 0;
    unsigned minor = 0;
    const char* const end = text.data() + text.size();
    const auto colon = std::from_chars(text.data(), end, major);
    if (colon.ptr == end || std::from_chars(colon.ptr + 1, end, minor).ec != std::errc()) {
        return Error(Code::Internal, "'" + attribute("dev") + "' has '" + text + "'");
    }
    const std::string path = "/tmp/pepita-bench-zram" + number_ + "-" + std::to_string(::getpid());
    if (::mknod(path.c_str(), S_IFBLK | 0600, ::makedev(major, minor)) != 0) {
        return Error::from_errno(errno, "mknod '" + path + "'");
    }
    auto device = open_file(path.c_str(), O_RDWR | O_DIRECT);
    ::unlink(path.c_str());
    device_ = TRY(std::move(device));
    return {};
}

Result<void> KernelZram::write(std::span<const std::byte> bytes, std::uint64_t offset) {
    if (::pwrite(device_.ref().number(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(bytes.size())) {
        return Error::from_errno(errno, "write to zram");
    }
    return {};
}

Result<void> KernelZram::read(std::span<std::byte> bytes, std::uint64_t offset) const {
    if (::pread(device_.ref().number(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) !=
        static_cast<ssize_t>(bytes.size())) {
        return Error::from_errno(errno, "read from zram");
    }
    return {};
}

Result<Bytes> KernelZram::used() const {
    // orig_data_size compr_data_size mem_used_total …
    std::istringstream words(TRY(read_file(attribute("mm_stat"))));
    std::uint64_t original = 0;
    std::uint64_t packed = 0;
    std::uint64_t used = 0;
    if (!(words >> original >> packed >> used)) {
        return Error(Code::Internal, "'" + attribute("mm_stat") + "' is in no known form");
    }
    return Bytes(used + size_.value() / kPageSize.value() * 16);
}

}  // namespace pepita::bench
