#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "test/bench/storage/bench.h"
#include "test/bench/storage/block_driver.h"
#include "test/bench/storage/disk_server.h"

// How many requests a second of a vhost-user-blk server's processor time is good for: ours over a
// raw file on tmpfs and over a volume of the store, and qemu-storage-daemon over the same file, by
// turns.
//
// Usage: vhost_user_iops [--any-load] [--rounds N] [--ms N] [--qemu PATH] [--only LOAD] FILE

namespace pepita::bench {
namespace {

constexpr double kLoadMax = 1.5;
constexpr double kGoal = 1.5;
constexpr std::uint16_t kQueues = 4;
constexpr std::size_t kDiskBlocks = 16'384;
constexpr Bytes kDiskSize(kDiskBlocks* kBlockBytes);

struct Options {
    bool at_any_load = false;
    int rounds = 9;
    std::chrono::milliseconds time{200};
    std::string qemu = "/usr/bin/qemu-storage-daemon";
    std::string only;  // loads whose name has this
    std::string data;
};

struct Scratch {
    std::string path;
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    Scratch(Scratch&&) = delete;
    Scratch& operator=(Scratch&&) = delete;
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
};

/// What rounds gave, and the one in their middle: how expensive it is to wake somebody changes from
/// one moment to the next with where the scheduler puts the two, so the best is luck.
class Rounds {
public:
    void add(double value) { values_.insert(std::ranges::upper_bound(values_, value), value); }
    double median() const { return values_.empty() ? 0 : values_[values_.size() / 2]; }
    /// How far the farther half of the rounds is from it, at least.
    double spread_percent() const {
        if (values_.empty() || median() == 0) {
            return 0;
        }
        const double low = values_[values_.size() / 4];
        const double high = values_[values_.size() * 3 / 4];
        return 100 * std::max(median() - low, high - median()) / median();
    }

private:
    std::vector<double> values_;  // sorted
};

/// What was measured of one server under one load.
struct Figures {
    Rounds per_core;  // requests a second of processor time
    Rounds per_second;
    double kicks = 0;  // for each request, in the last round
    double calls = 0;
};

struct Contender {
    DiskServer server;
    std::unique_ptr<BlockDriver> driver;
    DiskContent* content;
    std::vector<Figures> figures;  // by load
};

enum Place : std::uint8_t { QemuThreads, QemuRing, OurFile, OurStore };

std::vector<BlockDriver::Load> all_loads() {
    std::vector<BlockDriver::Load> loads;
    for (const std::uint32_t type : {abi::kVirtioBlkTIn, abi::kVirtioBlkTOut}) {
        for (const std::uint16_t queues : std::array<std::uint16_t, 2>{1, kQueues}) {
            for (const std::uint16_t depth :
                 std::array<std::uint16_t, 3>{1, 32, BlockDriver::kDepthMax}) {
                loads.push_back({.type = type, .queues = queues, .depth = depth});
            }
        }
    }
    return loads;
}

std::string name_of(const BlockDriver::Load& load) {
    return std::string(load.type == abi::kVirtioBlkTIn ? "read " : "write ") +
           std::to_string(load.queues) + " x " + std::to_string(load.depth);
}

Result<void> measure(Contender& contender, const BlockDriver::Load& load, Figures& figures,
                     std::chrono::milliseconds time) {
    const double before = contender.server.cpu_seconds();
    const auto begin = std::chrono::steady_clock::now();
    const BlockDriver::Counts counts = TRY(contender.driver->run(load, *contender.content, time),
                                           contender.server.name(), ", ", name_of(load));
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
    const auto requests = static_cast<double>(counts.requests);
    figures.per_core.add(requests / std::max(contender.server.cpu_seconds() - before, 1e-6));
    figures.per_second.add(requests / wall.count());
    figures.kicks = static_cast<double>(counts.kicks) / requests;
    figures.calls = static_cast<double>(counts.calls) / requests;
    return {};
}

void print(std::span<const Contender> contenders, std::span<const BlockDriver::Load> loads) {
    std::printf(
        "\nthousand requests for a second of the server's processor time, median of the "
        "rounds (+- the quartiles)\n%-14s",
        "");
    for (const Contender& one : contenders) {
        std::printf(" %16s", one.server.name().c_str());
    }
    std::printf("   file   store   of the better daemon's, goal %.1f\n", kGoal);
    for (std::size_t i = 0; i < loads.size(); ++i) {
        std::printf("%-14s", name_of(loads[i]).c_str());
        for (const Contender& one : contenders) {
            const Rounds& rounds = one.figures[i].per_core;
            std::printf("   %8.1f +-%2.0f%%", rounds.median() / 1e3, rounds.spread_percent());
        }
        const auto of = [&](Place place) { return contenders[place].figures[i].per_core.median(); };
        const double qemu = std::max(of(QemuThreads), of(QemuRing));
        const double file = of(OurFile) / qemu;
        const double store = of(OurStore) / qemu;
        std::printf(" %6.2f  %6.2f   %s\n", file, store,
                    std::min(file, store) >= kGoal ? "reached"
                    : file >= kGoal                ? "store misses"
                    : store >= kGoal               ? "file misses"
                                                   : "missed");
    }
    std::printf("\nthousand requests a second, and kicks + calls for each request\n");
    for (std::size_t i = 0; i < loads.size(); ++i) {
        std::printf("%-14s", name_of(loads[i]).c_str());
        for (const Contender& one : contenders) {
            const Figures& figures = one.figures[i];
            std::printf(" %7.1f %4.2f+%4.2f", figures.per_second.median() / 1e3, figures.kicks,
                        figures.calls);
        }
        std::printf("\n");
    }
}

Result<std::vector<Contender>> start(const Options& options, const std::string& directory,
                                     DiskContent& file_content, DiskContent& store_content) {
    const std::string file = directory + "/disk";
    const Fd made(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!made || ::ftruncate(made.ref().number(), static_cast<off_t>(kDiskSize.value())) != 0) {
        return Error::from_errno(errno, "'" + file + "'");
    }
    const auto named = [&](const char* name, const char* socket) {
        return DiskServer::Options{
            .name = name, .socket = directory + "/" + socket, .queues = kQueues};
    };
    std::vector<DiskServer> servers;  // in the order of Place
    servers.push_back(TRY(DiskServer::start_qemu(named("daemon, threads", "threads"), options.qemu,
                                                 file, "threads")));
    servers.push_back(TRY(
        DiskServer::start_qemu(named("daemon, io_uring", "ring"), options.qemu, file, "io_uring")));
    servers.push_back(TRY(DiskServer::start_file(named("our file", "file"), file)));
    servers.push_back(TRY(DiskServer::start_store(named("our store", "store"), kDiskSize)));
    std::vector<Contender> contenders;
    for (DiskServer& server : servers) {
        auto driver = TRY(BlockDriver::connect(server.socket(), kQueues), server.name());
        contenders.push_back({.server = std::move(server),
                              .driver = std::move(driver),
                              .content = &file_content,
                              .figures = {}});
    }
    contenders[OurStore].content = &store_content;
    (void)TRY(contenders[OurFile].driver->fill(file_content), "filling the file");
    (void)TRY(contenders[OurStore].driver->fill(store_content), "filling the store");
    return contenders;
}

Result<void> run(const Options& options) {
    const Mapping pages = TRY(load_pages(options.data));
    if (pages.bytes().size() < kBlockBytes) {
        return Error(Code::InvalidArgument, "'" + options.data + "' has less than a page");
    }
    Scratch scratch;
    std::string pattern = "/dev/shm/vhost-user-iops-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
        return Error::from_errno(errno, "'" + pattern + "'");
    }
    scratch.path = pattern;
    DiskContent file_content(pages.bytes(), kDiskBlocks);
    DiskContent store_content(pages.bytes(), kDiskBlocks);
    std::vector<Contender> contenders =
        TRY(start(options, scratch.path, file_content, store_content));
    std::vector<BlockDriver::Load> loads = all_loads();
    std::erase_if(loads, [&](const BlockDriver::Load& load) {
        return !name_of(load).contains(options.only);
    });
    for (Contender& one : contenders) {
        one.figures.resize(loads.size());
    }
    for (int round = 0; round < options.rounds; ++round) {
        for (std::size_t i = 0; i < loads.size(); ++i) {
            for (Contender& one : contenders) {
                TRY(measure(one, loads[i], one.figures[i], options.time));
            }
        }
    }
    print(contenders, loads);
    return {};
}

bool parse(std::span<char*> words, Options& options) {
    const auto number = [](std::string_view text, int& into) {
        const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), into);
        return error == std::errc() && at == text.data() + text.size() && into > 0;
    };
    std::size_t at = 0;
    for (; at < words.size() && std::string_view(words[at]).starts_with("--"); ++at) {
        const std::string_view word = words[at];
        if (word == "--any-load") {
            options.at_any_load = true;
            continue;
        }
        if (++at == words.size()) {
            return false;
        }
        int value = 0;
        if (word == "--qemu") {
            options.qemu = words[at];
        } else if (word == "--only") {
            options.only = words[at];
        } else if (word == "--rounds" && number(words[at], value)) {
            options.rounds = value;
        } else if (word == "--ms" && number(words[at], value)) {
            options.time = std::chrono::milliseconds(value);
        } else {
            return false;
        }
    }
    if (at + 1 != words.size()) {
        return false;
    }
    options.data = words[at];
    return true;
}

int report(const Result<void>& done) {
    if (!done) {
        (void)std::fprintf(stderr, "vhost_user_iops: %s\n", done.error().message().c_str());
    }
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace pepita::bench

int main(int argc, char** argv) {
    using namespace pepita::bench;  // NOLINT(google-build-using-namespace): one subject.
    const std::span<char*> words = std::span(argv, static_cast<std::size_t>(argc)).subspan(1);
    if (!words.empty() && std::string_view(words[0]) == "serve") {
        return report(serve(words.subspan(1)));
    }
    Options options;
    double load = 0;
    if (!parse(words, options) || ::getloadavg(&load, 1) != 1) {
        (void)std::fprintf(stderr,
                           "usage: vhost_user_iops [--any-load] [--rounds N] [--ms N] [--qemu "
                           "PATH] [--only LOAD] FILE\n");
        return 2;
    }
    std::printf("load %.1f\n", load);
    if (load > kLoadMax && !options.at_any_load) {
        (void)std::fprintf(stderr, "vhost_user_iops: load over %.1f: --any-load to go on\n",
                           kLoadMax);
        return EXIT_FAILURE;
    }
    (void)::signal(SIGPIPE, SIG_IGN);
    return report(run(options));
}
