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
