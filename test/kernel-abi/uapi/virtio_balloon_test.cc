#include "kernel-abi/uapi/virtio_balloon.h"

#include <cstddef>

#include "kernel-abi/uapi/virtio_config.h"
#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtioBalloonFMustTellHost == virtio_feature(VIRTIO_BALLOON_F_MUST_TELL_HOST));
static_assert(kVirtioBalloonFStatsVq == virtio_feature(VIRTIO_BALLOON_F_STATS_VQ));
static_assert(kVirtioBalloonFDeflateOnOom == virtio_feature(VIRTIO_BALLOON_F_DEFLATE_ON_OOM));
static_assert(kVirtioBalloonFFreePageHint == virtio_feature(VIRTIO_BALLOON_F_FREE_PAGE_HINT));
static_assert(kVirtioBalloonFPagePoison == virtio_feature(VIRTIO_BALLOON_F_PAGE_POISON));
static_assert(kVirtioBalloonFReporting == virtio_feature(VIRTIO_BALLOON_F_REPORTING));
static_assert(kVirtioBalloonPfnShift == VIRTIO_BALLOON_PFN_SHIFT);

SAME_SIZE(VirtioBalloonConfig, virtio_balloon_config);
SAME_PLACE(VirtioBalloonConfig, num_pages, virtio_balloon_config, num_pages);
SAME_PLACE(VirtioBalloonConfig, actual, virtio_balloon_config, actual);
SAME_PLACE(VirtioBalloonConfig, free_page_hint_cmd_id, virtio_balloon_config,
           free_page_hint_cmd_id);
SAME_PLACE(VirtioBalloonConfig, poison_val, virtio_balloon_config, poison_val);
SAME_PLACE(VirtioBalloonConfig, free_page_hint_cmd_id, virtio_balloon_config,
           free_page_report_cmd_id);
static_assert(kVirtioBalloonCmdIdStop == VIRTIO_BALLOON_CMD_ID_STOP);
static_assert(kVirtioBalloonCmdIdDone == VIRTIO_BALLOON_CMD_ID_DONE);

SAME_SIZE(VirtioBalloonStat, virtio_balloon_stat);
SAME_PLACE(VirtioBalloonStat, tag, virtio_balloon_stat, tag);
SAME_PLACE(VirtioBalloonStat, val, virtio_balloon_stat, val);
static_assert(kVirtioBalloonSSwapIn == VIRTIO_BALLOON_S_SWAP_IN);
static_assert(kVirtioBalloonSSwapOut == VIRTIO_BALLOON_S_SWAP_OUT);
static_assert(kVirtioBalloonSMajflt == VIRTIO_BALLOON_S_MAJFLT);
static_assert(kVirtioBalloonSMinflt == VIRTIO_BALLOON_S_MINFLT);
static_assert(kVirtioBalloonSMemfree == VIRTIO_BALLOON_S_MEMFREE);
static_assert(kVirtioBalloonSMemtot == VIRTIO_BALLOON_S_MEMTOT);
static_assert(kVirtioBalloonSAvail == VIRTIO_BALLOON_S_AVAIL);
static_assert(kVirtioBalloonSCaches == VIRTIO_BALLOON_S_CACHES);
static_assert(kVirtioBalloonSHtlbPgalloc == VIRTIO_BALLOON_S_HTLB_PGALLOC);
static_assert(kVirtioBalloonSHtlbPgfail == VIRTIO_BALLOON_S_HTLB_PGFAIL);
static_assert(kVirtioBalloonSOomKill == VIRTIO_BALLOON_S_OOM_KILL);
static_assert(kVirtioBalloonSAllocStall == VIRTIO_BALLOON_S_ALLOC_STALL);
static_assert(kVirtioBalloonSAsyncScan == VIRTIO_BALLOON_S_ASYNC_SCAN);
static_assert(kVirtioBalloonSDirectScan == VIRTIO_BALLOON_S_DIRECT_SCAN);
static_assert(kVirtioBalloonSAsyncReclaim == VIRTIO_BALLOON_S_ASYNC_RECLAIM);
static_assert(kVirtioBalloonSDirectReclaim == VIRTIO_BALLOON_S_DIRECT_RECLAIM);

}  // namespace
}  // namespace pepita::abi
