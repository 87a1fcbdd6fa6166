#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/snapshot_format.h"

namespace pepita::storage::zram {

/// Puts pages, in ascending order, into a snapshot file.
/// Thread: one at a time.
class SnapshotWriter {
public:
    /// Writes from the file's begin on, and reads what it wrote. The file outlives this.
    SnapshotWriter(FdRef file, Pages capacity, const std::optional<SnapshotBase>& base);

    // Errors: those of pwrite(2) and pread(2).

    Result<void> begin();
    Result<void> add(std::uint32_t page, PageView content);
    /// Nothing more comes.
    Result<void> finish();

private:
    // Where contents stand, in sets by a hash of what they are packed to. One that is not found any
    // more, because others took its place, is only written again.
    struct Known {
        std::uint64_t offset = 0;  // in the file
        std::uint32_t page = 0;
        std::uint16_t tag = 0;
        std::uint16_t size = 0;  // 0: none
    };
    static constexpr std::size_t kWays = 4;
    static constexpr std::size_t kKnownMax = std::size_t{1} << 18U;

    struct Run {
        std::uint32_t page = 0;
        std::uint32_t count = 0;
        std::uint8_t byte = 0;
    };

    Result<bool> is_known(const Known& known, std::span<const std::byte> content) const;
    Result<void> write(std::span<const std::byte> bytes);
    Result<void> end_run();
    Result<void> make_room();
    Result<void> end_section();

    FdRef file_;
    Pages capacity_;
    std::optional<SnapshotBase> base_;
    std::uint64_t offset_ = 0;  // what the section begins at
    std::vector<std::byte> section_;
    std::optional<Run> run_;
    std::vector<Known> known_;
    SnapshotEnd end_;
};

}  // namespace pepita::storage::zram
