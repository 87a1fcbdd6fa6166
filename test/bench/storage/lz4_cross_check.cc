#include <lz4.h>
#include <lz4hc.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_set>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "storage/zram/lz4_page.h"
#include "test/bench/storage/bench.h"

// Our codec against liblz4, both ways, over distinct pages of the files below some folders: ours
// decodes what liblz4 packs (fast and HC), and liblz4 what ours packs. No figure of speed: that is
// lz4_page_bench.
//
// Usage: lz4_cross_check COUNT FOLDER...

namespace pepita::bench {
namespace {

using storage::kLz4Spare;
using storage::kPageBytes;
using storage::PageView;

constexpr std::size_t kRoom = kPageBytes + kPageBytes / 255 + 16 + kLz4Spare;
constexpr int kHcLevel = 3;
constexpr std::uintmax_t kFileMax = 1U << 30U;

const char* chars(std::span<const std::byte> bytes) {
    return reinterpret_cast<const char*>(bytes.data());
}
char* chars_of(std::span<std::byte> bytes) { return reinterpret_cast<char*>(bytes.data()); }

/// What stands of one page.
class Checker {
public:
    /// Whether all decode to the page.
    bool check(PageView page) {
        got_.fill(std::byte{0});
        const std::size_t ours = storage::lz4_compress_page(page, block_);
        if (ours == 0 ||
            LZ4_decompress_safe(chars(block_), chars_of(got_), static_cast<int>(ours),
                                kPageBytes) != static_cast<int>(kPageBytes) ||
            !is_equal(page)) {
            return false;
        }
        return decodes(page, LZ4_compress_default(chars(page), chars_of(block_), kPageBytes,
                                                  static_cast<int>(block_.size()))) &&
               decodes(page, LZ4_compress_HC(chars(page), chars_of(block_), kPageBytes,
                                             static_cast<int>(block_.size()), kHcLevel));
    }

private:
    bool decodes(PageView page, int size) {
        got_.fill(std::byte{0});
        const auto block = std::span(block_).first(static_cast<std::size_t>(size));
        return size > 0 && storage::lz4_decompress_page(block, got_) && is_equal(page);
    }
    bool is_equal(PageView page) const {
        return std::memcmp(got_.data(), page.data(), kPageBytes) == 0;
    }

    std::array<std::byte, kRoom> block_{};
    std::array<std::byte, kPageBytes> got_{};
};

class Run {
public:
    explicit Run(std::size_t wanted) : wanted_(wanted) {}

    bool is_done() const { return seen_.size() >= wanted_; }
    std::size_t blocks() const { return seen_.size(); }

    /// False where a page of the file came back wrong; files that cannot be read are left out.
    bool check_file(const std::string& path) {
        const Result<Mapping> file = load_pages(path);
        if (!file) {
            return true;
        }
        const std::span<const std::byte> data = file->bytes();
        for (std::size_t at = 0; at < data.size() && !is_done(); at += kPageBytes) {
            const PageView page = data.subspan(at).first<kPageBytes>();
            if (seen_.insert(XXH3_64bits(page.data(), page.size())).second &&
                !checker_.check(page)) {
                std::fprintf(stderr, "lz4_cross_check: %s: the page at %zu comes back wrong\n",
                             path.c_str(), at);
                return false;
            }
        }
        return true;
    }

    bool check_below(const std::string& folder) {
        namespace fs = std::filesystem;
        std::error_code error;
        auto entry = fs::recursive_directory_iterator(
            folder, fs::directory_options::skip_permission_denied, error);
        for (; !error && entry != fs::recursive_directory_iterator() && !is_done();
             entry.increment(error)) {
            std::error_code gone;
            const bool is_plain = entry->symlink_status(gone).type() == fs::file_type::regular;
            const std::uintmax_t size = is_plain ? entry->file_size(gone) : 0;
            if (!gone && size >= kPageBytes && size <= kFileMax && !check_file(entry->path())) {
                return false;
            }
        }
        if (error) {
            std::fprintf(stderr, "lz4_cross_check: %s: %s\n", folder.c_str(),
                         error.message().c_str());
        }
        return !error;
    }

private:
    std::size_t wanted_;
    std::unordered_set<std::uint64_t> seen_;
    Checker checker_;
};

int run(std::string_view count, std::span<char*> folders) {
    std::size_t wanted = 0;
    const auto [end, error] = std::from_chars(count.begin(), count.end(), wanted);
    if (error != std::errc() || end != count.end() || wanted == 0) {
        std::fprintf(stderr, "lz4_cross_check: COUNT is no number above 0\n");
        return 2;
    }
    Run run(wanted);
    for (const char* folder : folders) {
        if (!run.check_below(folder)) {
            return 1;
        }
    }
    std::printf("%zu distinct pages: liblz4 decodes ours, ours liblz4's (fast and HC)\n",
                run.blocks());
    if (!run.is_done()) {
        std::fprintf(stderr, "lz4_cross_check: these folders have no more; %zu were wanted\n",
                     wanted);
    }
    return run.is_done() ? 0 : 1;
}

}  // namespace
}  // namespace pepita::bench

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "Usage: lz4_cross_check COUNT FOLDER...\n");
        return 2;
    }
    return pepita::bench::run(argv[1], std::span(argv, static_cast<std::size_t>(argc)).subspan(2));
}
