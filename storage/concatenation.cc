#include "storage/concatenation.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/file_device.h"
#include "storage/file_ring.h"

namespace pepita::storage {
namespace {

Result<std::vector<Fd>> without_empty(std::vector<Fd> files) {
    std::vector<Fd> parts;
    for (Fd& file : files) {
        if (TRY(file_size(file.ref())) != Bytes(0)) {
            parts.push_back(std::move(file));
        }
    }
    if (parts.empty()) {
        return Error(Code::InvalidArgument, "a disk of no bytes");
    }
    return parts;
}

Result<std::vector<std::unique_ptr<BlockDevice>>> open_all(std::vector<Fd> files, FileRing& ring) {
    std::vector<std::unique_ptr<BlockDevice>> parts;
    parts.reserve(files.size());
    for (Fd& file : files) {
        parts.push_back(TRY(FileDevice::create(std::move(file), Access::ReadOnly, ring)));
    }
    return parts;
}

class ConcatenationDisk final : public Disk {
public:
    ConcatenationDisk(std::vector<Fd> files, Sectors capacity)
        : files_(std::move(files)), capacity_(capacity) {}
    Sectors capacity() const override { return capacity_; }
    Access access() const override { return Access::ReadOnly; }
    Result<std::unique_ptr<BlockDevice>> open(EventLoop& loop) override {
        std::unique_ptr<FileRing> ring = TRY(FileRing::create(loop));
        std::vector<Fd> files;
        files.reserve(files_.size());
        for (const Fd& file : files_) {
            files.push_back(TRY(duplicate(file.ref())));
        }
        auto parts = TRY(open_all(std::move(files), *ring));
        return std::unique_ptr<BlockDevice>(
            std::make_unique<ConcatenationDevice>(std::move(parts), std::move(ring)));
    }

private:
    std::vector<Fd> files_;
    Sectors capacity_;
};

}  // namespace

ConcatenationDevice::ConcatenationDevice(std::vector<std::unique_ptr<BlockDevice>> parts,
                                         std::unique_ptr<FileRing> ring)
    : ring_(std::move(ring)) {
    CHECK(!parts.empty());
    depth_ = parts.front()->depth();
    for (std::unique_ptr<BlockDevice>& part : parts) {
        CHECK(part->capacity() != Sectors(0));
        part->set_listener([this](std::span<const IoCompletion> done) { on_part(done); });
        depth_ = std::min(depth_, part->depth());
        const Sectors size = part->capacity();
        parts_.push_back({.device = std::move(part), .first = capacity_});
        capacity_ = capacity_ + size;
    }
    slots_.resize(depth_);
    free_.resize(depth_);
    std::iota(free_.rbegin(), free_.rend(), 0U);
}

void ConcatenationDevice::read(Sectors first, std::span<const Segment> into, std::uint64_t tag) {
    if (!is_within(capacity_, first, into)) {
        done_.push_back({.tag = tag, .status = IoStatus::Failed});
        return;
    }
    CHECK(!free_.empty());
    const std::uint32_t index = free_.back();
    free_.pop_back();
    slots_[index] = {.tag = tag};
    auto part = std::prev(std::ranges::upper_bound(parts_, first, {}, &Part::first));
    SegmentCursor cursor(into);
    std::uint64_t at = to_bytes(first - part->first).value();
    while (!cursor.at_end()) {
        const std::uint64_t room = to_bytes(part->device->capacity()).value() - at;
        std::vector<Segment> pieces;
        std::uint64_t taken = 0;
        while (taken < room && !cursor.at_end()) {
            pieces.push_back(cursor.take(room - taken));
            taken += pieces.back().size();
        }
        ++slots_[index].left;
        part->device->read(Sectors(at / kSectorSize.value()), pieces, index);
        ++part;
        at = 0;
    }
}

void ConcatenationDevice::write(Sectors /*first*/, std::span<const Segment> /*from*/,
                                std::uint64_t tag) {
    done_.push_back({.tag = tag, .status = IoStatus::Failed});
}

void ConcatenationDevice::flush(std::uint64_t tag) {
    done_.push_back({.tag = tag, .status = IoStatus::Ok});  // nothing is ever written
}

void ConcatenationDevice::discard(Sectors /*first*/, Sectors /*count*/, std::uint64_t tag) {
    done_.push_back({.tag = tag, .status = IoStatus::Failed});
}

void ConcatenationDevice::write_zeroes(Sectors /*first*/, Sectors /*count*/, std::uint64_t tag) {
    done_.push_back({.tag = tag, .status = IoStatus::Failed});
}

void ConcatenationDevice::submit() {
    for (const Part& part : parts_) {
        part.device->submit();
    }
}

void ConcatenationDevice::on_part(std::span<const IoCompletion> done) {
    for (const IoCompletion& one : done) {
        const auto index = static_cast<std::uint32_t>(one.tag);
        Slot& slot = slots_[index];
        if (one.status != IoStatus::Ok) {
            slot.status = one.status;
        }
        if (--slot.left == 0) {
            done_.push_back({.tag = slot.tag, .status = slot.status});
            free_.push_back(index);
        }
    }
    if (!is_calling_) {  // from the loop
        (void)tell();
    }
}

bool ConcatenationDevice::tell() {
    const std::vector<IoCompletion> done = std::exchange(done_, {});
    if (!done.empty() && listener_) {
        listener_(done);
    }
    return !done.empty();
}

bool ConcatenationDevice::poll() {
    is_calling_ = true;
    for (const Part& part : parts_) {
        (void)part.device->poll();
    }
    is_calling_ = false;
    return tell();
}

void ConcatenationDevice::drain() {
    is_calling_ = true;
    for (const Part& part : parts_) {
        part.device->drain();
    }
    is_calling_ = false;
    while (tell()) {}
}

Result<std::shared_ptr<Disk>> concatenation_disk(std::vector<Fd> files) {
    std::vector<Fd> parts = TRY(without_empty(std::move(files)));
    Sectors capacity;
    for (const Fd& part : parts) {
        capacity = capacity + TRY(FileDevice::check(part.ref(), Access::ReadOnly));
    }
    return std::shared_ptr<Disk>(std::make_shared<ConcatenationDisk>(std::move(parts), capacity));
}

Result<std::unique_ptr<BlockDevice>> concatenate_files(std::vector<Fd> files, FileRing& ring) {
    auto parts = TRY(open_all(TRY(without_empty(std::move(files))), ring));
    return std::unique_ptr<BlockDevice>(
        std::make_unique<ConcatenationDevice>(std::move(parts), nullptr));
}

}  // namespace pepita::storage
