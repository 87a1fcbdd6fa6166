#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "kernel-abi/uapi/ublk.h"
#include "kernel-abi/uapi/version.h"
#include "kernel-abi/uapi/virtio_blk.h"

/// What the block layer of Linux asks of a disk. It has no header for us: the numbers are those of
/// `enum req_op` in include/linux/blk_types.h, as the kernel publishes them in BTF. ublk and virtio
/// number the same things differently.
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
constexpr std::uint64_t value_of(ReqOp op) { return static_cast<std::uint64_t>(op); }

inline constexpr std::array kReqOps{
    Symbol{
        .linux_name = "REQ_OP_READ", .value = value_of(ReqOp::Read), .since = linux_version(4, 8)},
    Symbol{.linux_name = "REQ_OP_WRITE",
           .value = value_of(ReqOp::Write),
           .since = linux_version(4, 8)},
    Symbol{.linux_name = "REQ_OP_FLUSH",
           .value = value_of(ReqOp::Flush),
           .since = linux_version(4, 8)},
    Symbol{.linux_name = "REQ_OP_DISCARD",
           .value = value_of(ReqOp::Discard),
           .since = linux_version(4, 8)},
    Symbol{.linux_name = "REQ_OP_SECURE_ERASE",
           .value = value_of(ReqOp::SecureErase),
           .since = linux_version(4, 8)},
    Symbol{.linux_name = "REQ_OP_WRITE_ZEROES",
           .value = value_of(ReqOp::WriteZeroes),
           .since = linux_version(4, 10)},
    Symbol{.linux_name = "REQ_OP_DRV_IN",
           .value = value_of(ReqOp::DrvIn),
           .since = linux_version(4, 11)},
    Symbol{.linux_name = "REQ_OP_DRV_OUT",
           .value = value_of(ReqOp::DrvOut),
           .since = linux_version(4, 11)},
};

/// Which bit of a request's flags stands for what, above the operation's eight. The numbers of
/// Linux 6.12 and 6.18; an older one may have others. What stands above Atomic moves from version
/// to version.
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
constexpr std::uint64_t value_of(ReqFlagBit bit) { return static_cast<std::uint64_t>(bit); }
constexpr std::uint32_t flag(ReqFlagBit bit) { return 1U << static_cast<std::uint32_t>(bit); }

inline constexpr std::array kReqFlagBits{
    Symbol{.linux_name = "__REQ_FAILFAST_DEV",
           .value = value_of(ReqFlagBit::FailfastDev),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_FAILFAST_TRANSPORT",
           .value = value_of(ReqFlagBit::FailfastTransport),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_FAILFAST_DRIVER",
           .value = value_of(ReqFlagBit::FailfastDriver),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_SYNC",
           .value = value_of(ReqFlagBit::Sync),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_META",
           .value = value_of(ReqFlagBit::Meta),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_PRIO",
           .value = value_of(ReqFlagBit::Prio),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_NOMERGE",
           .value = value_of(ReqFlagBit::Nomerge),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_IDLE",
           .value = value_of(ReqFlagBit::Idle),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_INTEGRITY",
           .value = value_of(ReqFlagBit::Integrity),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_FUA",
           .value = value_of(ReqFlagBit::Fua),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_PREFLUSH",
           .value = value_of(ReqFlagBit::Preflush),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_RAHEAD",
           .value = value_of(ReqFlagBit::Rahead),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_BACKGROUND",
           .value = value_of(ReqFlagBit::Background),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_NOWAIT",
           .value = value_of(ReqFlagBit::Nowait),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_POLLED",
           .value = value_of(ReqFlagBit::Polled),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_ALLOC_CACHE",
           .value = value_of(ReqFlagBit::AllocCache),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_SWAP",
           .value = value_of(ReqFlagBit::Swap),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_DRV",
           .value = value_of(ReqFlagBit::Drv),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_FS_PRIVATE",
           .value = value_of(ReqFlagBit::FsPrivate),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "__REQ_ATOMIC",
           .value = value_of(ReqFlagBit::Atomic),
           .since = linux_version(6, 12)},
};

/// The same operation in the three numberings; none where a protocol does not have it.
struct BlockOperation {
    ReqOp linux_op;
    std::optional<std::uint32_t> ublk;
    std::optional<std::uint32_t> virtio_blk;
};
inline constexpr std::array kBlockOperations{
    BlockOperation{.linux_op = ReqOp::Read, .ublk = kUblkIoOpRead, .virtio_blk = kVirtioBlkTIn},
    BlockOperation{.linux_op = ReqOp::Write, .ublk = kUblkIoOpWrite, .virtio_blk = kVirtioBlkTOut},
    BlockOperation{
        .linux_op = ReqOp::Flush, .ublk = kUblkIoOpFlush, .virtio_blk = kVirtioBlkTFlush},
    BlockOperation{
        .linux_op = ReqOp::Discard, .ublk = kUblkIoOpDiscard, .virtio_blk = kVirtioBlkTDiscard},
    BlockOperation{.linux_op = ReqOp::WriteZeroes,
                   .ublk = kUblkIoOpWriteZeroes,
                   .virtio_blk = kVirtioBlkTWriteZeroes},
};

/// The most that a blk-mq tag set may have; ublk's is kUblkQueueDepthMax.
inline constexpr std::uint32_t kBlkMqMaxDepth = 10240;

}  // namespace pepita::abi
