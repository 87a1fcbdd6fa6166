// Layers of an image: decompressors, tar, the tree and its EROFS. What a layer was made of must
// come back from its parts, byte for byte, and an accepted tree must be written.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "storage/image/erofs_writer.h"
#include "storage/image/image_tree.h"
#include "storage/image/layer_writer.h"
#include "storage/image/sources.h"

namespace {

namespace image = pepita::storage::image;

constexpr std::size_t kBlock = 512;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

pepita::Fd memory_file() { return pepita::Fd(::memfd_create("fuzz", MFD_CLOEXEC)); }

/// Gives each block that looks like a header its checksum, which a fuzzer does not guess.
void mend_checksums(std::span<std::uint8_t> tar) {
    for (; tar.size() >= kBlock; tar = tar.subspan(kBlock)) {
        const std::span<std::uint8_t> header = tar.first(kBlock);
        if (!std::ranges::equal(header.subspan(257, 5), std::string_view("ustar"))) {
            continue;
        }
        std::ranges::fill(header.subspan(148, 8), ' ');
        unsigned sum = 0;
        for (const std::uint8_t byte : header) {
            sum += byte;
        }
        std::array<char, 8> text{};
        (void)std::snprintf(text.data(), text.size(), "%06o", sum);
        std::ranges::copy(text, header.begin() + 148);
    }
}

/// The blocks of its data; false where it is refused.
bool add_layer(image::ImageTree& tree, std::uint32_t number, std::span<const std::uint8_t> bytes,
               std::vector<std::uint64_t>& blocks) {
    const pepita::Fd data = memory_file();
    const pepita::Fd headers = memory_file();
    image::MemorySource source(std::as_bytes(bytes));
    const auto tar = image::uncompressed(source);
    require(tar.has_value());
    const auto written = image::write_layer(**tar, data.ref(), headers.ref());
    if (!written) {
        return false;
    }
    const auto size = pepita::file_size(headers.ref());
    require(size.has_value());
    image::FileSource file(headers.ref(), 0, *size);
    const auto skeleton = image::uncompressed(file, image::Origin::Ours);
    image::LayerTar again(**skeleton, data.ref());
    const auto hashed = image::HashingSource::create(again);
    const auto digest = (*hashed)->finish();
    require(digest.has_value() && *digest == written->diff_id);
    blocks.push_back(written->blocks);
    return image::apply_layer(tree, headers.ref(), number).has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    std::vector<std::uint8_t> bytes(data + 1, data + size);
    const bool is_raw = (data[0] & 0x80U) != 0;
    const std::size_t split =
        is_raw ? bytes.size() : std::min(bytes.size(), (data[0] & 0x7fU) * kBlock);
    if (!is_raw) {
        mend_checksums(bytes);
    }
    image::ImageTree tree;
    std::vector<std::uint64_t> blocks;
    const std::span<const std::uint8_t> all = bytes;
    if (!add_layer(tree, 0, all.first(split), blocks) ||
        !add_layer(tree, 1, all.subspan(split), blocks)) {
        return 0;
    }
    const auto metadata = image::write_erofs(tree, blocks, {});
    require(metadata.has_value() && metadata->size() % 4096 == 0);
    return 0;
}
