#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/file_ring.h"
#include "storage/segment_cursor.h"

namespace pepita::storage {

/// Read-only devices as one, in their order. A request goes to the part that holds it, or in pieces
/// to several; it is done when all of them are.
class ConcatenationDevice final : public BlockDevice {
public:
    /// `ring` is what the parts use, if they share one. No part is empty, and there is one at
    /// least.
    ConcatenationDevice(std::vector<std::unique_ptr<BlockDevice>> parts,
                        std::unique_ptr<FileRing> ring);
    ~ConcatenationDevice() override = default;

    Sectors capacity() const override { return capacity_; }
    Access access() const override { return Access::ReadOnly; }
    std::uint32_t depth() const override { return depth_; }
    MergeLimits merge_limits() const override { return parts_.front().device->merge_limits(); }
    void set_listener(OnComplete listener) override { listener_ = std::move(listener); }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override;
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override;
    void flush(std::uint64_t tag) override;
    void discard(Sectors first, Sectors count, std::uint64_t tag) override;
    void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override;
    void submit() override;
    bool poll() override;
    void drain() override;

private:
    struct Part {
        std::unique_ptr<BlockDevice> device;
        Sectors first;
    };
    /// A request; its index is its tag in the parts.
    struct Slot {
        std::uint64_t tag = 0;
        std::uint32_t left = 0;  // pieces
        IoStatus status = IoStatus::Ok;
    };

    void on_part(std::span<const IoCompletion> done);
    bool tell();

    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_;
    std::vector<IoCompletion> done_;
    OnComplete listener_;
    bool is_calling_ = false;  // poll() or drain() will tell
    Sectors capacity_;
    std::uint32_t depth_ = 0;
    std::unique_ptr<FileRing> ring_;
    std::vector<Part> parts_;  // first to go: they report to the slots
};

/// Files as one read-only disk, in their order; empty ones are nothing. Each door has one io_uring
/// for all of them. Errors: FileDevice::create()'s; InvalidArgument where all are empty.
Result<std::shared_ptr<Disk>> concatenation_disk(std::vector<Fd> files);

/// The same by one ring that outlives the device, which other devices may use too.
Result<std::unique_ptr<BlockDevice>> concatenate_files(std::vector<Fd> files, FileRing& ring);

}  // namespace pepita::storage
