#pragma once

#include <cstdint>

/// Requests of Linux's block layer. No uapi header has them: the numbers are those of `enum req_op`
/// in include/linux/blk_types.h, as BTF has them. ublk and virtio number the same operations
/// differently.
namespace pepita::abi {

enum class ReqOp : std::uint32_t {
    Read = 0,
    Write = 1,
    Flush = 2,
    Discard = 3,
    SecureErase = 5,
    ZoneAppend = 7,
    WriteZeroes = 9,
    ZoneOpen = 11,
    ZoneClose = 13,
    ZoneFinish = 15,
    ZoneReset = 17,
    ZoneResetAll = 19,
    DrvIn = 34,
    DrvOut = 35,
};

/// The bits of a request's flags, above the eight of its operation. The numbers of Linux 6.12 and
/// 6.18; an older version may have others. Bits above Atomic change from version to version.
enum class ReqFlagBit : std::uint32_t {
    FailfastDev = 8,
    FailfastTransport = 9,
    FailfastDriver = 10,
    Sync = 11,
    Meta = 12,
    Prio = 13,
    Nomerge = 14,
    Idle = 15,
    Integrity = 16,
    Fua = 17,
    Preflush = 18,
    Rahead = 19,
    Background = 20,
    Nowait = 21,
    Polled = 22,
    AllocCache = 23,
    Swap = 24,
    Drv = 25,
    FsPrivate = 26,
    Atomic = 27,
};

/// The most that a blk-mq tag set may have; ublk's is kUblkQueueDepthMax.
inline constexpr std::uint32_t kBlkMqMaxDepth = 10240;

}  // namespace pepita::abi
