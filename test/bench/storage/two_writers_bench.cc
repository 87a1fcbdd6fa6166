#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram_store.h"
#include "test/bench/storage/bench.h"

// How much faster two threads fill a store than one does, beside a loop that does nothing but
// compute, for what two threads are worth on this machine at this time. Wall time: waiting for each
// other is what is looked for.
//
// Usage: two_writers_bench FILE...

namespace {

using namespace pepita;           // NOLINT(google-build-using-namespace): one subject.
using namespace pepita::storage;  // NOLINT(google-build-using-namespace)

constexpr int kRounds = 7;
constexpr std::size_t kRunPages = 64;
constexpr double kGoal = 1.85;

using Half = std::move_only_function<void(std::size_t half)>;

double seconds_of(std::move_only_function<void()> work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double one_after_the_other(Half& work) {
    return seconds_of([&] {
        work(0);
        work(1);
    });
}

double side_by_side(Half& work) {
    return seconds_of([&] {
        Thread other = *Thread::start("second", [&] { work(1); });
        work(0);
        other.join();
    });
}

/// Calls `with` for each page that is of this half: runs of pages by turns, so that both halves
/// are of one kind, and copies of a page that lie far apart are mostly of one half.
template <typename With>
void for_each_page_of(std::span<const std::byte> data, std::size_t half, const With& with) {
    for (std::size_t page = 0; page < data.size() / kPageBytes; ++page) {
        if (page / kRunPages % 2 == half) {
            with(page, data.subspan(page * kPageBytes).first<kPageBytes>());
        }
    }
}

/// What the two share. Stores are new for each run: what new memory costs is part of writing.
enum class Share : std::uint8_t { Nothing, Store, Volume };

double fill(std::span<const std::byte> data, Share share, double (*how)(Half&)) {
    const auto new_store = [] {
        return *ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 4096_MiB);
    };
    const Pages pages(data.size() / kPageBytes);
    const auto store = new_store();
    const auto other = share == Share::Nothing ? new_store() : store;
    std::array<std::shared_ptr<ZramVolume>, 2> volumes;
    volumes[0] = *store->create_volume({.name = "a", .capacity = pages});
    volumes[1] = share == Share::Volume ? volumes[0]
                                        : *other->create_volume({.name = "b", .capacity = pages});
    Half work = [&](std::size_t half) {
        for_each_page_of(data, half, [&](std::size_t page, PageView content) {
            CHECK(volumes.at(half)->write(Pages(page), content) == IoStatus::Ok);
        });
    };
    return how(work);
}

double compute(std::span<const std::byte> data, double (*how)(Half&)) {
    std::array<std::uint64_t, 2> sums{};
    Half work = [&](std::size_t half) {
        std::array<std::byte, 2 * kPageBytes> packed{};
        std::uint64_t sum = 0;
        for_each_page_of(data, half, [&](std::size_t, PageView content) {
            sum += lz4_compress_page(content, packed);
        });
        sums.at(half) = sum;
    };
    const double seconds = how(work);
    CHECK(sums[0] + sums[1] > 0);
    return seconds;
}

/// One alone and two together, the best of the rounds of each.
struct Scaling {
    double alone = std::numeric_limits<double>::max();
    double together = std::numeric_limits<double>::max();

    void add(double one, double two) {
        alone = std::min(alone, one);
        together = std::min(together, two);
    }
    double factor() const { return alone / together; }
};

bool measure(const std::string& path) {
    const Result<Mapping> file = bench::load_pages(path);
    if (!file) {
        std::fprintf(stderr, "two_writers_bench: %s\n", file.error().message().c_str());
        return false;
    }
    const std::span<const std::byte> data = file->bytes();
    Scaling control;
    Scaling two_stores;
    Scaling two_volumes;
    Scaling one_volume;
    for (int round = 0; round < kRounds; ++round) {  // by turns: others on the machine come and go
        control.add(compute(data, one_after_the_other), compute(data, side_by_side));
        for (const auto& [scaling, share] :
             {std::pair{&two_stores, Share::Nothing}, std::pair{&two_volumes, Share::Store},
              std::pair{&one_volume, Share::Volume}}) {
            scaling->add(fill(data, share, one_after_the_other), fill(data, share, side_by_side));
        }
    }
    const bool is_free = control.factor() >= kGoal;
    const bool is_reached = std::min(two_volumes.factor(), one_volume.factor()) >= kGoal;
    std::printf(
        "%-8s control %.2f   two stores %.2f   two volumes %.2f   one volume %.2f   goal %.2f: "
        "%s\n",
        path.c_str(), control.factor(), two_stores.factor(), two_volumes.factor(),
        one_volume.factor(), kGoal,
        is_reached ? "reached"
        : is_free  ? "missed"
                   : "cannot be said, the control does not reach it");
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    bool is_ok = argc > 1;
    for (int i = 1; i < argc; ++i) {
        is_ok = measure(argv[i]) && is_ok;
    }
    return is_ok ? 0 : 2;
}
