#include "kernel-abi/uapi/io_uring_flags.h"

#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <linux/version.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/uapi/io_uring.h"
#include "test/kernel-abi/uapi/newer_io_uring.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header; a number alone where Debian 12's does not have the enumerator.
namespace pepita::abi {
namespace {

static_assert(kIoUringFileIndexAlloc == IORING_FILE_INDEX_ALLOC);
static_assert(kIoUringFsyncDatasync == IORING_FSYNC_DATASYNC);
static_assert(kIoUringTimeoutAbs == IORING_TIMEOUT_ABS);
static_assert(kIoUringTimeoutUpdate == IORING_TIMEOUT_UPDATE);
static_assert(kIoUringTimeoutBoottime == IORING_TIMEOUT_BOOTTIME);
static_assert(kIoUringTimeoutRealtime == IORING_TIMEOUT_REALTIME);
static_assert(kIoUringLinkTimeoutUpdate == IORING_LINK_TIMEOUT_UPDATE);
static_assert(kIoUringTimeoutEtimeSuccess == IORING_TIMEOUT_ETIME_SUCCESS);
static_assert(kIoUringTimeoutMultishot == IORING_TIMEOUT_MULTISHOT);
static_assert(kIoUringTimeoutImmediateArg == IORING_TIMEOUT_IMMEDIATE_ARG);
static_assert(kIoUringTimeoutClockMask == IORING_TIMEOUT_CLOCK_MASK);
static_assert(kIoUringTimeoutUpdateMask == IORING_TIMEOUT_UPDATE_MASK);
static_assert(kSpliceFFdInFixed == SPLICE_F_FD_IN_FIXED);
static_assert(kIoUringPollAddMulti == IORING_POLL_ADD_MULTI);
static_assert(kIoUringPollUpdateEvents == IORING_POLL_UPDATE_EVENTS);
static_assert(kIoUringPollUpdateUserData == IORING_POLL_UPDATE_USER_DATA);
static_assert(kIoUringPollAddLevel == IORING_POLL_ADD_LEVEL);
static_assert(kIoUringAsyncCancelAll == IORING_ASYNC_CANCEL_ALL);
static_assert(kIoUringAsyncCancelFd == IORING_ASYNC_CANCEL_FD);
static_assert(kIoUringAsyncCancelAny == IORING_ASYNC_CANCEL_ANY);
static_assert(kIoUringAsyncCancelFdFixed == IORING_ASYNC_CANCEL_FD_FIXED);
static_assert(kIoUringAsyncCancelUserdata == IORING_ASYNC_CANCEL_USERDATA);
static_assert(kIoUringAsyncCancelOp == IORING_ASYNC_CANCEL_OP);
static_assert(kIoUringRecvsendPollFirst == IORING_RECVSEND_POLL_FIRST);
static_assert(kIoUringRecvMultishot == IORING_RECV_MULTISHOT);
static_assert(kIoUringRecvsendFixedBuf == IORING_RECVSEND_FIXED_BUF);
static_assert(kIoUringSendZcReportUsage == IORING_SEND_ZC_REPORT_USAGE);
static_assert(kIoUringRecvsendBundle == IORING_RECVSEND_BUNDLE);
static_assert(kIoUringSendVectorized == IORING_SEND_VECTORIZED);
static_assert(kIoUringNotifUsageZcCopied == IORING_NOTIF_USAGE_ZC_COPIED);
static_assert(kIoUringAcceptMultishot == IORING_ACCEPT_MULTISHOT);
static_assert(kIoUringAcceptDontwait == IORING_ACCEPT_DONTWAIT);
static_assert(kIoUringAcceptPollFirst == IORING_ACCEPT_POLL_FIRST);
static_assert(kIoUringMsgData == IORING_MSG_DATA);
static_assert(kIoUringMsgSendFd == IORING_MSG_SEND_FD);
static_assert(kIoUringMsgRingCqeSkip == IORING_MSG_RING_CQE_SKIP);
static_assert(kIoUringMsgRingFlagsPass == IORING_MSG_RING_FLAGS_PASS);
static_assert(kIoUringFixedFdNoCloexec == IORING_FIXED_FD_NO_CLOEXEC);
static_assert(kIoUringNopInjectResult == IORING_NOP_INJECT_RESULT);
static_assert(kIoUringNopFile == IORING_NOP_FILE);
static_assert(kIoUringNopFixedFile == IORING_NOP_FIXED_FILE);
static_assert(kIoUringNopFixedBuffer == IORING_NOP_FIXED_BUFFER);
static_assert(kIoUringNopTw == IORING_NOP_TW);
static_assert(kIoUringNopCqe32 == IORING_NOP_CQE32);
static_assert(kIoUringUringCmdFixed == IORING_URING_CMD_FIXED);
static_assert(kIoUringUringCmdMultishot == IORING_URING_CMD_MULTISHOT);
static_assert(kIoUringUringCmdMask == IORING_URING_CMD_MASK);
static_assert(kIoUringRwAttrFlagPi == IORING_RW_ATTR_FLAG_PI);
static_assert(kIoUringSocketOpSiocinq == 0);
static_assert(kIoUringSocketOpSiocoutq == 1);
static_assert(kIoUringSocketOpGetsockopt == 2);
static_assert(kIoUringSocketOpSetsockopt == 3);
static_assert(kIoUringSocketOpTxTimestamp == 4);
static_assert(kIoUringSocketOpGetsockname == 5);
static_assert(kIoUringCqeSkip == IORING_CQE_F_SKIP);
static_assert(kIoUringCqe32 == IORING_CQE_F_32);
static_assert(kIoUringCqeBufferShift == IORING_CQE_BUFFER_SHIFT);
static_assert(kIoUringCqeTstampHw == IORING_CQE_F_TSTAMP_HW);
static_assert(kIoUringTimestampHwShift == IORING_TIMESTAMP_HW_SHIFT);
static_assert(kIoUringTimestampTypeShift == IORING_TIMESTAMP_TYPE_SHIFT);
static_assert(kIoUringOffPbufRing == IORING_OFF_PBUF_RING);
static_assert(kIoUringOffMmapMask == IORING_OFF_MMAP_MASK);
static_assert(kIoUringOffPbufShift == IORING_OFF_PBUF_SHIFT);
static_assert(kIoUringSqNeedWakeup == IORING_SQ_NEED_WAKEUP);
static_assert(kIoUringSqCqOverflow == IORING_SQ_CQ_OVERFLOW);
static_assert(kIoUringSqTaskrun == IORING_SQ_TASKRUN);
static_assert(kIoUringCqEventfdDisabled == IORING_CQ_EVENTFD_DISABLED);
static_assert(kIoUringEnterGetevents == IORING_ENTER_GETEVENTS);
static_assert(kIoUringEnterSqWakeup == IORING_ENTER_SQ_WAKEUP);
static_assert(kIoUringEnterSqWait == IORING_ENTER_SQ_WAIT);
static_assert(kIoUringEnterExtArg == IORING_ENTER_EXT_ARG);
static_assert(kIoUringEnterRegisteredRing == IORING_ENTER_REGISTERED_RING);
static_assert(kIoUringEnterAbsTimer == IORING_ENTER_ABS_TIMER);
static_assert(kIoUringEnterExtArgReg == IORING_ENTER_EXT_ARG_REG);
static_assert(kIoUringEnterNoIowait == IORING_ENTER_NO_IOWAIT);
static_assert(kIoUringFeatSingleMmap == IORING_FEAT_SINGLE_MMAP);
static_assert(kIoUringFeatNodrop == IORING_FEAT_NODROP);
static_assert(kIoUringFeatSubmitStable == IORING_FEAT_SUBMIT_STABLE);
static_assert(kIoUringFeatRwCurPos == IORING_FEAT_RW_CUR_POS);
static_assert(kIoUringFeatCurPersonality == IORING_FEAT_CUR_PERSONALITY);
static_assert(kIoUringFeatFastPoll == IORING_FEAT_FAST_POLL);
static_assert(kIoUringFeatPoll32bits == IORING_FEAT_POLL_32BITS);
static_assert(kIoUringFeatSqpollNonfixed == IORING_FEAT_SQPOLL_NONFIXED);
static_assert(kIoUringFeatExtArg == IORING_FEAT_EXT_ARG);
static_assert(kIoUringFeatNativeWorkers == IORING_FEAT_NATIVE_WORKERS);
static_assert(kIoUringFeatRsrcTags == IORING_FEAT_RSRC_TAGS);
static_assert(kIoUringFeatCqeSkip == IORING_FEAT_CQE_SKIP);
static_assert(kIoUringFeatLinkedFile == IORING_FEAT_LINKED_FILE);
static_assert(kIoUringFeatRegRegRing == IORING_FEAT_REG_REG_RING);
static_assert(kIoUringFeatRecvsendBundle == IORING_FEAT_RECVSEND_BUNDLE);
static_assert(kIoUringFeatMinTimeout == IORING_FEAT_MIN_TIMEOUT);
static_assert(kIoUringFeatRwAttr == IORING_FEAT_RW_ATTR);
static_assert(kIoUringFeatNoIowait == IORING_FEAT_NO_IOWAIT);

// The same by name, where the header is new enough.
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
static_assert(kIoUringSocketOpSiocinq == SOCKET_URING_OP_SIOCINQ);
static_assert(kIoUringSocketOpSiocoutq == SOCKET_URING_OP_SIOCOUTQ);
static_assert(kIoUringSocketOpGetsockopt == SOCKET_URING_OP_GETSOCKOPT);
static_assert(kIoUringSocketOpSetsockopt == SOCKET_URING_OP_SETSOCKOPT);
static_assert(kIoUringSocketOpTxTimestamp == SOCKET_URING_OP_TX_TIMESTAMP);
static_assert(kIoUringSocketOpGetsockname == SOCKET_URING_OP_GETSOCKNAME);
#endif

/// io_uring_setup(2) tells of no feature that we have no name for, and of those that Linux 5.19
/// had.
TEST(IoUringFlags, FeaturesOfThisKernelAreKnown) {
    IoUringParams params{};
    const Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params)));
    if (!ring) {
        GTEST_SKIP() << "no io_uring here: " << std::strerror(errno);
    }
    constexpr std::uint32_t old = kIoUringFeatSingleMmap | kIoUringFeatNodrop |
                                  kIoUringFeatSubmitStable | kIoUringFeatRwCurPos |
                                  kIoUringFeatExtArg | kIoUringFeatCqeSkip;
    EXPECT_EQ(params.features & old, old);
    EXPECT_EQ(params.features & ~(kIoUringFeatNoIowait * 2 - 1), 0U);
}

}  // namespace
}  // namespace pepita::abi
