#pragma once

#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

/// The memory balloon: pages that a guest releases.
/// A comment behind a name gives the Linux that brought it; a name without one is in Linux 6.1.
/// Source: virtio 1.3 §5.5; Linux 7.3 include/uapi/linux/virtio_balloon.h.
namespace pepita::abi {

// Features.
inline constexpr std::uint64_t kVirtioBalloonFMustTellHost = virtio_feature(0);
inline constexpr std::uint64_t kVirtioBalloonFStatsVq = virtio_feature(1);
inline constexpr std::uint64_t kVirtioBalloonFDeflateOnOom = virtio_feature(2);
inline constexpr std::uint64_t kVirtioBalloonFFreePageHint = virtio_feature(3);
inline constexpr std::uint64_t kVirtioBalloonFPagePoison = virtio_feature(4);
inline constexpr std::uint64_t kVirtioBalloonFReporting = virtio_feature(5);

// A page, whatever those of the guest are.
inline constexpr unsigned kVirtioBalloonPfnShift = 12;

/// The configuration space.
struct VirtioBalloonConfig {
    std::uint32_t num_pages;  // that the guest shall give
    std::uint32_t actual;     // that it has given
    std::uint32_t free_page_hint_cmd_id;
    std::uint32_t poison_val;
};

// VirtioBalloonConfig::free_page_hint_cmd_id: below those of rounds of hints.
inline constexpr std::uint32_t kVirtioBalloonCmdIdStop = 0;
inline constexpr std::uint32_t kVirtioBalloonCmdIdDone = 1;

/// On the queue of statistics.
struct [[gnu::packed]] VirtioBalloonStat {
    std::uint16_t tag;
    std::uint64_t val;
};

// VirtioBalloonStat::tag.
inline constexpr std::uint16_t kVirtioBalloonSSwapIn = 0;
inline constexpr std::uint16_t kVirtioBalloonSSwapOut = 1;
inline constexpr std::uint16_t kVirtioBalloonSMajflt = 2;
inline constexpr std::uint16_t kVirtioBalloonSMinflt = 3;
inline constexpr std::uint16_t kVirtioBalloonSMemfree = 4;
inline constexpr std::uint16_t kVirtioBalloonSMemtot = 5;
inline constexpr std::uint16_t kVirtioBalloonSAvail = 6;
inline constexpr std::uint16_t kVirtioBalloonSCaches = 7;
inline constexpr std::uint16_t kVirtioBalloonSHtlbPgalloc = 8;
inline constexpr std::uint16_t kVirtioBalloonSHtlbPgfail = 9;
inline constexpr std::uint16_t kVirtioBalloonSOomKill = 10;        // 6.12
inline constexpr std::uint16_t kVirtioBalloonSAllocStall = 11;     // 6.12
inline constexpr std::uint16_t kVirtioBalloonSAsyncScan = 12;      // 6.12
inline constexpr std::uint16_t kVirtioBalloonSDirectScan = 13;     // 6.12
inline constexpr std::uint16_t kVirtioBalloonSAsyncReclaim = 14;   // 6.12
inline constexpr std::uint16_t kVirtioBalloonSDirectReclaim = 15;  // 6.12

}  // namespace pepita::abi
