#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/memory.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "storage/read_only_device.h"
#include "storage/request_queue.h"
#include "storage/tag_set.h"
#include "storage/zram_device.h"
#include "storage/zram_store.h"
#include "test/bench/storage/bench.h"

// Whether merging pays: the same requests of 4 KiB, 32 in a batch, through a RequestQueue that
// merges and through one that does not, by turns. Processor time, the kernel's included.
//
// Usage: merge_bench DIRECTORY [direct]: a file of 64 MiB is made there, and a store in memory.

namespace {

using namespace pepita;           // NOLINT(google-build-using-namespace): one subject.
using namespace pepita::storage;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kPage = 4096;
constexpr std::size_t kBatch = 32;
constexpr std::size_t kSize = 64U << 20U;
constexpr int kRuns = 7;

/// A device that says how it wants to be merged.
class Limited final : public BlockDevice {
public:
    Limited(std::unique_ptr<BlockDevice> device, MergeLimits limits)
        : device_(std::move(device)), limits_(limits) {}
    Sectors capacity() const override { return device_->capacity(); }
    Access access() const override { return device_->access(); }
    std::uint32_t depth() const override { return device_->depth(); }
    MergeLimits merge_limits() const override { return limits_; }
    void set_listener(OnComplete listener) override { device_->set_listener(std::move(listener)); }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override {
        device_->read(first, into, tag);
    }
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override {
        device_->write(first, from, tag);
    }
    void flush(std::uint64_t tag) override { device_->flush(tag); }
    void discard(Sectors first, Sectors count, std::uint64_t tag) override {
        device_->discard(first, count, tag);
    }
    void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override {
        device_->write_zeroes(first, count, tag);
    }
    void submit() override { device_->submit(); }
    bool poll() override { return device_->poll(); }
    void drain() override { device_->drain(); }

private:
    std::unique_ptr<BlockDevice> device_;
    MergeLimits limits_;
};

enum class Order : std::uint8_t { Sequential, Random };

struct Bench {
    Bench(EventLoop& loop, std::unique_ptr<BlockDevice> device, MergeLimits limits)
        : queue(std::make_unique<Limited>(std::move(device), limits),
                {.loop = loop,
                 .tags = tags.queue(0),
                 .on_complete = [this](std::span<const IoCompletion> done) {
                     for (const IoCompletion& one : done) {
                         CHECK(one.status == IoStatus::Ok);
                         tags.queue(0).give_back(static_cast<Tag>(one.tag));
                     }
                 }}) {
        // Pages that do not touch, as a guest's or a ublk queue's: each is a segment of its own.
        std::mt19937_64 random(1);
        for (std::byte& byte : memory.bytes()) {
            byte = static_cast<std::byte>(random() % 64);
        }
    }
    double run(IoOperation operation, Order order) {
        return bench::speed_of(kSize, [&] {
            std::mt19937_64 random(2);
            std::uint64_t page = 0;
            for (std::size_t batch = 0; batch < kSize / kPage / kBatch; ++batch) {
                for (std::size_t i = 0; i < kBatch; ++i) {
                    const std::uint64_t at =
                        order == Order::Sequential ? page++ : random() % (kSize / kPage);
                    const BlockDevice::Segment segment =
                        memory.bytes().subspan(2 * i * kPage, kPage);
                    const std::optional<Tag> tag = tags.queue(0).take();
                    CHECK(tag.has_value());
                    queue.start(*tag, {.operation = operation,
                                       .first = Sectors(at * 8),
                                       .segments = {&segment, 1}});
                }
                queue.drain();
            }
        });
    }

    PageBuffer memory = *PageBuffer::create({.size = Bytes(2 * kBatch * kPage)});
    TagSet tags = *TagSet::create({.depth = kBatch});
    RequestQueue queue;
};

void compare(const char* name, Bench& merged, Bench& alone) {
    constexpr std::array operations{IoOperation::Write, IoOperation::Read};
    constexpr std::array orders{Order::Sequential, Order::Random};
    for (const IoOperation operation : operations) {
        for (const Order order : orders) {
            bench::Best with;
            bench::Best without;
            for (int run = 0; run < kRuns; ++run) {
                with.add(merged.run(operation, order));
                without.add(alone.run(operation, order));
            }
            std::printf("%-6s %-5s %-10s merged %6.0f MB/s  alone %6.0f MB/s  ratio %.2f\n", name,
                        std::string(name_of(operation)).c_str(),
                        order == Order::Sequential ? "sequential" : "random", with.best(),
                        without.best(), with.best() / without.best());
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::span<char*> arguments(argv, static_cast<std::size_t>(argc));
    if (arguments.size() < 2 || arguments.size() > 3) {
        (void)std::fputs("usage: merge_bench DIRECTORY [direct]\n", stderr);
        return 2;
    }
    const int direct = arguments.size() == 3 ? O_DIRECT : 0;
    const std::unique_ptr<EventLoop> loop = *EventLoop::create();
    const Fd file(::open(arguments[1], O_RDWR | O_TMPFILE | O_CLOEXEC | direct, 0600));
    CHECK(static_cast<bool>(file));
    CHECK(::posix_fallocate(file.ref().number(), 0, kSize) == 0);
    const auto open_disk = [&] {
        return *FileDevice::create(*duplicate(file.ref()), Access::ReadWrite, *loop);
    };
    const MergeLimits limits = open_disk()->merge_limits();
    Bench merged(*loop, open_disk(), limits);
    Bench alone(*loop, open_disk(), {});
    compare("file", merged, alone);
    const auto store = *ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 256_MiB);
    const auto volume = *store->create_volume({.name = "bench", .capacity = Pages(kSize / kPage)});
    Bench store_merged(*loop, std::make_unique<ZramDevice>(volume), limits);
    Bench store_alone(*loop, std::make_unique<ZramDevice>(volume), {});
    compare("store", store_merged, store_alone);
    return 0;
}
