#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_store.h"

namespace pepita::storage {

/// A volume of a compressed store as a disk. Requests are done while they are asked for; poll()
/// tells of it. There is nothing to flush: what is written is where it will stay.
class ZramDevice final : public BlockDevice {
public:
    static constexpr std::uint32_t kDepth = 4096;

    explicit ZramDevice(std::shared_ptr<ZramVolume> volume, Access access = Access::ReadWrite)
        : volume_(std::move(volume)), access_(access) {}
    ~ZramDevice() override = default;

    Sectors capacity() const override { return to_sectors(volume_->capacity()); }
    Access access() const override { return access_; }
    std::uint32_t depth() const override { return kDepth; }
    void set_listener(OnComplete listener) override { listener_ = std::move(listener); }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override;
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override;
    void flush(std::uint64_t tag) override { finish(tag, IoStatus::Ok); }
    void discard(Sectors first, Sectors count, std::uint64_t tag) override;
    void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override;
    void submit() override {}
    bool poll() override;
    void drain() override;

private:
    IoStatus read_now(std::uint64_t offset, std::span<const Segment> into) const;
    IoStatus write_now(std::uint64_t offset, std::span<const Segment> from);
    template <typename OnWhole>
    IoStatus clear_now(Sectors first, Sectors count, const OnWhole& on_whole);
    void finish(std::uint64_t tag, IoStatus status);

    std::shared_ptr<ZramVolume> volume_;
    Access access_;
    OnComplete listener_;
    std::vector<IoCompletion> done_;   // and nobody told yet
    std::vector<IoCompletion> spare_;  // empty; keeps its room
};

/// Writes what a file holds, where it is not a hole, to the beginning of an empty volume.
/// Thread: the caller's, which waits for it.
/// Errors: InvalidArgument where the file is longer than the volume; pread(2)'s;
/// ResourceExhausted where the store is too small for it.
Result<void> copy_into(ZramVolume& volume, FdRef file);

}  // namespace pepita::storage
