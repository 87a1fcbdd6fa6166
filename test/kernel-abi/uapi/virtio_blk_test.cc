#include "kernel-abi/uapi/virtio_blk.h"

#include <cstddef>

#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtioBlkFBarrier == virtio_feature(VIRTIO_BLK_F_BARRIER));
static_assert(kVirtioBlkFSizeMax == virtio_feature(VIRTIO_BLK_F_SIZE_MAX));
static_assert(kVirtioBlkFSegMax == virtio_feature(VIRTIO_BLK_F_SEG_MAX));
static_assert(kVirtioBlkFGeometry == virtio_feature(VIRTIO_BLK_F_GEOMETRY));
static_assert(kVirtioBlkFReadOnly == virtio_feature(VIRTIO_BLK_F_RO));
static_assert(kVirtioBlkFBlkSize == virtio_feature(VIRTIO_BLK_F_BLK_SIZE));
static_assert(kVirtioBlkFScsi == virtio_feature(VIRTIO_BLK_F_SCSI));
static_assert(kVirtioBlkFFlush == virtio_feature(VIRTIO_BLK_F_FLUSH));
static_assert(kVirtioBlkFFlush == virtio_feature(VIRTIO_BLK_F_WCE));
static_assert(kVirtioBlkFTopology == virtio_feature(VIRTIO_BLK_F_TOPOLOGY));
static_assert(kVirtioBlkFConfigWce == virtio_feature(VIRTIO_BLK_F_CONFIG_WCE));
static_assert(kVirtioBlkFMq == virtio_feature(VIRTIO_BLK_F_MQ));
static_assert(kVirtioBlkFDiscard == virtio_feature(VIRTIO_BLK_F_DISCARD));
static_assert(kVirtioBlkFWriteZeroes == virtio_feature(VIRTIO_BLK_F_WRITE_ZEROES));
static_assert(kVirtioBlkFSecureErase == virtio_feature(VIRTIO_BLK_F_SECURE_ERASE));
static_assert(kVirtioBlkFZoned == virtio_feature(VIRTIO_BLK_F_ZONED));

static_assert(kVirtioBlkTIn == VIRTIO_BLK_T_IN);
static_assert(kVirtioBlkTOut == VIRTIO_BLK_T_OUT);
static_assert(kVirtioBlkTScsiCommand == VIRTIO_BLK_T_SCSI_CMD);
static_assert(kVirtioBlkTFlush == VIRTIO_BLK_T_FLUSH);
static_assert(kVirtioBlkTGetId == VIRTIO_BLK_T_GET_ID);
static_assert(kVirtioBlkTDiscard == VIRTIO_BLK_T_DISCARD);
static_assert(kVirtioBlkTWriteZeroes == VIRTIO_BLK_T_WRITE_ZEROES);
static_assert(kVirtioBlkTSecureErase == VIRTIO_BLK_T_SECURE_ERASE);
static_assert(kVirtioBlkTZoneAppend == VIRTIO_BLK_T_ZONE_APPEND);
static_assert(kVirtioBlkTZoneReport == VIRTIO_BLK_T_ZONE_REPORT);
static_assert(kVirtioBlkTZoneOpen == VIRTIO_BLK_T_ZONE_OPEN);
static_assert(kVirtioBlkTZoneClose == VIRTIO_BLK_T_ZONE_CLOSE);
static_assert(kVirtioBlkTZoneFinish == VIRTIO_BLK_T_ZONE_FINISH);
static_assert(kVirtioBlkTZoneReset == VIRTIO_BLK_T_ZONE_RESET);
static_assert(kVirtioBlkTZoneResetAll == VIRTIO_BLK_T_ZONE_RESET_ALL);
static_assert(kVirtioBlkTBarrier == VIRTIO_BLK_T_BARRIER);
static_assert(kVirtioBlkRangeUnmap == VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
static_assert(kVirtioBlkIdBytes == VIRTIO_BLK_ID_BYTES);
static_assert(kVirtioBlkZNone == VIRTIO_BLK_Z_NONE);
static_assert(kVirtioBlkZHostManaged == VIRTIO_BLK_Z_HM);
static_assert(kVirtioBlkZHostAware == VIRTIO_BLK_Z_HA);
static_assert(kVirtioBlkZtConventional == VIRTIO_BLK_ZT_CONV);
static_assert(kVirtioBlkZtSequentialRequired == VIRTIO_BLK_ZT_SWR);
static_assert(kVirtioBlkZtSequentialPreferred == VIRTIO_BLK_ZT_SWP);
static_assert(kVirtioBlkZsNotWritePointer == VIRTIO_BLK_ZS_NOT_WP);
static_assert(kVirtioBlkZsEmpty == VIRTIO_BLK_ZS_EMPTY);
static_assert(kVirtioBlkZsImplicitlyOpen == VIRTIO_BLK_ZS_IOPEN);
static_assert(kVirtioBlkZsExplicitlyOpen == VIRTIO_BLK_ZS_EOPEN);
static_assert(kVirtioBlkZsClosed == VIRTIO_BLK_ZS_CLOSED);
static_assert(kVirtioBlkZsReadOnly == VIRTIO_BLK_ZS_RDONLY);
static_assert(kVirtioBlkZsFull == VIRTIO_BLK_ZS_FULL);
static_assert(kVirtioBlkZsOffline == VIRTIO_BLK_ZS_OFFLINE);

static_assert(static_cast<int>(VirtioBlkStatus::Ok) == VIRTIO_BLK_S_OK);
static_assert(static_cast<int>(VirtioBlkStatus::IoError) == VIRTIO_BLK_S_IOERR);
static_assert(static_cast<int>(VirtioBlkStatus::Unsupported) == VIRTIO_BLK_S_UNSUPP);
static_assert(static_cast<int>(VirtioBlkStatus::ZoneInvalidCommand) ==
              VIRTIO_BLK_S_ZONE_INVALID_CMD);
static_assert(static_cast<int>(VirtioBlkStatus::ZoneUnalignedWritePointer) ==
              VIRTIO_BLK_S_ZONE_UNALIGNED_WP);
static_assert(static_cast<int>(VirtioBlkStatus::ZoneOpenResource) ==
              VIRTIO_BLK_S_ZONE_OPEN_RESOURCE);
static_assert(static_cast<int>(VirtioBlkStatus::ZoneActiveResource) ==
              VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE);

SAME_PLACE(VirtioBlkConfig, capacity, virtio_blk_config, capacity);
SAME_PLACE(VirtioBlkConfig, size_max, virtio_blk_config, size_max);
SAME_PLACE(VirtioBlkConfig, seg_max, virtio_blk_config, seg_max);
SAME_PLACE(VirtioBlkConfig, blk_size, virtio_blk_config, blk_size);
SAME_PLACE(VirtioBlkConfig, physical_block_exp, virtio_blk_config, physical_block_exp);
SAME_PLACE(VirtioBlkConfig, alignment_offset, virtio_blk_config, alignment_offset);
SAME_PLACE(VirtioBlkConfig, min_io_size, virtio_blk_config, min_io_size);
SAME_PLACE(VirtioBlkConfig, opt_io_size, virtio_blk_config, opt_io_size);
SAME_PLACE(VirtioBlkConfig, num_queues, virtio_blk_config, num_queues);
SAME_PLACE(VirtioBlkConfig, max_discard_sectors, virtio_blk_config, max_discard_sectors);
SAME_PLACE(VirtioBlkConfig, max_discard_seg, virtio_blk_config, max_discard_seg);
SAME_PLACE(VirtioBlkConfig, discard_sector_alignment, virtio_blk_config, discard_sector_alignment);
SAME_PLACE(VirtioBlkConfig, max_write_zeroes_sectors, virtio_blk_config, max_write_zeroes_sectors);
SAME_PLACE(VirtioBlkConfig, max_write_zeroes_seg, virtio_blk_config, max_write_zeroes_seg);
SAME_PLACE(VirtioBlkConfig, write_zeroes_may_unmap, virtio_blk_config, write_zeroes_may_unmap);
SAME_PLACE(VirtioBlkConfig, unused1, virtio_blk_config, unused1);
SAME_PLACE(VirtioBlkConfig, writeback, virtio_blk_config, wce);
SAME_PLACE(VirtioBlkConfig, unused0, virtio_blk_config, unused);
SAME_PLACE(VirtioBlkConfig, cylinders, virtio_blk_config, geometry.cylinders);
SAME_PLACE(VirtioBlkConfig, heads, virtio_blk_config, geometry.heads);
SAME_PLACE(VirtioBlkConfig, sectors, virtio_blk_config, geometry.sectors);
static_assert(offsetof(VirtioBlkConfig, unused1) + 3 == kVirtioBlkMoreConfigOffset);

AT(VirtioBlkMoreConfig, max_secure_erase_sectors, 60 - kVirtioBlkMoreConfigOffset, 4);
AT(VirtioBlkMoreConfig, max_secure_erase_seg, 64 - kVirtioBlkMoreConfigOffset, 4);
AT(VirtioBlkMoreConfig, secure_erase_sector_alignment, 68 - kVirtioBlkMoreConfigOffset, 4);
AT(VirtioBlkMoreConfig, zone_sectors, 72 - kVirtioBlkMoreConfigOffset, 4);
AT(VirtioBlkMoreConfig, max_open_zones, 76 - kVirtioBlkMoreConfigOffset, 4);
AT(VirtioBlkMoreConfig, max_active_zones, 80 - kVirtioBlkMoreConfigOffset, 4);
AT(VirtioBlkMoreConfig, max_append_sectors, 84 - kVirtioBlkMoreConfigOffset, 4);
AT(VirtioBlkMoreConfig, write_granularity, 88 - kVirtioBlkMoreConfigOffset, 4);
AT(VirtioBlkMoreConfig, model, 92 - kVirtioBlkMoreConfigOffset, 1);
AT(VirtioBlkMoreConfig, unused2, 93 - kVirtioBlkMoreConfigOffset, 3);
static_assert(kVirtioBlkMoreConfigOffset == 60);

AT(VirtioBlkZoneReport, nr_zones, 0, 8);
AT(VirtioBlkZoneReport, reserved, 8, 56);
AT(VirtioBlkZone, capacity, 0, 8);
AT(VirtioBlkZone, start, 8, 8);
AT(VirtioBlkZone, write_pointer, 16, 8);
AT(VirtioBlkZone, type, 24, 1);
AT(VirtioBlkZone, state, 25, 1);
AT(VirtioBlkZone, reserved, 26, 38);

SAME_SIZE(VirtioBlkRequestHeader, virtio_blk_outhdr);
SAME_PLACE(VirtioBlkRequestHeader, type, virtio_blk_outhdr, type);
SAME_PLACE(VirtioBlkRequestHeader, reserved, virtio_blk_outhdr, ioprio);
SAME_PLACE(VirtioBlkRequestHeader, sector, virtio_blk_outhdr, sector);

SAME_SIZE(VirtioBlkRange, virtio_blk_discard_write_zeroes);
SAME_PLACE(VirtioBlkRange, sector, virtio_blk_discard_write_zeroes, sector);
SAME_PLACE(VirtioBlkRange, sectors, virtio_blk_discard_write_zeroes, num_sectors);
SAME_PLACE(VirtioBlkRange, flags, virtio_blk_discard_write_zeroes, flags);

}  // namespace
}  // namespace pepita::abi
