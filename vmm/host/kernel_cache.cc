#include "vmm/host/kernel_cache.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/digest.h"
#include "vmm/host/kernel_image.h"

namespace pepita::vmm {
namespace {

constexpr std::string_view kCacheName = "the kernel cache";

/// Behind the vmlinux; an ELF does not mind.
struct Trailer {
    std::array<char, 8> magic{'P', 'E', 'P', 'I', 'T', 'A', 'K', '1'};
    std::uint64_t size = 0;
    std::uint64_t checksum = 0;
};

/// Finds accidents, at the speed of memory: an odd multiplier loses no bit of what it mixes, so a
/// change of any one word changes the sum.
class Checksum {
public:
    /// The next bytes; a multiple of 32 but for the last ones.
    void add(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            std::array<std::uint64_t, 4> words{};
            const std::size_t size = std::min(bytes.size(), sizeof(words));
            std::memcpy(words.data(), bytes.data(), size);
            for (std::size_t i = 0; i < lanes_.size(); ++i) {
                lanes_[i] = std::rotl((lanes_[i] ^ words[i]) * kMultiplier, 29);
            }
            bytes = bytes.subspan(size);
        }
    }
    std::uint64_t value() const {
        std::uint64_t sum = 0;
        for (const std::uint64_t lane : lanes_) {
            sum = std::rotl((sum ^ lane) * kMultiplier, 29);
        }
        return sum;
    }

private:
    static constexpr std::uint64_t kMultiplier = 0x9e37'79b9'7f4a'7c15;
    std::array<std::uint64_t, 4> lanes_{1, 2, 3, 4};
};

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

/// The cached kernel. Errors: NotFound, or DataLoss where it is not what was put there.
Result<Fd> open_cached(const std::string& path) {
    constexpr std::size_t chunk_size = std::size_t{1} << 20U;
    Fd file = TRY(open_file(path.c_str(), O_RDONLY | O_NOFOLLOW));
    const std::uint64_t size = TRY(file_size(file.ref())).value();
    Trailer trailer;
    if (size <= sizeof(trailer)) {
        return Error(Code::DataLoss, "cached kernel is truncated");
    }
    const std::uint64_t end = size - sizeof(trailer);
    TRY(read_exactly(file.ref(), std::as_writable_bytes(std::span(&trailer, 1)), end));
    Checksum sum;
    std::vector<std::byte> buffer(chunk_size);
    for (std::uint64_t at = 0; at < end; at += chunk_size) {
        const auto chunk = std::span(buffer).first(std::min<std::uint64_t>(chunk_size, end - at));
        TRY(read_exactly(file.ref(), chunk, at));
        sum.add(chunk);
    }
    if (trailer.magic != Trailer{}.magic || trailer.size != end ||
        trailer.checksum != sum.value()) {
        return Error(Code::DataLoss, "cached kernel is damaged");
    }
    return file;
}

Result<void> write_cached(FdRef file, std::span<const std::byte> kernel) {
    Trailer trailer;
    trailer.size = kernel.size();
    Checksum sum;
    sum.add(kernel);
    trailer.checksum = sum.value();
    TRY(write_all(file, kernel, kCacheName));
    return write_all(file, std::as_bytes(std::span(&trailer, 1)), kCacheName);
}

/// Under another name first: who looks meanwhile finds nothing or everything.
Result<void> store(const std::string& path, std::span<const std::byte> kernel) {
    std::string temporary = path + ".XXXXXX";
    const Fd file(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!file) {
        return Error::from_errno(errno, "create '" + temporary + "'");
    }
    // A kernel is no secret, and QEMU, which has a user of its own, opens it again by its number.
    (void)::fchmod(file.ref().number(), 0644);
    Result<void> stored = write_cached(file.ref(), kernel);
    if (stored && ::rename(temporary.c_str(), path.c_str()) != 0) {
        stored = Error::from_errno(errno, "rename to '" + path + "'");
    }
    if (!stored) {
        (void)::unlink(temporary.c_str());
    }
    return stored;
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
    const std::vector<std::byte> image = TRY(read_image(file.ref()));
    const std::string cached =
        cache_directory + "/" + TRY(storage::sha256(image)).hex() + ".vmlinux";
    if (Result<Fd> found = open_cached(cached)) {
        return found;
    }
    const Mapping kernel = TRY(unpack_kernel(image));
    TRY(make_directory(cache_directory, 0700));
    TRY(store(cached, kernel.bytes()));
    return open_cached(cached);
}

}  // namespace pepita::vmm
