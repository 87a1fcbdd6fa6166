#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_store.h"
#include "test/bench/storage/bench.h"
#include "test/bench/storage/kernel_zram.h"

// Our store beside the kernel's zram, over the data sets of make_data.py; see README.md.

namespace pepita::bench {
namespace {

using storage::IoStatus;
using storage::ZramStore;
using storage::ZramVolume;

constexpr std::size_t kPage = kPageSize.value();
constexpr std::size_t kLarge = 1U << 20U;
constexpr double kLoadMax = 1.5;

/// An empty store in memory of its own.
class OurZram {
public:
    static Result<OurZram> create(Bytes size) {
        OurZram its;
        Fd file(::memfd_create("zram_store_bench", MFD_CLOEXEC));
        if (!file) {
            return Error::from_errno(errno, "memfd_create");
        }
        its.file_ = TRY(duplicate(file.ref()));
        its.store_ = TRY(ZramStore::create(std::move(file), Bytes(4 * size.value()) + 64_MiB));
        its.volume_ = TRY(
            its.store_->create_volume({.name = "bench", .capacity = Pages(size.value() / kPage)}));
        return its;
    }

    ZramVolume& volume() const { return *volume_; }
    /// All contents are idle, and packed with zstd.
    Result<void> make_cold() const {
        store_->mark_idle();
        while (!TRY(store_->compact_idle(Pages(4096))).is_done) {}
        return {};
    }
    Bytes used() const { return store_->use().used; }
    /// What the kernel says the memory file takes.
    Bytes file_blocks() const {
        struct stat its{};
        CHECK(::fstat(file_.ref().number(), &its) == 0);
        return Bytes(static_cast<std::uint64_t>(its.st_blocks) * 512);
    }

private:
    OurZram() = default;
    Fd file_;
    std::shared_ptr<ZramStore> store_;
    std::shared_ptr<ZramVolume> volume_;
};

/// What one data set gave, best of the rounds.
struct Figures {
    Best kernel_write_large;
    Best kernel_write_page;
    Best kernel_read_large;
    Best kernel_read_page;
    Best write;
    Best read_in_order;
    Best read_page;
    std::uint64_t kernel_used = 0;
    std::uint64_t used = 0;
    std::uint64_t file_blocks = 0;
    std::uint64_t heap = 0;
    std::uint64_t cold_used = 0;
};

Result<void> write_kernel(KernelZram& zram, std::span<const std::byte> data, std::size_t step) {
    for (std::size_t at = 0; at < data.size(); at += step) {
        TRY(zram.write(data.subspan(at, std::min(step, data.size() - at)), at));
    }
    return {};
}

Result<void> read_kernel(const KernelZram& zram, std::span<std::byte> room, std::size_t size) {
    for (std::size_t at = 0; at < size; at += kLarge) {
        TRY(zram.read(room.first(std::min(kLarge, size - at)), at));
    }
    return {};
}

/// Anonymous memory of this process.
Result<std::uint64_t> anonymous_memory() {
    const std::string status = TRY(read_file("/proc/self/status"));
    const std::size_t at = status.find("RssAnon:");
    CHECK(at != std::string::npos);
    std::uint64_t kib = 0;
    for (const char c : status.substr(at, status.find('\n', at) - at)) {
        kib = c >= '0' && c <= '9' ? kib * 10 + static_cast<std::uint64_t>(c - '0') : kib;
    }
    return kib * 1024;
}

/// Runs `work`, and adds its speed.
template <typename Work>
Result<void> timed(Best& best, std::size_t bytes, const Work& work) {
    Result<void> done;
    best.add(speed_of(bytes, [&] { done = work(); }));
    return done;
}

class Comparison {
public:
    Comparison(std::span<const std::byte> data, std::span<std::byte> room)
        : data_(data), room_(room), order_(data.size() / kPage) {
        std::iota(order_.begin(), order_.end(), 0U);
        std::ranges::shuffle(order_, std::mt19937(1));
    }

    Result<Figures> run(int rounds) {
        KernelZram kernel = TRY(KernelZram::create(Bytes(data_.size())));
        for (int round = 0; round < rounds; ++round) {
            TRY(run_kernel(kernel));
            TRY(run_ours());
        }
        return figures_;
    }

private:
    Result<void> run_kernel(KernelZram& zram) {
        const std::size_t size = data_.size();
        TRY(zram.reset());
        TRY(timed(figures_.kernel_write_page, size,
                  [&] { return write_kernel(zram, data_, kPage); }));
        TRY(zram.reset());
        TRY(timed(figures_.kernel_write_large, size,
                  [&] { return write_kernel(zram, data_, kLarge); }));
        figures_.kernel_used = TRY(zram.used()).value();
        TRY(timed(figures_.kernel_read_large, size,
                  [&] { return read_kernel(zram, room_, size); }));
        TRY(timed(figures_.kernel_read_page, size, [&]() -> Result<void> {
            for (const std::uint32_t page : order_) {
                TRY(zram.read(room_.first(kPage), page * kPage));
            }
            return {};
        }));
        return {};
    }

    Result<void> run_ours() {
        const std::uint64_t before = TRY(anonymous_memory());
        const OurZram zram = TRY(OurZram::create(Bytes(data_.size())));
        ZramVolume& volume = zram.volume();
        bool good = true;
        figures_.write.add(speed_of(data_.size(), [&] {
            for (std::size_t page = 0; page < order_.size(); ++page) {
                good &=
                    volume.write(Pages(page), data_.subspan(page * kPage, kPage)) == IoStatus::Ok;
            }
        }));
        figures_.used = zram.used().value();
        figures_.file_blocks = zram.file_blocks().value();
        const std::uint64_t after = TRY(anonymous_memory());
        figures_.heap = after > before ? after - before : 0;
        figures_.read_in_order.add(speed_of(data_.size(), [&] {
            for (std::size_t page = 0; page < order_.size(); ++page) {
                const auto into = room_.subspan(page * kPage % kLarge, kPage);
                good &= volume.read(Pages(page), into) == IoStatus::Ok;
            }
        }));
        figures_.read_page.add(speed_of(data_.size(), [&] {
            for (const std::uint32_t page : order_) {
                good &= volume.read(Pages(page), room_.first(kPage)) == IoStatus::Ok;
            }
        }));
        TRY(zram.make_cold());
        figures_.cold_used = std::max(zram.used().value(), zram.file_blocks().value());
        for (std::size_t page = 0; page < order_.size(); ++page) {
            good &= volume.read(Pages(page), room_.first(kPage)) == IoStatus::Ok &&
                    std::memcmp(room_.data(), data_.data() + page * kPage, kPage) == 0;
        }
        return good ? Result<void>{} : Error(Code::DataLoss, "the store gives back other pages");
    }

    std::span<const std::byte> data_;
    std::span<std::byte> room_;
    std::vector<std::uint32_t> order_;
    Figures figures_;
};

void print_row(const char* what, const Best& ours, const Best& kernel) {
    std::printf("  %-26s ours %6.0f (-%2.0f%%)  kernel %6.0f (-%2.0f%%)  x%.2f\n", what,
                ours.best(), ours.spread_percent(), kernel.best(), kernel.spread_percent(),
                ours.best() / kernel.best());
}

void print_goal(const char* name, double factor, double goal) {
    if (goal > 0) {
        std::printf("  goal %-30s x%.2f of x%.2f: %s\n", name, factor, goal,
                    factor >= goal ? "reached" : "NOT reached");
    }
}

/// Least factors over the kernel; 0 where the issue names none.
struct Goals {
    std::string_view data;
    double write_large = 0;
    double write_page = 0;
    double read_large = 0;
    double read_page = 0;
    double ratio = 0;
    double cold_ratio = 0;
};
constexpr std::array kGoals{
    Goals{.data = "text",
          .write_large = 1,
          .write_page = 1.4,
          .read_large = 1.4,
          .read_page = 2.4,
          .ratio = 1.3},
    Goals{.data = "bins",
          .write_large = 1,
          .write_page = 1.4,
          .read_large = 1.4,
          .read_page = 2.4,
          .ratio = 1},
    Goals{.data = "libs",
          .write_large = 1,
          .write_page = 1.4,
          .read_large = 1.4,
          .read_page = 2.4,
          .ratio = 1.1},
    Goals{.data = "dup4", .write_large = 2.2, .read_large = 1.4, .read_page = 2.4, .ratio = 4.3},
    Goals{.data = "vms", .ratio = 2.25, .cold_ratio = 2.8},
    Goals{.data = "zero", .write_large = 3, .read_large = 1.1}};

void print(const std::string& name, std::size_t size, const Figures& figures) {
    const auto mib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / (1U << 20U); };
    std::printf("%s: %.0f MiB; MB for each second of processor time\n", name.c_str(), mib(size));
    print_row("write, 4 KiB", figures.write, figures.kernel_write_page);
    print_row("write, 1 MiB", figures.write, figures.kernel_write_large);
    print_row("random read, 4 KiB", figures.read_page, figures.kernel_read_page);
    print_row("read in order, 1 MiB", figures.read_in_order, figures.kernel_read_large);
    const double kernel_ratio =
        static_cast<double>(size) / static_cast<double>(figures.kernel_used);
    // The statistic must not be the smaller: the file is there for anybody to look at.
    const std::uint64_t ours = std::max(figures.used, figures.file_blocks);
    const double ratio = static_cast<double>(size) / static_cast<double>(ours);
    std::printf(
        "  %-26s ours %6.3f (%.2f MiB; memory file %.2f, heap grew %.2f)  kernel %6.3f "
        "(%.2f MiB)  x%.2f\n",
        "ratio", ratio, mib(figures.used), mib(figures.file_blocks), mib(figures.heap),
        kernel_ratio, mib(figures.kernel_used), ratio / kernel_ratio);
    const double cold_ratio = static_cast<double>(size) / static_cast<double>(figures.cold_used);
    std::printf("  %-26s ours %6.3f (%.2f MiB)  x%.2f of the kernel's\n", "ratio, all of it cold",
                cold_ratio, mib(figures.cold_used), cold_ratio / kernel_ratio);
    const auto* const goals = std::ranges::find(kGoals, name, &Goals::data);
    if (goals == kGoals.end()) {
        return;
    }
    print_goal("write, 1 MiB", figures.write.best() / figures.kernel_write_large.best(),
               goals->write_large);
    print_goal("write, 4 KiB", figures.write.best() / figures.kernel_write_page.best(),
               goals->write_page);
    print_goal("read in order, 1 MiB",
               figures.read_in_order.best() / figures.kernel_read_large.best(), goals->read_large);
    print_goal("random read, 4 KiB", figures.read_page.best() / figures.kernel_read_page.best(),
               goals->read_page);
    print_goal("ratio, metadata included", ratio / kernel_ratio, goals->ratio);
    print_goal("ratio, all of it cold", cold_ratio / kernel_ratio, goals->cold_ratio);
}

Result<void> run(std::span<char*> paths) {
    for (const std::string path : paths) {
        const Mapping data = TRY(load_pages(path));
        const Mapping room = TRY(Mapping::anonymous(Bytes(kLarge)));
        std::ranges::fill(room.bytes(), std::byte{1});
        print(path.substr(path.rfind('/') + 1), data.bytes().size(),
              TRY(Comparison(data.bytes(), room.bytes()).run(3), "'", path, "'"));
    }
    return {};
}

}  // namespace
}  // namespace pepita::bench

int main(int argc, char** argv) {
    using pepita::bench::kLoadMax;
    std::span<char*> words(argv, static_cast<std::size_t>(argc));
    words = words.subspan(1);
    const bool at_any_load = !words.empty() && std::string_view(words[0]) == "--any-load";
    words = words.subspan(at_any_load ? 1 : 0);
    double load = 0;
    if (::getloadavg(&load, 1) != 1 || words.empty()) {
        (void)std::fprintf(stderr, "usage: zram_store_bench [--any-load] FILE…\n");
        return 2;
    }
    std::printf("load %.1f\n", load);
    if (load > kLoadMax && !at_any_load) {
        (void)std::fprintf(stderr, "zram_store_bench: load over %.1f: --any-load to go on\n",
                           kLoadMax);
        return 1;
    }
    const auto done = pepita::bench::run(words);
    if (!done) {
        (void)std::fprintf(stderr, "zram_store_bench: %s\n", done.error().message().c_str());
        return 1;
    }
    return 0;
}
