#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/snapshot_format.h"

namespace pepita::storage::zram {

/// A record of a snapshot that is sound in itself: of the kind that it says, and its pages lie
/// behind those of all records before and below the snapshot's capacity. Whether `content` is a
/// page, or `original` has one, is the caller's to see.
struct SnapshotRecord {
    RecordKind kind = RecordKind::Raw;
    Pages page;
    std::uint32_t count = 1;             // pages; more than 1 for Fill only
    std::uint8_t byte = 0;               // for Fill
    Pages original;                      // for Copy; below `page`
    std::span<const std::byte> content;  // for Raw and Packed; until the next call
};

/// Takes a snapshot file apart, and believes nothing in it.
/// Thread: one at a time.
class SnapshotReader {
public:
    /// The file outlives this. Errors: as snapshot_capacity().
    static Result<SnapshotReader> open(FdRef file);

    Pages capacity() const { return capacity_; }
    /// None: the snapshot is a disk by itself.
    const std::optional<SnapshotBase>& base() const { return base_; }

    /// The next record, or none when the file has come to its sound end.
    /// Errors: DataLoss, naming the place; read(2)'s.
    Result<std::optional<SnapshotRecord>> next();

private:
    SnapshotReader(FdRef file, const SnapshotHeader& header);
    Result<bool> read_section();
    Result<void> check_end(std::span<const std::byte> body) const;
    Result<SnapshotRecord> parse(const Record& record);
    template <typename T>
    std::optional<T> take();
    Error damaged(const char* what) const;

    FdRef file_;
    Pages capacity_;
    std::optional<SnapshotBase> base_;
    std::uint64_t offset_ = sizeof(SnapshotHeader);
    std::vector<std::byte> section_;
    std::span<const std::byte> rest_;  // of section_: records not yet given
    std::uint64_t next_page_ = 0;
    SnapshotEnd seen_;
};

}  // namespace pepita::storage::zram
