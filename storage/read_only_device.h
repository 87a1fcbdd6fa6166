#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

namespace pepita::storage {

/// Another device, of which nothing is changed: requests that would are failed here.
class ReadOnlyDevice final : public BlockDevice {
public:
    explicit ReadOnlyDevice(std::unique_ptr<BlockDevice> device) : device_(std::move(device)) {}
    ~ReadOnlyDevice() override = default;

    Sectors capacity() const override { return device_->capacity(); }
    Access access() const override { return Access::ReadOnly; }
    Result<void> refresh() override { return device_->refresh(); }
    std::uint32_t depth() const override { return device_->depth(); }
    MergeLimits merge_limits() const override { return device_->merge_limits(); }
    void set_listener(OnComplete listener) override {
        listener_ = std::move(listener);
        device_->set_listener([this](std::span<const IoCompletion> done) {
            if (listener_) {
                listener_(done);
            }
        });
    }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override {
        device_->read(first, into, tag);
    }
    void write(Sectors /*first*/, std::span<const Segment> /*from*/, std::uint64_t tag) override {
        refuse(tag);
    }
    void flush(std::uint64_t tag) override { device_->flush(tag); }
    void discard(Sectors /*first*/, Sectors /*count*/, std::uint64_t tag) override { refuse(tag); }
    void write_zeroes(Sectors /*first*/, Sectors /*count*/, std::uint64_t tag) override {
        refuse(tag);
    }
    void submit() override { device_->submit(); }
    bool poll() override {
        const bool device_told = device_->poll();
        const std::vector<IoCompletion> refused = std::exchange(refused_, {});
        if (!refused.empty() && listener_) {
            listener_(refused);
        }
        return device_told || !refused.empty();
    }
    void drain() override {
        device_->drain();
        while (poll()) {}
    }

private:
    void refuse(std::uint64_t tag) { refused_.push_back({.tag = tag, .status = IoStatus::Failed}); }

    OnComplete listener_;
    std::vector<IoCompletion> refused_;
    std::unique_ptr<BlockDevice> device_;  // first to go: it tells nobody any more then
};

}  // namespace pepita::storage
