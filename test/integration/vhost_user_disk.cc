#include <signal.h>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/vhost_user_block.h"
#include "test/support/growing_disk.h"

// Serves FILE, slowly, so that whoever kills this finds requests in flight, as vhost-user-blk at
// SOCKET with QUEUES queues, until SIGTERM. The disk has MIB; each SIGHUP doubles it. Says "ready"
// once front ends may connect, and "resized" after a SIGHUP.

namespace {

using namespace pepita;  // NOLINT(google-build-using-namespace): one subject.

constexpr std::uint64_t kSectorsPerMebibyte = 2048;
constexpr Sectors kLimit{1024 * kSectorsPerMebibyte};
constexpr std::chrono::milliseconds kDelay{30};

/// Begins writes late: those that a kill finds in flight did not reach the file.
class SlowDevice final : public storage::BlockDevice {
public:
    SlowDevice(EventLoop& loop, std::unique_ptr<storage::BlockDevice> device)
        : loop_(loop), device_(std::move(device)) {}

    Sectors capacity() const override { return device_->capacity(); }
    storage::Access access() const override { return device_->access(); }
    std::uint32_t depth() const override { return device_->depth(); }
    void set_listener(OnComplete listener) override { device_->set_listener(std::move(listener)); }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override {
        device_->read(first, into, tag);
    }
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override {
        asked_.push_back({first, {from.begin(), from.end()}, tag});
    }
    void flush(std::uint64_t tag) override { device_->flush(tag); }
    void discard(Sectors first, Sectors count, std::uint64_t tag) override {
        device_->discard(first, count, tag);
    }
    void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override {
        device_->write_zeroes(first, count, tag);
    }
    bool poll() override { return device_->poll(); }
    void submit() override {
        device_->submit();
        if (!asked_.empty() && !timer_is_set_) {
            timer_is_set_ = true;
            timer_ = loop_.after(kDelay, [this] { begin(); });
        }
    }
    void drain() override {
        do {
            begin();
            device_->drain();
        } while (!asked_.empty());
    }

private:
    struct Write {
        Sectors first;
        std::vector<Segment> from;
        std::uint64_t tag;
    };

    void begin() {
        timer_is_set_ = false;
        for (const Write& write : std::exchange(asked_, {})) {
            device_->write(write.first, write.from, write.tag);
        }
        device_->submit();
        while (device_->poll()) {}
    }

    EventLoop& loop_;
    std::unique_ptr<storage::BlockDevice> device_;
    std::vector<Write> asked_;
    bool timer_is_set_ = false;
    EventLoop::Timer timer_;
};

class SlowDisk final : public storage::Disk {
public:
    explicit SlowDisk(std::shared_ptr<storage::Disk> disk) : disk_(std::move(disk)) {}
    Sectors capacity() const override { return disk_->capacity(); }
    storage::Access access() const override { return disk_->access(); }
    Result<std::unique_ptr<storage::BlockDevice>> open(EventLoop& loop) override {
        return std::make_unique<SlowDevice>(loop, TRY(disk_->open(loop)));
    }

private:
    std::shared_ptr<storage::Disk> disk_;
};

Result<void> serve(const std::string& file, const std::string& socket, std::uint16_t queues,
                   Sectors capacity, const sigset_t& signals) {
    const auto disk = TRY(test::GrowingDisk::open_file_at(file, capacity, kLimit));
    const auto server = TRY(storage::VhostUserBlock::start(
        std::make_shared<SlowDisk>(disk),
        {.socket = socket, .serial = "pepita-test", .queues = queues}));
    std::puts("ready");
    int signal = 0;
    while (::sigwait(&signals, &signal) == 0 && signal == SIGHUP) {
        disk->resize(Sectors(disk->capacity().value() * 2));
        server->capacity_changed();
        std::puts("resized");
    }
    server->stop();
    return {};
}

std::uint16_t number(const char* text) {
    std::uint16_t value = 0;
    const std::string digits(text);
    (void)std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
}

}  // namespace

int main(int argc, char** argv) {
    const std::span arguments(argv, static_cast<std::size_t>(argc));
    if (argc != 5) {
        (void)std::fputs("usage: vhost-user-disk FILE SOCKET QUEUES MIB\n", stderr);
        return EXIT_FAILURE;
    }
    (void)std::setvbuf(stdout, nullptr, _IOLBF, 0);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::sigaddset(&signals, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    (void)::signal(SIGPIPE, SIG_IGN);
    const auto served = serve(arguments[1], arguments[2], number(arguments[3]),
                              Sectors(number(arguments[4]) * kSectorsPerMebibyte), signals);
    if (!served) {
        log::error("disk not served", {{"error", served.error().message()}});
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
