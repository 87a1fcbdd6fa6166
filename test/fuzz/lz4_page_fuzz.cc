#include <lz4.h>
#include <lz4hc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "storage/zram/lz4_page.h"

// The input is a block that anybody may have written; then it is the beginning of a page, the rest
// of which repeats it with a step, and which has to come back through each pair of encoder and
// decoder. liblz4 is the judge of the format.

namespace {

using pepita::storage::kLz4Spare;
using pepita::storage::kPageBytes;
using pepita::storage::lz4_compress_page;
using pepita::storage::lz4_decompress_page;

using Page = std::array<std::byte, kPageBytes>;
constexpr std::size_t kRoom = kPageBytes + kPageBytes / 255 + 16 + kLz4Spare;

const char* chars(std::span<const std::byte> bytes) {
    return reinterpret_cast<const char*>(bytes.data());
}
char* chars_of(std::span<std::byte> bytes) { return reinterpret_cast<char*>(bytes.data()); }

/// A block that we take is one that liblz4 takes, for the same page.
void decode(std::span<const std::byte> input) {
    const std::vector<std::byte> block(input.begin(), input.end());  // so ASan sees its end
    std::vector<std::byte> ours(kPageBytes);
    if (!lz4_decompress_page(block, std::span<std::byte, kPageBytes>(ours))) {
        return;
    }
    std::vector<std::byte> theirs(kPageBytes);
    const int size = LZ4_decompress_safe(chars(block), chars_of(theirs),
                                         static_cast<int>(block.size()), kPageBytes);
    CHECK(size == static_cast<int>(kPageBytes));
    CHECK(ours == theirs);
}

void check_both_decode(std::span<const std::byte> block, const Page& page) {
    const std::vector<std::byte> exact(block.begin(), block.end());
    Page got{};
    CHECK(lz4_decompress_page(exact, got) && got == page);
    got.fill(std::byte{1});
    CHECK(LZ4_decompress_safe(chars(exact), chars_of(got), static_cast<int>(exact.size()),
                              kPageBytes) == static_cast<int>(kPageBytes));
    CHECK(got == page);
}

void encode(std::span<const std::byte> input) {
    Page page{};
    for (std::size_t i = 0; i < page.size() && !input.empty(); ++i) {
        const std::size_t turn = i / input.size();
        page[i] = input[i % input.size()] ^ static_cast<std::byte>(turn * turn / 7);
    }
    std::vector<std::byte> block(kRoom);
    const std::size_t size = lz4_compress_page(page, block);
    CHECK(size != 0);
    check_both_decode(std::span(block).first(size), page);
    // With less room than that it gives nothing, and stays inside.
    const std::size_t less =
        input.empty() ? 0 : std::to_integer<std::size_t>(input[0]) * size / 256;
    std::vector<std::byte> small(less);
    CHECK(lz4_compress_page(page, small) == 0);
    if (input.size() % 8 != 0) {
        return;  // their encoders are slow, and not what is tested
    }
    const auto length = static_cast<std::size_t>(
        LZ4_compress_default(chars(page), chars_of(block), kPageBytes, kRoom));
    check_both_decode(std::span(block).first(length), page);
    const auto hc_length = static_cast<std::size_t>(
        LZ4_compress_HC(chars(page), chars_of(block), kPageBytes, kRoom, LZ4HC_CLEVEL_DEFAULT));
    check_both_decode(std::span(block).first(hc_length), page);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    decode(input);
    encode(input);
    return 0;
}
