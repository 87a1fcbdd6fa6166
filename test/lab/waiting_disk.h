#pragma once

#include <fcntl.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "storage/ublk/disk.h"

namespace pepita::storage {

/// A file that is read and written through a ring of its own, so completions come from the event
/// loop. Stands in for FileDisk: it neither discards nor writes zeroes.
class WaitingDisk final : public ublk::Disk {
public:
    WaitingDisk(std::string path, Sectors capacity) : path_(std::move(path)), capacity_(capacity) {}
    Sectors capacity() const override { return capacity_; }
    Access access() const override { return Access::ReadWrite; }
    Result<std::unique_ptr<ublk::BlockDevice>> open(EventLoop& loop) override;

private:
    std::string path_;
    Sectors capacity_;
};

class WaitingDevice final : public ublk::BlockDevice {
public:
    explicit WaitingDevice(std::unique_ptr<FileDevice> file) : file_(std::move(file)) {}
    std::uint32_t depth() const override { return file_->depth(); }
    void set_listener(OnComplete listener) override {
        listener_ = std::move(listener);
        file_->set_listener([this](std::span<const IoCompletion> done) { listener_(done); });
    }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override {
        file_->read(first, into, tag);
    }
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override {
        file_->write(first, from, tag);
    }
    void flush(std::uint64_t tag) override { file_->flush(tag); }
    void discard(Sectors, Sectors, std::uint64_t tag) override { refuse(tag); }
    void write_zeroes(Sectors, Sectors, std::uint64_t tag) override { refuse(tag); }
    void submit() override { file_->submit(); }
    bool poll() override {
        const std::vector<IoCompletion> done = std::exchange(refused_, {});
        if (!done.empty()) {
            listener_(done);
        }
        return !done.empty();
    }
    void drain() override {
        (void)poll();
        file_->drain();
    }

private:
    void refuse(std::uint64_t tag) {
        refused_.push_back({.tag = tag, .status = IoStatus::Unsupported});
    }

    OnComplete listener_;
    std::vector<IoCompletion> refused_;
    std::unique_ptr<FileDevice> file_;
};

inline Result<std::unique_ptr<ublk::BlockDevice>> WaitingDisk::open(EventLoop& loop) {
    Fd file = TRY(open_file(path_.c_str(), O_RDWR));
    return std::unique_ptr<ublk::BlockDevice>(std::make_unique<WaitingDevice>(
        TRY(FileDevice::create(std::move(file), Access::ReadWrite, loop))));
}

}  // namespace pepita::storage
