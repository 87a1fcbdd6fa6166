#include "kernel-abi/uapi/io_uring.h"

#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <linux/version.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/uapi/io_uring_flags.h"
#include "kernel-abi/uapi/io_uring_register.h"

namespace pepita::abi {
namespace {

// The constants that are no enumerators in BTF, against Linux's header.
#define SAME(ours, theirs) static_assert((ours) == (theirs))
SAME(kIoUringProbeOpSupported, IO_URING_OP_SUPPORTED);
SAME(kIoUringSqeFixedFile, IOSQE_FIXED_FILE);
SAME(kIoUringSqeIoDrain, IOSQE_IO_DRAIN);
SAME(kIoUringSqeIoLink, IOSQE_IO_LINK);
SAME(kIoUringSqeIoHardlink, IOSQE_IO_HARDLINK);
SAME(kIoUringSqeAsync, IOSQE_ASYNC);
SAME(kIoUringSqeBufferSelect, IOSQE_BUFFER_SELECT);
SAME(kIoUringSqeCqeSkipSuccess, IOSQE_CQE_SKIP_SUCCESS);
SAME(kIoUringCqeBuffer, IORING_CQE_F_BUFFER);
SAME(kIoUringCqeMore, IORING_CQE_F_MORE);
SAME(kIoUringCqeSockNonempty, IORING_CQE_F_SOCK_NONEMPTY);
SAME(kIoUringCqeNotif, IORING_CQE_F_NOTIF);
SAME(kIoUringSetupIopoll, IORING_SETUP_IOPOLL);
SAME(kIoUringSetupSqpoll, IORING_SETUP_SQPOLL);
SAME(kIoUringSetupSqAff, IORING_SETUP_SQ_AFF);
SAME(kIoUringSetupCqsize, IORING_SETUP_CQSIZE);
SAME(kIoUringSetupClamp, IORING_SETUP_CLAMP);
SAME(kIoUringSetupAttachWq, IORING_SETUP_ATTACH_WQ);
SAME(kIoUringSetupRDisabled, IORING_SETUP_R_DISABLED);
SAME(kIoUringSetupSubmitAll, IORING_SETUP_SUBMIT_ALL);
SAME(kIoUringSetupCoopTaskrun, IORING_SETUP_COOP_TASKRUN);
SAME(kIoUringSetupTaskrunFlag, IORING_SETUP_TASKRUN_FLAG);
SAME(kIoUringSetupSqe128, IORING_SETUP_SQE128);
SAME(kIoUringSetupCqe32, IORING_SETUP_CQE32);
SAME(kIoUringSetupSingleIssuer, IORING_SETUP_SINGLE_ISSUER);
SAME(kIoUringSetupDeferTaskrun, IORING_SETUP_DEFER_TASKRUN);
SAME(kIoUringOffSqRing, IORING_OFF_SQ_RING);
SAME(kIoUringOffCqRing, IORING_OFF_CQ_RING);
SAME(kIoUringOffSqes, IORING_OFF_SQES);
SAME(kIoUringFileIndexAlloc, IORING_FILE_INDEX_ALLOC);
SAME(kIoUringFsyncDatasync, IORING_FSYNC_DATASYNC);
SAME(kIoUringTimeoutAbs, IORING_TIMEOUT_ABS);
SAME(kIoUringTimeoutUpdate, IORING_TIMEOUT_UPDATE);
SAME(kIoUringTimeoutBoottime, IORING_TIMEOUT_BOOTTIME);
SAME(kIoUringTimeoutRealtime, IORING_TIMEOUT_REALTIME);
SAME(kIoUringLinkTimeoutUpdate, IORING_LINK_TIMEOUT_UPDATE);
SAME(kIoUringTimeoutEtimeSuccess, IORING_TIMEOUT_ETIME_SUCCESS);
SAME(kIoUringTimeoutClockMask, IORING_TIMEOUT_CLOCK_MASK);
SAME(kIoUringTimeoutUpdateMask, IORING_TIMEOUT_UPDATE_MASK);
SAME(kSpliceFFdInFixed, SPLICE_F_FD_IN_FIXED);
SAME(kIoUringPollAddMulti, IORING_POLL_ADD_MULTI);
SAME(kIoUringPollUpdateEvents, IORING_POLL_UPDATE_EVENTS);
SAME(kIoUringPollUpdateUserData, IORING_POLL_UPDATE_USER_DATA);
SAME(kIoUringPollAddLevel, IORING_POLL_ADD_LEVEL);
SAME(kIoUringAsyncCancelAll, IORING_ASYNC_CANCEL_ALL);
SAME(kIoUringAsyncCancelFd, IORING_ASYNC_CANCEL_FD);
SAME(kIoUringAsyncCancelAny, IORING_ASYNC_CANCEL_ANY);
SAME(kIoUringAsyncCancelFdFixed, IORING_ASYNC_CANCEL_FD_FIXED);
SAME(kIoUringAsyncCancelUserdata, IORING_ASYNC_CANCEL_USERDATA);
SAME(kIoUringAsyncCancelOp, IORING_ASYNC_CANCEL_OP);
SAME(kIoUringRecvsendPollFirst, IORING_RECVSEND_POLL_FIRST);
SAME(kIoUringRecvMultishot, IORING_RECV_MULTISHOT);
SAME(kIoUringRecvsendFixedBuf, IORING_RECVSEND_FIXED_BUF);
SAME(kIoUringSendZcReportUsage, IORING_SEND_ZC_REPORT_USAGE);
SAME(kIoUringNotifUsageZcCopied, IORING_NOTIF_USAGE_ZC_COPIED);
SAME(kIoUringAcceptMultishot, IORING_ACCEPT_MULTISHOT);
SAME(kIoUringMsgData, IORING_MSG_DATA);
SAME(kIoUringMsgSendFd, IORING_MSG_SEND_FD);
SAME(kIoUringMsgRingCqeSkip, IORING_MSG_RING_CQE_SKIP);
SAME(kIoUringUringCmdFixed, IORING_URING_CMD_FIXED);
SAME(kIoUringCqeBufferShift, IORING_CQE_BUFFER_SHIFT);
SAME(kIoUringOffMmapMask, IORING_OFF_MMAP_MASK);
SAME(kIoUringSqNeedWakeup, IORING_SQ_NEED_WAKEUP);
SAME(kIoUringSqCqOverflow, IORING_SQ_CQ_OVERFLOW);
SAME(kIoUringSqTaskrun, IORING_SQ_TASKRUN);
SAME(kIoUringCqEventfdDisabled, IORING_CQ_EVENTFD_DISABLED);
SAME(kIoUringEnterGetevents, IORING_ENTER_GETEVENTS);
SAME(kIoUringEnterSqWakeup, IORING_ENTER_SQ_WAKEUP);
SAME(kIoUringEnterSqWait, IORING_ENTER_SQ_WAIT);
SAME(kIoUringEnterExtArg, IORING_ENTER_EXT_ARG);
SAME(kIoUringEnterRegisteredRing, IORING_ENTER_REGISTERED_RING);
SAME(kIoUringFeatSingleMmap, IORING_FEAT_SINGLE_MMAP);
SAME(kIoUringFeatNodrop, IORING_FEAT_NODROP);
SAME(kIoUringFeatSubmitStable, IORING_FEAT_SUBMIT_STABLE);
SAME(kIoUringFeatRwCurPos, IORING_FEAT_RW_CUR_POS);
SAME(kIoUringFeatCurPersonality, IORING_FEAT_CUR_PERSONALITY);
SAME(kIoUringFeatFastPoll, IORING_FEAT_FAST_POLL);
SAME(kIoUringFeatPoll32bits, IORING_FEAT_POLL_32BITS);
SAME(kIoUringFeatSqpollNonfixed, IORING_FEAT_SQPOLL_NONFIXED);
SAME(kIoUringFeatExtArg, IORING_FEAT_EXT_ARG);
SAME(kIoUringFeatNativeWorkers, IORING_FEAT_NATIVE_WORKERS);
SAME(kIoUringFeatRsrcTags, IORING_FEAT_RSRC_TAGS);
SAME(kIoUringFeatCqeSkip, IORING_FEAT_CQE_SKIP);
SAME(kIoUringFeatLinkedFile, IORING_FEAT_LINKED_FILE);
SAME(kIoUringWqBound, IO_WQ_BOUND);
SAME(kIoUringWqUnbound, IO_WQ_UNBOUND);
SAME(kIoUringRsrcRegisterSparse, IORING_RSRC_REGISTER_SPARSE);
SAME(kIoUringRegisterFilesSkip, IORING_REGISTER_FILES_SKIP);
SAME(kIoUringRestrictionRegisterOp, IORING_RESTRICTION_REGISTER_OP);
SAME(kIoUringRestrictionSqeOp, IORING_RESTRICTION_SQE_OP);
SAME(kIoUringRestrictionSqeFlagsAllowed, IORING_RESTRICTION_SQE_FLAGS_ALLOWED);
SAME(kIoUringRestrictionSqeFlagsRequired, IORING_RESTRICTION_SQE_FLAGS_REQUIRED);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
SAME(kIoUringCqeBufMore, IORING_CQE_F_BUF_MORE);
SAME(kIoUringSetupNoMmap, IORING_SETUP_NO_MMAP);
SAME(kIoUringSetupRegisteredFdOnly, IORING_SETUP_REGISTERED_FD_ONLY);
SAME(kIoUringSetupNoSqarray, IORING_SETUP_NO_SQARRAY);
SAME(kIoUringTimeoutMultishot, IORING_TIMEOUT_MULTISHOT);
SAME(kIoUringRecvsendBundle, IORING_RECVSEND_BUNDLE);
SAME(kIoUringAcceptDontwait, IORING_ACCEPT_DONTWAIT);
SAME(kIoUringAcceptPollFirst, IORING_ACCEPT_POLL_FIRST);
SAME(kIoUringMsgRingFlagsPass, IORING_MSG_RING_FLAGS_PASS);
SAME(kIoUringFixedFdNoCloexec, IORING_FIXED_FD_NO_CLOEXEC);
SAME(kIoUringNopInjectResult, IORING_NOP_INJECT_RESULT);
SAME(kIoUringOffPbufRing, IORING_OFF_PBUF_RING);
SAME(kIoUringOffPbufShift, IORING_OFF_PBUF_SHIFT);
SAME(kIoUringEnterAbsTimer, IORING_ENTER_ABS_TIMER);
SAME(kIoUringFeatRegRegRing, IORING_FEAT_REG_REG_RING);
SAME(kIoUringFeatRecvsendBundle, IORING_FEAT_RECVSEND_BUNDLE);
SAME(kIoUringFeatMinTimeout, IORING_FEAT_MIN_TIMEOUT);
SAME(kIoUringSocketOpSiocinq, SOCKET_URING_OP_SIOCINQ);
SAME(kIoUringSocketOpSiocoutq, SOCKET_URING_OP_SIOCOUTQ);
SAME(kIoUringSocketOpGetsockopt, SOCKET_URING_OP_GETSOCKOPT);
SAME(kIoUringSocketOpSetsockopt, SOCKET_URING_OP_SETSOCKOPT);
SAME(kIoUringRegisterUseRegisteredRing, IORING_REGISTER_USE_REGISTERED_RING);
SAME(kIoUringRegisterSrcRegistered, IORING_REGISTER_SRC_REGISTERED);
SAME(kIoUringPbufRingMmap, IOU_PBUF_RING_MMAP);
SAME(kIoUringPbufRingInc, IOU_PBUF_RING_INC);
#endif

/// This kernel has our operations up to some number, and we know of all that it has.
TEST(IoUringAbi, ThisKernelsProbeKnowsNoOperationThatWeDoNot) {
    IoUringParams params{};
    const Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params)));
    if (!ring) {
        GTEST_SKIP() << "no io_uring here: " << std::strerror(errno);
    }
    constexpr std::size_t most = 256;
    std::vector<std::byte> room(sizeof(IoUringProbe) + most * sizeof(IoUringProbeOp));
    ASSERT_EQ(::syscall(SYS_io_uring_register, ring.ref().number(),
                        std::to_underlying(IoUringRegisterOp::Probe), room.data(), most),
              0);
    IoUringProbe probe{};
    std::memcpy(&probe, room.data(), sizeof(probe));
    EXPECT_LE(probe.last_op + 1U, std::to_underlying(IoUringOp::UringCmd128) + 1U);
    for (std::size_t i = 0; i < probe.ops_len; ++i) {
        IoUringProbeOp operation{};
        std::memcpy(&operation, &room[sizeof(probe) + i * sizeof(operation)], sizeof(operation));
        EXPECT_EQ(operation.op, i);
    }
}

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

/// io_uring_register(2) takes rules while the ring is disabled, and then refuses what they leave
/// out.
TEST(IoUringRegister, WhatIsRestrictedIsRefused) {
    IoUringParams params{};
    params.flags = kIoUringSetupRDisabled;
    const Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params)));
    if (!ring) {
        GTEST_SKIP() << "no io_uring here: " << std::strerror(errno);
    }
    const auto ask = [&](IoUringRegisterOp op, void* argument, unsigned count) {
        return ::syscall(SYS_io_uring_register, ring.ref().number(), std::to_underlying(op),
                         argument, count) < 0
                   ? errno
                   : 0;
    };
    std::array<IoUringRestriction, 2> rules{};
    rules[0].opcode = kIoUringRestrictionRegisterOp;
    rules[0].register_op = static_cast<std::uint8_t>(IoUringRegisterOp::EnableRings);
    rules[1].opcode = 99;
    EXPECT_EQ(ask(IoUringRegisterOp::Restrictions, rules.data(), 2), EINVAL);
    EXPECT_EQ(ask(IoUringRegisterOp::Restrictions, rules.data(), 1), 0);
    EXPECT_EQ(ask(IoUringRegisterOp::EnableRings, nullptr, 0), 0);
    std::array<std::uint32_t, 2> workers{};
    EXPECT_EQ(ask(IoUringRegisterOp::IowqMaxWorkers, workers.data(), 2), EACCES);
}

}  // namespace
}  // namespace pepita::abi
