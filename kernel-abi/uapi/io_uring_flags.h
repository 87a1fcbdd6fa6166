#pragma once

#include <cstdint>

/// Flags of io_uring's operations, rings and io_uring_enter(2). The comment behind a name gives the
/// Linux that brought it. Source: Linux 7.3 include/uapi/linux/io_uring.h.
namespace pepita::abi {

/// IoUringSqe::file_index: any free one.
inline constexpr std::uint32_t kIoUringFileIndexAlloc = 0xffffffff;  // 5.19

/// IoUringSqe::op_flags of IORING_OP_FSYNC.
inline constexpr std::uint32_t kIoUringFsyncDatasync = 1U << 0U;  // 5.1

/// IoUringSqe::op_flags of timeouts.
inline constexpr std::uint32_t kIoUringTimeoutAbs = 1U << 0U;           // 5.5
inline constexpr std::uint32_t kIoUringTimeoutUpdate = 1U << 1U;        // 5.11
inline constexpr std::uint32_t kIoUringTimeoutBoottime = 1U << 2U;      // 5.15
inline constexpr std::uint32_t kIoUringTimeoutRealtime = 1U << 3U;      // 5.15
inline constexpr std::uint32_t kIoUringLinkTimeoutUpdate = 1U << 4U;    // 5.15
inline constexpr std::uint32_t kIoUringTimeoutEtimeSuccess = 1U << 5U;  // 5.16
inline constexpr std::uint32_t kIoUringTimeoutMultishot = 1U << 6U;     // 6.4
inline constexpr std::uint32_t kIoUringTimeoutImmediateArg = 1U << 7U;  // 7.2

inline constexpr std::uint32_t kIoUringTimeoutClockMask = 0xc;    // 5.15
inline constexpr std::uint32_t kIoUringTimeoutUpdateMask = 0x12;  // 5.15

/// Of IORING_OP_SPLICE, beside splice(2)'s own.
inline constexpr std::uint32_t kSpliceFFdInFixed = 1U << 31U;  // 5.7

/// IoUringSqe::len of IORING_OP_POLL_ADD.
inline constexpr std::uint32_t kIoUringPollAddMulti = 1U << 0U;        // 5.13
inline constexpr std::uint32_t kIoUringPollUpdateEvents = 1U << 1U;    // 5.13
inline constexpr std::uint32_t kIoUringPollUpdateUserData = 1U << 2U;  // 5.13
inline constexpr std::uint32_t kIoUringPollAddLevel = 1U << 3U;        // 6.0

/// IoUringSqe::op_flags of IORING_OP_ASYNC_CANCEL.
inline constexpr std::uint32_t kIoUringAsyncCancelAll = 1U << 0U;       // 5.19
inline constexpr std::uint32_t kIoUringAsyncCancelFd = 1U << 1U;        // 5.19
inline constexpr std::uint32_t kIoUringAsyncCancelAny = 1U << 2U;       // 5.19
inline constexpr std::uint32_t kIoUringAsyncCancelFdFixed = 1U << 3U;   // 6.0
inline constexpr std::uint32_t kIoUringAsyncCancelUserdata = 1U << 4U;  // 6.1
inline constexpr std::uint32_t kIoUringAsyncCancelOp = 1U << 5U;        // 6.1

/// IoUringSqe::ioprio of sends and receives.
inline constexpr std::uint16_t kIoUringRecvsendPollFirst = 1U << 0U;  // 5.19
inline constexpr std::uint16_t kIoUringRecvMultishot = 1U << 1U;      // 6.0
inline constexpr std::uint16_t kIoUringRecvsendFixedBuf = 1U << 2U;   // 6.0
inline constexpr std::uint16_t kIoUringSendZcReportUsage = 1U << 3U;  // 6.1
inline constexpr std::uint16_t kIoUringRecvsendBundle = 1U << 4U;     // 6.10
inline constexpr std::uint16_t kIoUringSendVectorized = 1U << 5U;     // 6.17

/// IoUringCqe::res of the notification of a send without copies: it was copied.
inline constexpr std::uint32_t kIoUringNotifUsageZcCopied = 1U << 31U;  // 6.1

/// IoUringSqe::ioprio of IORING_OP_ACCEPT.
inline constexpr std::uint16_t kIoUringAcceptMultishot = 1U << 0U;  // 5.19
inline constexpr std::uint16_t kIoUringAcceptDontwait = 1U << 1U;   // 6.10
inline constexpr std::uint16_t kIoUringAcceptPollFirst = 1U << 2U;  // 6.10

/// IoUringSqe::addr of IORING_OP_MSG_RING.
inline constexpr std::uint64_t kIoUringMsgData = 0;    // 6.0
inline constexpr std::uint64_t kIoUringMsgSendFd = 1;  // 6.0

/// IoUringSqe::op_flags of IORING_OP_MSG_RING.
inline constexpr std::uint32_t kIoUringMsgRingCqeSkip = 1U << 0U;    // 6.0
inline constexpr std::uint32_t kIoUringMsgRingFlagsPass = 1U << 1U;  // 6.3

/// IoUringSqe::op_flags of IORING_OP_FIXED_FD_INSTALL.
inline constexpr std::uint32_t kIoUringFixedFdNoCloexec = 1U << 0U;  // 6.8

/// IoUringSqe::op_flags of IORING_OP_NOP.
inline constexpr std::uint32_t kIoUringNopInjectResult = 1U << 0U;  // 6.10
inline constexpr std::uint32_t kIoUringNopFile = 1U << 1U;          // 6.13
inline constexpr std::uint32_t kIoUringNopFixedFile = 1U << 2U;     // 6.13
inline constexpr std::uint32_t kIoUringNopFixedBuffer = 1U << 3U;   // 6.13
inline constexpr std::uint32_t kIoUringNopTw = 1U << 4U;            // 6.16
inline constexpr std::uint32_t kIoUringNopCqe32 = 1U << 5U;         // 6.18

/// IoUringSqe::op_flags of IORING_OP_URING_CMD.
inline constexpr std::uint32_t kIoUringUringCmdFixed = 1U << 0U;      // 6.0
inline constexpr std::uint32_t kIoUringUringCmdMultishot = 1U << 1U;  // 6.18

inline constexpr std::uint32_t kIoUringUringCmdMask = 0x3;  // 6.7

/// Attributes that IORING_OP_READ and IORING_OP_WRITE carry (IoUringAttrPi).
inline constexpr std::uint64_t kIoUringRwAttrFlagPi = 1ULL << 0U;  // 6.14

/// cmd_op of IORING_OP_URING_CMD to a socket.
inline constexpr std::uint32_t kIoUringSocketOpSiocinq = 0;      // 6.7
inline constexpr std::uint32_t kIoUringSocketOpSiocoutq = 1;     // 6.7
inline constexpr std::uint32_t kIoUringSocketOpGetsockopt = 2;   // 6.7
inline constexpr std::uint32_t kIoUringSocketOpSetsockopt = 3;   // 6.7
inline constexpr std::uint32_t kIoUringSocketOpTxTimestamp = 4;  // 6.17
inline constexpr std::uint32_t kIoUringSocketOpGetsockname = 5;  // 6.19

/// IoUringCqe::flags: more of them, and where the buffer's number begins.
inline constexpr std::uint32_t kIoUringCqeSkip = 1U << 5U;  // 6.18
inline constexpr std::uint32_t kIoUringCqe32 = 1U << 15U;   // 6.18

inline constexpr std::uint32_t kIoUringCqeBufferShift = 16;  // 5.7

/// IoUringCqe::flags of a time stamp of a send.
inline constexpr std::uint32_t kIoUringCqeTstampHw = 1U << 16U;  // 6.17

inline constexpr std::uint32_t kIoUringTimestampHwShift = 16;    // 6.17
inline constexpr std::uint32_t kIoUringTimestampTypeShift = 17;  // 6.17

/// Where io_uring's descriptor maps a ring of buffers.
inline constexpr std::uint64_t kIoUringOffPbufRing = 0x80000000;  // 6.4
inline constexpr std::uint64_t kIoUringOffMmapMask = 0xf8000000;  // 6.0

inline constexpr std::uint32_t kIoUringOffPbufShift = 16;  // 6.4

/// Flags in the ring of submissions, and in that of completions.
inline constexpr std::uint32_t kIoUringSqNeedWakeup = 1U << 0U;  // 5.1
inline constexpr std::uint32_t kIoUringSqCqOverflow = 1U << 1U;  // 5.8
inline constexpr std::uint32_t kIoUringSqTaskrun = 1U << 2U;     // 5.19

inline constexpr std::uint32_t kIoUringCqEventfdDisabled = 1U << 0U;  // 5.8

/// io_uring_enter(2).
inline constexpr std::uint32_t kIoUringEnterGetevents = 1U << 0U;       // 5.1
inline constexpr std::uint32_t kIoUringEnterSqWakeup = 1U << 1U;        // 5.1
inline constexpr std::uint32_t kIoUringEnterSqWait = 1U << 2U;          // 5.10
inline constexpr std::uint32_t kIoUringEnterExtArg = 1U << 3U;          // 5.11
inline constexpr std::uint32_t kIoUringEnterRegisteredRing = 1U << 4U;  // 5.18
inline constexpr std::uint32_t kIoUringEnterAbsTimer = 1U << 5U;        // 6.12
inline constexpr std::uint32_t kIoUringEnterExtArgReg = 1U << 6U;       // 6.13
inline constexpr std::uint32_t kIoUringEnterNoIowait = 1U << 7U;        // 6.15

/// IoUringParams::features.
inline constexpr std::uint32_t kIoUringFeatSingleMmap = 1U << 0U;       // 5.4
inline constexpr std::uint32_t kIoUringFeatNodrop = 1U << 1U;           // 5.5
inline constexpr std::uint32_t kIoUringFeatSubmitStable = 1U << 2U;     // 5.5
inline constexpr std::uint32_t kIoUringFeatRwCurPos = 1U << 3U;         // 5.6
inline constexpr std::uint32_t kIoUringFeatCurPersonality = 1U << 4U;   // 5.6
inline constexpr std::uint32_t kIoUringFeatFastPoll = 1U << 5U;         // 5.7
inline constexpr std::uint32_t kIoUringFeatPoll32bits = 1U << 6U;       // 5.9
inline constexpr std::uint32_t kIoUringFeatSqpollNonfixed = 1U << 7U;   // 5.11
inline constexpr std::uint32_t kIoUringFeatExtArg = 1U << 8U;           // 5.11
inline constexpr std::uint32_t kIoUringFeatNativeWorkers = 1U << 9U;    // 5.12
inline constexpr std::uint32_t kIoUringFeatRsrcTags = 1U << 10U;        // 5.13
inline constexpr std::uint32_t kIoUringFeatCqeSkip = 1U << 11U;         // 5.17
inline constexpr std::uint32_t kIoUringFeatLinkedFile = 1U << 12U;      // 5.17
inline constexpr std::uint32_t kIoUringFeatRegRegRing = 1U << 13U;      // 6.3
inline constexpr std::uint32_t kIoUringFeatRecvsendBundle = 1U << 14U;  // 6.10
inline constexpr std::uint32_t kIoUringFeatMinTimeout = 1U << 15U;      // 6.12
inline constexpr std::uint32_t kIoUringFeatRwAttr = 1U << 16U;          // 6.14
inline constexpr std::uint32_t kIoUringFeatNoIowait = 1U << 17U;        // 6.15

}  // namespace pepita::abi
