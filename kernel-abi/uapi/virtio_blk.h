#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

/// The block device.
/// A comment behind a name gives the Linux that brought it; a name without one is in Linux 6.1.
/// Source: virtio 1.3 §5.2; Linux 7.3 include/uapi/linux/virtio_blk.h.
namespace pepita::abi {

inline constexpr std::uint64_t kVirtioBlkFBarrier = virtio_feature(0);  // before virtio 1.0
inline constexpr std::uint64_t kVirtioBlkFSizeMax = virtio_feature(1);
inline constexpr std::uint64_t kVirtioBlkFSegMax = virtio_feature(2);
inline constexpr std::uint64_t kVirtioBlkFGeometry = virtio_feature(4);
inline constexpr std::uint64_t kVirtioBlkFReadOnly = virtio_feature(5);
inline constexpr std::uint64_t kVirtioBlkFBlkSize = virtio_feature(6);
inline constexpr std::uint64_t kVirtioBlkFScsi = virtio_feature(7);  // before virtio 1.0
inline constexpr std::uint64_t kVirtioBlkFFlush = virtio_feature(9);
inline constexpr std::uint64_t kVirtioBlkFTopology = virtio_feature(10);
inline constexpr std::uint64_t kVirtioBlkFConfigWce = virtio_feature(11);
inline constexpr std::uint64_t kVirtioBlkFMq = virtio_feature(12);
inline constexpr std::uint64_t kVirtioBlkFDiscard = virtio_feature(13);
inline constexpr std::uint64_t kVirtioBlkFWriteZeroes = virtio_feature(14);
inline constexpr std::uint64_t kVirtioBlkFSecureErase = virtio_feature(16);
inline constexpr std::uint64_t kVirtioBlkFZoned = virtio_feature(17);  // 6.3

/// §5.2.4. All little-endian; a field whose feature is not negotiated, and the padding, are 0.
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

/// What follows VirtioBlkConfig without its padding, from byte kVirtioBlkMoreConfigOffset on. A
/// device that offers neither secure erase nor zones ends before it.
struct VirtioBlkMoreConfig {
    std::uint32_t max_secure_erase_sectors;
    std::uint32_t max_secure_erase_seg;
    std::uint32_t secure_erase_sector_alignment;
    std::uint32_t zone_sectors;  // from here on since Linux 6.3
    std::uint32_t max_open_zones;
    std::uint32_t max_active_zones;
    std::uint32_t max_append_sectors;
    std::uint32_t write_granularity;
    std::uint8_t model;       // kVirtioBlkZ...
    std::uint8_t unused2[3];  // NOLINT(*-avoid-c-arrays): a layout
};
inline constexpr std::size_t kVirtioBlkMoreConfigOffset = 60;

inline constexpr std::uint8_t kVirtioBlkZNone = 0;         // 6.3
inline constexpr std::uint8_t kVirtioBlkZHostManaged = 1;  // 6.3
inline constexpr std::uint8_t kVirtioBlkZHostAware = 2;    // 6.3

/// §5.2.6: what a request begins with. Data follows, and last a status byte from the device.
struct VirtioBlkRequestHeader {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
};

inline constexpr std::uint32_t kVirtioBlkTIn = 0;
inline constexpr std::uint32_t kVirtioBlkTOut = 1;
inline constexpr std::uint32_t kVirtioBlkTScsiCommand = 2;  // before virtio 1.0
inline constexpr std::uint32_t kVirtioBlkTFlush = 4;
inline constexpr std::uint32_t kVirtioBlkTGetId = 8;
inline constexpr std::uint32_t kVirtioBlkTDiscard = 11;
inline constexpr std::uint32_t kVirtioBlkTWriteZeroes = 13;
inline constexpr std::uint32_t kVirtioBlkTSecureErase = 14;
inline constexpr std::uint32_t kVirtioBlkTZoneAppend = 15;        // 6.3
inline constexpr std::uint32_t kVirtioBlkTZoneReport = 16;        // 6.3
inline constexpr std::uint32_t kVirtioBlkTZoneOpen = 18;          // 6.3
inline constexpr std::uint32_t kVirtioBlkTZoneClose = 20;         // 6.3
inline constexpr std::uint32_t kVirtioBlkTZoneFinish = 22;        // 6.3
inline constexpr std::uint32_t kVirtioBlkTZoneReset = 24;         // 6.3
inline constexpr std::uint32_t kVirtioBlkTZoneResetAll = 26;      // 6.3
inline constexpr std::uint32_t kVirtioBlkTBarrier = 0x8000'0000;  // a bit, before virtio 1.0

/// What follows the header of a Discard or WriteZeroes: one or more of these.
struct VirtioBlkRange {
    std::uint64_t sector;
    std::uint32_t sectors;
    std::uint32_t flags;
};

/// VirtioBlkRange::flags, of WriteZeroes only; all other bits are reserved.
inline constexpr std::uint32_t kVirtioBlkRangeUnmap = 1;

inline constexpr std::size_t kVirtioBlkIdBytes = 20;

enum class VirtioBlkStatus : std::uint8_t {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
    ZoneInvalidCommand = 3,  // these since Linux 6.3
    ZoneUnalignedWritePointer = 4,
    ZoneOpenResource = 5,
    ZoneActiveResource = 6,
};

/// What a ZONE_REPORT answers: this, then a VirtioBlkZone for each. Since Linux 6.3.
struct VirtioBlkZoneReport {
    std::uint64_t nr_zones;
    std::uint8_t reserved[56];  // NOLINT(*-avoid-c-arrays): a layout
};

/// All in sectors. Since Linux 6.3.
struct VirtioBlkZone {
    std::uint64_t capacity;
    std::uint64_t start;
    std::uint64_t write_pointer;
    std::uint8_t type;          // kVirtioBlkZt...
    std::uint8_t state;         // kVirtioBlkZs...
    std::uint8_t reserved[38];  // NOLINT(*-avoid-c-arrays): a layout
};

inline constexpr std::uint8_t kVirtioBlkZtConventional = 1;         // 6.3
inline constexpr std::uint8_t kVirtioBlkZtSequentialRequired = 2;   // 6.3
inline constexpr std::uint8_t kVirtioBlkZtSequentialPreferred = 3;  // 6.3

inline constexpr std::uint8_t kVirtioBlkZsNotWritePointer = 0;  // 6.3
inline constexpr std::uint8_t kVirtioBlkZsEmpty = 1;            // 6.3
inline constexpr std::uint8_t kVirtioBlkZsImplicitlyOpen = 2;   // 6.3
inline constexpr std::uint8_t kVirtioBlkZsExplicitlyOpen = 3;   // 6.3
inline constexpr std::uint8_t kVirtioBlkZsClosed = 4;           // 6.3
inline constexpr std::uint8_t kVirtioBlkZsReadOnly = 13;        // 6.3
inline constexpr std::uint8_t kVirtioBlkZsFull = 14;            // 6.3
inline constexpr std::uint8_t kVirtioBlkZsOffline = 15;         // 6.3

}  // namespace pepita::abi
