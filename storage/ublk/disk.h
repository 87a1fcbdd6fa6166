#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

// Stands in for storage/disk.h and what storage/block_device.h is about to get.
namespace pepita::storage::ublk {

class BlockDevice {
public:
    using Segment = std::span<std::byte>;
    using OnComplete = std::move_only_function<void(std::span<const IoCompletion>)>;

    BlockDevice() = default;
    BlockDevice(const BlockDevice&) = delete;
    BlockDevice& operator=(const BlockDevice&) = delete;
    BlockDevice(BlockDevice&&) = delete;
    BlockDevice& operator=(BlockDevice&&) = delete;
    virtual ~BlockDevice() = default;
    virtual std::uint32_t depth() const = 0;
    virtual void set_listener(OnComplete listener) = 0;
    virtual void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) = 0;
    virtual void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) = 0;
    virtual void flush(std::uint64_t tag) = 0;
    virtual void discard(Sectors first, Sectors count, std::uint64_t tag) = 0;
    virtual void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) = 0;
    virtual void submit() = 0;
    virtual bool poll() = 0;
    virtual void drain() = 0;
};

class Disk {
public:
    Disk() = default;
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    Disk(Disk&&) = delete;
    Disk& operator=(Disk&&) = delete;
    virtual ~Disk() = default;
    virtual Sectors capacity() const = 0;
    virtual Access access() const = 0;
    virtual Result<std::unique_ptr<BlockDevice>> open(EventLoop& loop) = 0;
};

}  // namespace pepita::storage::ublk
