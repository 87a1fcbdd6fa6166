#include "vmm/host/kernel_image.h"

// zlib does not write through next_in; so it says const.
#define ZLIB_CONST
#include <lzma.h>
#include <zconf.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/lz4_block.h"

namespace pepita::vmm {
namespace {

using Input = std::span<const std::byte>;
using Output = std::span<std::byte>;

// The setup header (boot.rst, "The Real-Mode Kernel Header").
constexpr std::size_t kSetupSectors = 0x1f1;
constexpr std::size_t kBootFlag = 0x1fe;
constexpr std::size_t kMagic = 0x202;
constexpr std::size_t kVersion = 0x206;
constexpr std::size_t kPayloadOffset = 0x248;
constexpr std::size_t kPayloadLength = 0x24c;
constexpr std::size_t kHeaderEnd = 0x250;

constexpr std::uint16_t kVersionWithPayload = 0x208;
constexpr std::size_t kSectorBytes = 512;
/// Behind the packed bytes stands the size of the unpacked ones.
constexpr std::size_t kTrailer = 4;
constexpr std::uint64_t kXzMemoryMax = 256U << 20U;

template <typename T>
T number_at(Input bytes, std::size_t offset) {
    T value{};
    std::memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
    return value;
}

Error damaged(std::string_view what) {
    return {Code::DataLoss, "kernel is damaged: " + std::string(what)};
}

bool starts_with(Input bytes, std::initializer_list<unsigned> magic) {
    return bytes.size() >= magic.size() &&
           std::ranges::equal(bytes.first(magic.size()), magic, [](std::byte a, unsigned b) {
               return std::to_integer<unsigned>(a) == b;
           });
}

/// The packed bytes with their trailer.
Result<Input> find_payload(Input image) {
    if (image.size() < kHeaderEnd || number_at<std::uint16_t>(image, kBootFlag) != 0xaa55 ||
        std::memcmp(image.data() + kMagic, "HdrS", 4) != 0) {
        return Error(Code::InvalidArgument, "not a kernel: neither a bzImage nor an ELF");
    }
    const auto version = number_at<std::uint16_t>(image, kVersion);
    if (version < kVersionWithPayload) {
        return Error(Code::InvalidArgument, "kernel is too old: boot protocol before 2.08");
    }
    const std::size_t sectors = std::to_integer<std::size_t>(image[kSetupSectors]);
    // 8 and 32 bits in 64: nothing wraps.
    const std::size_t start = (((sectors == 0 ? 4 : sectors) + 1) * kSectorBytes) +
                              number_at<std::uint32_t>(image, kPayloadOffset);
    const std::size_t length = number_at<std::uint32_t>(image, kPayloadLength);
    if (start > image.size() || length > image.size() - start) {
        return Error(Code::DataLoss, "kernel is truncated: its payload ends at " +
                                         std::to_string(start + length) + ", the file at " +
                                         std::to_string(image.size()));
    }
    if (length <= kTrailer) {
        return damaged("its payload is empty");
    }
    return image.subspan(start, length);
}

// Each unpacks all of `packed` and gives the count of bytes in `into`.

Result<std::size_t> unpack_zstd(Input packed, Output into) {
    const std::size_t size =
        ZSTD_decompress(into.data(), into.size(), packed.data(), packed.size());
    if (ZSTD_isError(size) != 0) {
        return damaged(std::string("zstd: ") + ZSTD_getErrorName(size));
    }
    return size;
}

Result<std::size_t> unpack_xz(Input packed, Output into) {
    std::uint64_t memory = kXzMemoryMax;
    std::size_t in = 0;
    std::size_t out = 0;
    // SAFETY: liblzma takes uint8_t where it means bytes, and stays within both sizes.
    const lzma_ret result = lzma_stream_buffer_decode(
        &memory, 0, nullptr, reinterpret_cast<const std::uint8_t*>(packed.data()), &in,
        packed.size(), reinterpret_cast<std::uint8_t*>(into.data()), &out, into.size());
    if (result != LZMA_OK) {
        return damaged("xz error " + std::to_string(result));
    }
    return out;
}

Result<std::size_t> unpack_gzip(Input packed, Output into) {
    z_stream stream{};
    constexpr int gzip_only = 16;
    if (inflateInit2(&stream, MAX_WBITS + gzip_only) != Z_OK) {
        return Error(Code::ResourceExhausted, "inflateInit2");
    }
    // SAFETY: zlib takes unsigned char where it means bytes, and stays within both sizes.
    // Both sizes are bounded: by 32 bits in the header, and by kUnpackedKernelMax.
    stream.next_in = reinterpret_cast<const Bytef*>(packed.data());
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(into.data());
    stream.avail_out = static_cast<uInt>(into.size());
    const int result = inflate(&stream, Z_FINISH);
    const std::size_t size = into.size() - stream.avail_out;
    (void)inflateEnd(&stream);
    if (result != Z_STREAM_END) {
        return damaged("gzip error " + std::to_string(result));
    }
    return size;
}

/// The frame of `lz4 -l`: blocks, each with its packed size before it.
Result<std::size_t> unpack_lz4(Input packed, Output into) {
    constexpr std::size_t frame_header = 4;
    constexpr std::size_t block_header = 4;
    packed = packed.subspan(frame_header);
    std::size_t done = 0;
    while (!packed.empty()) {
        if (packed.size() < block_header) {
            return damaged("LZ4 frame ends in the middle");
        }
        const std::size_t size = number_at<std::uint32_t>(packed, 0);
        packed = packed.subspan(block_header);
        if (size == 0 || size > packed.size()) {
            return damaged("LZ4 block of " + std::to_string(size) + " B");
        }
        done += TRY(storage::lz4_unpack(packed.first(size), into.subspan(done)), "kernel");
        packed = packed.subspan(size);
    }
    return done;
}

Result<std::size_t> unpack(Input payload, Output into) {
    const Input packed = payload.first(payload.size() - kTrailer);
    if (starts_with(packed, {0x28, 0xb5, 0x2f, 0xfd})) {
        return unpack_zstd(packed, into);
    }
    if (starts_with(packed, {0xfd, '7', 'z', 'X', 'Z', 0})) {
        return unpack_xz(packed, into);
    }
    if (starts_with(packed, {0x02, 0x21, 0x4c, 0x18})) {
        return unpack_lz4(packed, into);
    }
    if (starts_with(packed, {0x1f, 0x8b})) {
        return unpack_gzip(payload, into);  // the trailer is gzip's own
    }
    if (starts_with(packed, {'B', 'Z', 'h'})) {
        return Error(Code::Unsupported, "kernel is packed with bzip2");
    }
    if (starts_with(packed, {0x89, 'L', 'Z', 'O'})) {
        return Error(Code::Unsupported, "kernel is packed with LZO");
    }
    if (starts_with(packed, {0x5d, 0, 0})) {
        return Error(Code::Unsupported, "kernel is packed with LZMA");
    }
    return Error(Code::Unsupported, "kernel is packed in a way that we do not know");
}

}  // namespace

bool is_elf(std::span<const std::byte> start) { return starts_with(start, {0x7f, 'E', 'L', 'F'}); }

Result<Mapping> unpack_kernel(std::span<const std::byte> image) {
    const Input payload = TRY(find_payload(image));
    const Bytes size(number_at<std::uint32_t>(payload, payload.size() - kTrailer));
    if (size == Bytes(0) || size > kUnpackedKernelMax) {
        return Error(Code::OutOfRange, "kernel says that it unpacks to " +
                                           std::to_string(size.value()) + " B; the limit is " +
                                           std::to_string(kUnpackedKernelMax.value()));
    }
    Mapping unpacked = TRY(Mapping::anonymous(size));
    if (TRY(unpack(payload, unpacked.bytes())) != size.value()) {
        return damaged("it unpacks to less than it says");
    }
    if (!is_elf(unpacked.bytes())) {
        return Error(Code::InvalidArgument, "not a kernel: what is packed in it is no ELF");
    }
    return unpacked;
}

}  // namespace pepita::vmm
