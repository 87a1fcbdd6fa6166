#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/disk.h"

namespace pepita::storage {

/// A disk that is memory: a file of the page cache outlives its process, so a server may be killed.
class MappedDisk final : public Disk {
public:
    struct Options {
        Access access = Access::ReadWrite;
        std::uint64_t pages_max = std::numeric_limits<std::uint64_t>::max();  // then NoSpace
        std::atomic<std::uint64_t>* flushes = nullptr;  // counted here; outlives the disk
        bool is_null = false;                           // moves nothing: what serving alone costs
    };
    MappedDisk(Mapping memory, Options options)
        : memory_(std::move(memory)),
          options_(options),
          written_(memory_.bytes().size() / kPageSize.value() + 1) {}

    Sectors capacity() const override {
        return Sectors(memory_.bytes().size() / kSectorSize.value());
    }
    Access access() const override { return options_.access; }
    Result<std::unique_ptr<BlockDevice>> open(EventLoop& loop) override;

    std::span<std::byte> at(Sectors first, std::size_t size) const {
        return memory_.bytes().subspan(to_bytes(first).value(), size);
    }
    /// Whether the pages may be written; counts those that were not before.
    bool take(Sectors first, std::size_t size) {
        const std::uint64_t begin = to_bytes(first).value() / kPageSize.value();
        const std::uint64_t end = (to_bytes(first).value() + size - 1) / kPageSize.value();
        for (std::uint64_t page = begin; page <= end; ++page) {
            if (!written_[page].exchange(true) && pages_.fetch_add(1) >= options_.pages_max) {
                written_[page] = false;
                pages_.fetch_sub(1);
                return false;
            }
        }
        return true;
    }
    void give_back(Sectors first, Sectors count) {
        const std::uint64_t begin =
            (to_bytes(first).value() + kPageSize.value() - 1) / kPageSize.value();
        const std::uint64_t end = to_bytes(first + count).value() / kPageSize.value();
        for (std::uint64_t page = begin; page < end; ++page) {
            pages_ -= written_[page].exchange(false) ? 1 : 0;
        }
    }
    bool is_null() const { return options_.is_null; }
    void count_flush() {
        if (options_.flushes != nullptr) {
            ++*options_.flushes;
        }
    }

private:
    Mapping memory_;
    Options options_;
    std::vector<std::atomic<bool>> written_;
    std::atomic<std::uint64_t> pages_ = 0;
};

class MappedDevice final : public BlockDevice {
public:
    explicit MappedDevice(MappedDisk& disk) : disk_(disk) {}
    Sectors capacity() const override { return disk_.capacity(); }
    Access access() const override { return disk_.access(); }
    std::uint32_t depth() const override { return 4096; }
    void set_listener(OnComplete listener) override { listener_ = std::move(listener); }

    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override {
        const bool fits = is_within(disk_.capacity(), first, into);
        for (const Segment segment : into) {
            if (fits && !disk_.is_null()) {
                const std::span<const std::byte> from = disk_.at(first, segment.size());
                std::memcpy(segment.data(), from.data(), segment.size());
                first = first + Sectors(segment.size() / kSectorSize.value());
            }
        }
        finish(tag, fits ? IoStatus::Ok : IoStatus::Failed);
    }
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override {
        if (disk_.access() == Access::ReadOnly || !is_within(disk_.capacity(), first, from)) {
            finish(tag, IoStatus::Failed);
            return;
        }
        if (disk_.is_null()) {
            finish(tag, IoStatus::Ok);
            return;
        }
        for (const Segment segment : from) {
            if (!disk_.take(first, segment.size())) {
                finish(tag, IoStatus::NoSpace);
                return;
            }
            std::memcpy(disk_.at(first, segment.size()).data(), segment.data(), segment.size());
            first = first + Sectors(segment.size() / kSectorSize.value());
        }
        finish(tag, IoStatus::Ok);
    }
    void flush(std::uint64_t tag) override {
        disk_.count_flush();
        finish(tag, IoStatus::Ok);
    }
    void discard(Sectors first, Sectors count, std::uint64_t tag) override {
        write_zeroes(first, count, tag);
        if (done_.back().status == IoStatus::Ok) {
            disk_.give_back(first, count);
        }
    }
    void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override {
        const bool fits =
            disk_.access() == Access::ReadWrite && is_within(disk_.capacity(), first, count);
        if (fits) {
            const std::span<std::byte> into = disk_.at(first, to_bytes(count).value());
            std::memset(into.data(), 0, into.size());
        }
        finish(tag, fits ? IoStatus::Ok : IoStatus::Failed);
    }
    void submit() override {}
    bool poll() override {
        if (done_.empty()) {
            return false;
        }
        const std::vector<IoCompletion> done = std::exchange(done_, {});
        listener_(done);
        return true;
    }
    void drain() override {
        while (poll()) {}
    }

private:
    void finish(std::uint64_t tag, IoStatus status) {
        done_.push_back({.tag = tag, .status = status});
    }

    MappedDisk& disk_;
    OnComplete listener_;
    std::vector<IoCompletion> done_;
};

inline Result<std::unique_ptr<BlockDevice>> MappedDisk::open(EventLoop&) {
    return std::unique_ptr<BlockDevice>(std::make_unique<MappedDevice>(*this));
}

}  // namespace pepita::storage
