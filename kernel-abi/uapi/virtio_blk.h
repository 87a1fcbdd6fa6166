#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

/// The block device. Source: virtio 1.2 §5.2.
namespace pepita::abi {

inline constexpr std::uint64_t kVirtioBlkFSizeMax = virtio_feature(1);
inline constexpr std::uint64_t kVirtioBlkFSegMax = virtio_feature(2);
inline constexpr std::uint64_t kVirtioBlkFReadOnly = virtio_feature(5);
inline constexpr std::uint64_t kVirtioBlkFBlkSize = virtio_feature(6);
inline constexpr std::uint64_t kVirtioBlkFFlush = virtio_feature(9);
inline constexpr std::uint64_t kVirtioBlkFMq = virtio_feature(12);
inline constexpr std::uint64_t kVirtioBlkFDiscard = virtio_feature(13);
inline constexpr std::uint64_t kVirtioBlkFWriteZeroes = virtio_feature(14);

/// §5.2.4. All little-endian; what no acked feature stands for is 0.
struct VirtioBlkConfig {
    std::uint64_t capacity;  // in 512-byte sectors
    std::uint32_t size_max;
    std::uint32_t seg_max;
    std::uint16_t cylinders;
    std::uint8_t heads;
    std::uint8_t sectors;
    std::uint32_t blk_size;
    std::uint8_t physical_block_exp;
    std::uint8_t alignment_offset;
    std::uint16_t min_io_size;
    std::uint32_t opt_io_size;
    std::uint8_t writeback;
    std::uint8_t unused0;
    std::uint16_t num_queues;
    std::uint32_t max_discard_sectors;
    std::uint32_t max_discard_seg;
    std::uint32_t discard_sector_alignment;
    std::uint32_t max_write_zeroes_sectors;
    std::uint32_t max_write_zeroes_seg;
    std::uint8_t write_zeroes_may_unmap;
    std::uint8_t unused1[3];  // NOLINT(*-avoid-c-arrays): a layout
};
// The specification goes on with secure erase, which we do not offer. The padding reads as 0.
static_assert(sizeof(VirtioBlkConfig) == 64);
static_assert(offsetof(VirtioBlkConfig, size_max) == 8);
static_assert(offsetof(VirtioBlkConfig, seg_max) == 12);
static_assert(offsetof(VirtioBlkConfig, blk_size) == 20);
static_assert(offsetof(VirtioBlkConfig, writeback) == 32);
static_assert(offsetof(VirtioBlkConfig, num_queues) == 34);
static_assert(offsetof(VirtioBlkConfig, max_discard_sectors) == 36);
static_assert(offsetof(VirtioBlkConfig, write_zeroes_may_unmap) == 56);

/// §5.2.6: what a request begins with. Data follows, and last a status byte from the device.
struct VirtioBlkRequestHeader {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
};
static_assert(sizeof(VirtioBlkRequestHeader) == 16);
static_assert(offsetof(VirtioBlkRequestHeader, sector) == 8);

inline constexpr std::uint32_t kVirtioBlkTIn = 0;
inline constexpr std::uint32_t kVirtioBlkTOut = 1;
inline constexpr std::uint32_t kVirtioBlkTFlush = 4;
inline constexpr std::uint32_t kVirtioBlkTGetId = 8;
inline constexpr std::uint32_t kVirtioBlkTDiscard = 11;
inline constexpr std::uint32_t kVirtioBlkTWriteZeroes = 13;

/// What follows the header of a Discard or WriteZeroes: one or more of these.
struct VirtioBlkRange {
    std::uint64_t sector;
    std::uint32_t sectors;
    std::uint32_t flags;
};
static_assert(sizeof(VirtioBlkRange) == 16);
static_assert(offsetof(VirtioBlkRange, sectors) == 8);
static_assert(offsetof(VirtioBlkRange, flags) == 12);

/// VirtioBlkRange::flags, of WriteZeroes only; all other bits are reserved.
inline constexpr std::uint32_t kVirtioBlkRangeUnmap = 1;

inline constexpr std::size_t kVirtioBlkIdBytes = 20;

enum class VirtioBlkStatus : std::uint8_t { Ok = 0, IoError = 1, Unsupported = 2 };

}  // namespace pepita::abi
