#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/file_device.h"

namespace pepita::test {

/// A sparse file of which a disk shows as much as it was told to. Thread: any.
class GrowingDisk final : public storage::Disk {
public:
    static Result<std::shared_ptr<GrowingDisk>> open_file_at(const std::string& path,
                                                             Sectors capacity, Sectors limit) {
        Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (!file ||
            ::ftruncate(file.ref().number(), static_cast<off_t>(to_bytes(limit).value())) != 0) {
            return Error::from_errno(errno, "disk '" + path + "'");
        }
        return std::shared_ptr<GrowingDisk>(new GrowingDisk(std::move(file), capacity));
    }

    Sectors capacity() const override { return Sectors(sectors_.load()); }
    storage::Access access() const override { return storage::Access::ReadWrite; }
    void resize(Sectors capacity) { sectors_ = capacity.value(); }
    Result<std::unique_ptr<storage::BlockDevice>> open(EventLoop& loop) override {
        Fd file = TRY(duplicate(file_.ref()));
        return std::make_unique<Door>(
            *this, TRY(storage::FileDevice::create(std::move(file), access(), loop)));
    }

private:
    class Door final : public storage::BlockDevice {
    public:
        Door(const GrowingDisk& disk, std::unique_ptr<storage::BlockDevice> file)
            : disk_(disk), file_(std::move(file)) {}
        Sectors capacity() const override { return disk_.capacity(); }
        storage::Access access() const override { return disk_.access(); }
        std::uint32_t depth() const override { return file_->depth(); }
        void set_listener(OnComplete listener) override {
            file_->set_listener(std::move(listener));
        }
        void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override {
            file_->read(first, into, tag);
        }
        void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override {
            file_->write(first, from, tag);
        }
        void flush(std::uint64_t tag) override { file_->flush(tag); }
        void discard(Sectors first, Sectors count, std::uint64_t tag) override {
            file_->discard(first, count, tag);
        }
        void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override {
            file_->write_zeroes(first, count, tag);
        }
        void submit() override { file_->submit(); }
        bool poll() override { return file_->poll(); }
        void drain() override { file_->drain(); }

    private:
        const GrowingDisk& disk_;
        std::unique_ptr<storage::BlockDevice> file_;
    };

    GrowingDisk(Fd file, Sectors capacity) : file_(std::move(file)), sectors_(capacity.value()) {}

    Fd file_;
    std::atomic<std::uint64_t> sectors_;
};

}  // namespace pepita::test
