#define LZ4_STATIC_LINKING_ONLY  // the entry that clears no table between blocks
#include <lz4.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "storage/zram/lz4_page.h"
#include "test/bench/storage/bench.h"

// Our codec beside liblz4, page by page over each file that is named, by turns. Whether each
// decodes what the other packs is lz4_cross_check.

namespace pepita::bench {
namespace {

using storage::kLz4Spare;
using storage::kPageBytes;
using storage::PageSpan;
using storage::PageView;

constexpr std::size_t kStride = kPageBytes + kPageBytes / 255 + 16 + kLz4Spare;
constexpr int kRounds = 5;

struct Packed {
    explicit Packed(std::size_t pages) : blocks(pages * kStride), sizes(pages) {}
    std::span<std::byte> room(std::size_t page) {
        return std::span(blocks).subspan(page * kStride, kStride);
    }
    std::span<const std::byte> block(std::size_t page) const {
        return std::span(blocks).subspan(page * kStride, sizes[page]);
    }
    std::size_t total() const {
        std::size_t sum = 0;
        for (const std::size_t size : sizes) {
            sum += size;
        }
        return sum;
    }
    std::vector<std::byte> blocks;
    std::vector<std::size_t> sizes;
};

const char* chars(std::span<const std::byte> bytes) {
    return reinterpret_cast<const char*>(bytes.data());
}
char* chars_of(std::span<std::byte> bytes) { return reinterpret_cast<char*>(bytes.data()); }

PageView page_of(std::span<const std::byte> data, std::size_t page) {
    return PageView(data.data() + page * kPageBytes, kPageBytes);
}

void pack_ours(std::span<const std::byte> data, Packed& to) {
    for (std::size_t page = 0; page < to.sizes.size(); ++page) {
        to.sizes[page] = storage::lz4_compress_page(page_of(data, page), to.room(page));
    }
}

void pack_theirs(std::span<const std::byte> data, Packed& to) {
    const auto state = std::make_unique<LZ4_stream_t>();
    LZ4_initStream(state.get(), sizeof(*state));
    for (std::size_t page = 0; page < to.sizes.size(); ++page) {
        to.sizes[page] = static_cast<std::size_t>(
            LZ4_compress_fast_extState_fastReset(state.get(), chars(page_of(data, page)),
                                                 chars_of(to.room(page)), kPageBytes, kStride, 1));
    }
}

void unpack_ours(const Packed& from) {
    alignas(64) std::array<std::byte, kPageBytes> page;
    for (std::size_t i = 0; i < from.sizes.size(); ++i) {
        CHECK(storage::lz4_decompress_page(from.block(i), page));
    }
}

void unpack_theirs(const Packed& from) {
    alignas(64) std::array<std::byte, kPageBytes> page;
    for (std::size_t i = 0; i < from.sizes.size(); ++i) {
        CHECK(LZ4_decompress_safe(chars(from.block(i)), chars_of(page),
                                  static_cast<int>(from.sizes[i]),
                                  kPageBytes) == static_cast<int>(kPageBytes));
    }
}

Result<void> measure(const std::string& path) {
    const Mapping mapping = TRY(load_pages(path));
    const std::span<const std::byte> data = mapping.bytes();
    Packed ours(data.size() / kPageBytes);
    Packed theirs(data.size() / kPageBytes);
    pack_ours(data, ours);  // touches the memory
    pack_theirs(data, theirs);
    std::array<Best, 4> best;
    for (int round = 0; round < kRounds; ++round) {
        best[0].add(speed_of(data.size(), [&] { pack_ours(data, ours); }));
        best[1].add(speed_of(data.size(), [&] { pack_theirs(data, theirs); }));
        best[2].add(speed_of(data.size(), [&] { unpack_ours(theirs); }));
        best[3].add(speed_of(data.size(), [&] { unpack_theirs(theirs); }));
    }
    const double size = static_cast<double>(data.size());
    std::printf(
        "%-24s pack %5.0f (+-%2.0f%%) liblz4 %5.0f (+-%2.0f%%) x%.2f   "
        "unpack %5.0f (+-%2.0f%%) liblz4 %5.0f (+-%2.0f%%) x%.2f   ratio %.3f liblz4 %.3f\n",
        path.substr(path.rfind('/') + 1).c_str(), best[0].best(), best[0].spread_percent(),
        best[1].best(), best[1].spread_percent(), best[0].best() / best[1].best(), best[2].best(),
        best[2].spread_percent(), best[3].best(), best[3].spread_percent(),
        best[2].best() / best[3].best(), size / static_cast<double>(ours.total()),
        size / static_cast<double>(theirs.total()));
    return {};
}

int run(std::span<char*> paths) {
    for (const char* path : paths) {
        if (const Result<void> done = measure(path); !done) {
            std::fprintf(stderr, "lz4_page_bench: %s\n", done.error().message().c_str());
            return 1;
        }
    }
    return 0;
}

}  // namespace
}  // namespace pepita::bench

int main(int argc, char** argv) {
    return pepita::bench::run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
}
