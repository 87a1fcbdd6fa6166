#include "test/support/bzimage.h"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "kernel-abi/sys/check.h"

namespace pepita::vmm {
namespace {

template <typename T>
void put(std::vector<std::byte>& bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
}

const std::uint8_t* raw(std::span<const std::byte> bytes) {
    return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

}  // namespace

std::vector<std::byte> bzimage(std::span<const std::byte> packed, std::uint32_t unpacked_size) {
    constexpr std::size_t kSetup = 2 * 512;  // boot sector and one more
    constexpr std::uint32_t kOffset = 16;
    std::vector<std::byte> image(kSetup + kOffset + packed.size() + 4);
    put<std::uint8_t>(image, 0x1f1, 1);
    put<std::uint16_t>(image, 0x1fe, 0xaa55);
    std::memcpy(image.data() + 0x202, "HdrS", 4);
    put<std::uint16_t>(image, 0x206, 0x20f);
    put<std::uint32_t>(image, 0x248, kOffset);
    put(image, 0x24c, static_cast<std::uint32_t>(packed.size() + 4));
    std::ranges::copy(packed, image.begin() + kSetup + kOffset);
    put(image, image.size() - 4, unpacked_size);
    return image;
}

std::vector<std::byte> pack_zstd(std::span<const std::byte> bytes) {
    std::vector<std::byte> packed(ZSTD_compressBound(bytes.size()));
    packed.resize(ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), 3));
    return packed;
}

std::vector<std::byte> pack_xz(std::span<const std::byte> bytes) {
    std::vector<std::byte> packed(lzma_stream_buffer_bound(bytes.size()));
    std::size_t size = 0;
    CHECK(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, nullptr, raw(bytes), bytes.size(),
                                  reinterpret_cast<std::uint8_t*>(packed.data()), &size,
                                  packed.size()) == LZMA_OK);
    packed.resize(size);
    return packed;
}

std::vector<std::byte> pack_lz4(std::span<const std::byte> bytes) {
    constexpr std::size_t kBlock = std::size_t{8} << 20U;
    std::vector<std::byte> packed(4);
    put<std::uint32_t>(packed, 0, 0x184c'2102);
    for (std::size_t at = 0; at < bytes.size(); at += kBlock) {
        const auto block = bytes.subspan(at, std::min(kBlock, bytes.size() - at));
        std::vector<char> out(
            static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(block.size()))));
        const int size =
            LZ4_compress_default(reinterpret_cast<const char*>(block.data()), out.data(),
                                 static_cast<int>(block.size()), static_cast<int>(out.size()));
        CHECK(size > 0);
        const std::size_t start = packed.size();
        packed.resize(start + 4 + static_cast<std::size_t>(size));
        put(packed, start, static_cast<std::uint32_t>(size));
        std::memcpy(packed.data() + start + 4, out.data(), static_cast<std::size_t>(size));
    }
    return packed;
}

std::vector<std::byte> pack_gzip(std::span<const std::byte> bytes) {
    z_stream stream{};
    CHECK(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::vector<std::byte> packed(deflateBound(&stream, bytes.size()));
    stream.next_in = const_cast<Bytef*>(raw(bytes));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    packed.resize(packed.size() - stream.avail_out - 4);
    (void)deflateEnd(&stream);
    return packed;
}

}  // namespace pepita::vmm
