#include "kernel-abi/uapi/io_uring_register.h"

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

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/uapi/io_uring.h"
#include "test/kernel-abi/uapi/newer_io_uring.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header; a number alone where Debian 12's does not have the enumerator.
namespace pepita::abi {
namespace {

SAME_SIZE(IoUringFilesUpdate, io_uring_files_update);
SAME_PLACE(IoUringFilesUpdate, offset, io_uring_files_update, offset);
SAME_PLACE(IoUringFilesUpdate, resv, io_uring_files_update, resv);
SAME_PLACE(IoUringFilesUpdate, fds, io_uring_files_update, fds);

SAME_SIZE(IoUringRsrcUpdate, io_uring_rsrc_update);
SAME_PLACE(IoUringRsrcUpdate, offset, io_uring_rsrc_update, offset);
SAME_PLACE(IoUringRsrcUpdate, resv, io_uring_rsrc_update, resv);
SAME_PLACE(IoUringRsrcUpdate, data, io_uring_rsrc_update, data);

SAME_SIZE(IoUringRestriction, io_uring_restriction);
SAME_PLACE(IoUringRestriction, opcode, io_uring_restriction, opcode);
SAME_PLACE(IoUringRestriction, register_op, io_uring_restriction, register_op);
SAME_PLACE(IoUringRestriction, sqe_op, io_uring_restriction, sqe_op);
SAME_PLACE(IoUringRestriction, sqe_flags, io_uring_restriction, sqe_flags);
SAME_PLACE(IoUringRestriction, resv, io_uring_restriction, resv);
SAME_PLACE(IoUringRestriction, resv2, io_uring_restriction, resv2);

static_assert(sizeof(IoUringTaskRestriction) == 16);
AT(IoUringTaskRestriction, flags, 0, 2);
AT(IoUringTaskRestriction, nr_res, 2, 2);
AT(IoUringTaskRestriction, resv, 4, 12);

static_assert(sizeof(IoUringClockRegister) == 16);
AT(IoUringClockRegister, clockid, 0, 4);
AT(IoUringClockRegister, resv, 4, 12);

static_assert(sizeof(IoUringBufStatus) == 40);
AT(IoUringBufStatus, buf_group, 0, 4);
AT(IoUringBufStatus, head, 4, 4);
AT(IoUringBufStatus, resv, 8, 32);

static_assert(sizeof(IoUringRegionDesc) == 64);
AT(IoUringRegionDesc, user_addr, 0, 8);
AT(IoUringRegionDesc, size, 8, 8);
AT(IoUringRegionDesc, flags, 16, 4);
AT(IoUringRegionDesc, id, 20, 4);
AT(IoUringRegionDesc, mmap_offset, 24, 8);
AT(IoUringRegionDesc, resv, 32, 32);

static_assert(sizeof(IoUringRegWait) == 64);
AT(IoUringRegWait, ts, 0, 16);
AT(IoUringRegWait, min_wait_usec, 16, 4);
AT(IoUringRegWait, flags, 20, 4);
AT(IoUringRegWait, sigmask, 24, 8);
AT(IoUringRegWait, sigmask_sz, 32, 4);
AT(IoUringRegWait, pad, 36, 12);
AT(IoUringRegWait, pad2, 48, 16);

SAME_SIZE(IoUringRecvmsgOut, io_uring_recvmsg_out);
SAME_PLACE(IoUringRecvmsgOut, namelen, io_uring_recvmsg_out, namelen);
SAME_PLACE(IoUringRecvmsgOut, controllen, io_uring_recvmsg_out, controllen);
SAME_PLACE(IoUringRecvmsgOut, payloadlen, io_uring_recvmsg_out, payloadlen);
SAME_PLACE(IoUringRecvmsgOut, flags, io_uring_recvmsg_out, flags);

static_assert(sizeof(IoUringAttrPi) == 32);
AT(IoUringAttrPi, flags, 0, 2);
AT(IoUringAttrPi, app_tag, 2, 2);
AT(IoUringAttrPi, len, 4, 4);
AT(IoUringAttrPi, addr, 8, 8);
AT(IoUringAttrPi, seed, 16, 8);
AT(IoUringAttrPi, rsvd, 24, 8);

static_assert(kIoUringRegisterUseRegisteredRing == 2147483648);
static_assert(kIoUringWqBound == IO_WQ_BOUND);
static_assert(kIoUringWqUnbound == IO_WQ_UNBOUND);
static_assert(kIoUringRsrcRegisterSparse == IORING_RSRC_REGISTER_SPARSE);
static_assert(kIoUringRegisterFilesSkip == IORING_REGISTER_FILES_SKIP);
static_assert(kIoUringMemRegionTypeUser == 1);
static_assert(kIoUringMemRegionRegWaitArg == 1);
static_assert(kIoUringRegWaitTs == 1);
static_assert(kIoUringRegisterSrcRegistered == 1);
static_assert(kIoUringRegisterDstReplace == 2);
static_assert(kIoUringPbufRingMmap == 1);
static_assert(kIoUringPbufRingInc == 2);
static_assert(kIoUringNapiRegisterOp == 0);
static_assert(kIoUringNapiStaticAddId == 1);
static_assert(kIoUringNapiStaticDelId == 2);
static_assert(kIoUringNapiTrackingDynamic == 0);
static_assert(kIoUringNapiTrackingStatic == 1);
static_assert(kIoUringNapiTrackingInactive == 255);
static_assert(kIoUringRestrictionRegisterOp == IORING_RESTRICTION_REGISTER_OP);
static_assert(kIoUringRestrictionSqeOp == IORING_RESTRICTION_SQE_OP);
static_assert(kIoUringRestrictionSqeFlagsAllowed == IORING_RESTRICTION_SQE_FLAGS_ALLOWED);
static_assert(kIoUringRestrictionSqeFlagsRequired == IORING_RESTRICTION_SQE_FLAGS_REQUIRED);

// The same by name, where the header is new enough.
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
SAME_SIZE(IoUringTaskRestriction, io_uring_task_restriction);
SAME_PLACE(IoUringTaskRestriction, flags, io_uring_task_restriction, flags);
SAME_PLACE(IoUringTaskRestriction, nr_res, io_uring_task_restriction, nr_res);
SAME_PLACE(IoUringTaskRestriction, resv, io_uring_task_restriction, resv);
SAME_SIZE(IoUringClockRegister, io_uring_clock_register);
SAME_PLACE(IoUringClockRegister, clockid, io_uring_clock_register, clockid);
SAME_PLACE(IoUringClockRegister, resv, io_uring_clock_register, __resv);
SAME_SIZE(IoUringBufStatus, io_uring_buf_status);
SAME_PLACE(IoUringBufStatus, buf_group, io_uring_buf_status, buf_group);
SAME_PLACE(IoUringBufStatus, head, io_uring_buf_status, head);
SAME_PLACE(IoUringBufStatus, resv, io_uring_buf_status, resv);
SAME_SIZE(IoUringRegionDesc, io_uring_region_desc);
SAME_PLACE(IoUringRegionDesc, user_addr, io_uring_region_desc, user_addr);
SAME_PLACE(IoUringRegionDesc, size, io_uring_region_desc, size);
SAME_PLACE(IoUringRegionDesc, flags, io_uring_region_desc, flags);
SAME_PLACE(IoUringRegionDesc, id, io_uring_region_desc, id);
SAME_PLACE(IoUringRegionDesc, mmap_offset, io_uring_region_desc, mmap_offset);
SAME_PLACE(IoUringRegionDesc, resv, io_uring_region_desc, __resv);
SAME_SIZE(IoUringRegWait, io_uring_reg_wait);
SAME_PLACE(IoUringRegWait, ts, io_uring_reg_wait, ts);
SAME_PLACE(IoUringRegWait, min_wait_usec, io_uring_reg_wait, min_wait_usec);
SAME_PLACE(IoUringRegWait, flags, io_uring_reg_wait, flags);
SAME_PLACE(IoUringRegWait, sigmask, io_uring_reg_wait, sigmask);
SAME_PLACE(IoUringRegWait, sigmask_sz, io_uring_reg_wait, sigmask_sz);
SAME_PLACE(IoUringRegWait, pad, io_uring_reg_wait, pad);
SAME_PLACE(IoUringRegWait, pad2, io_uring_reg_wait, pad2);
SAME_SIZE(IoUringAttrPi, io_uring_attr_pi);
SAME_PLACE(IoUringAttrPi, flags, io_uring_attr_pi, flags);
SAME_PLACE(IoUringAttrPi, app_tag, io_uring_attr_pi, app_tag);
SAME_PLACE(IoUringAttrPi, len, io_uring_attr_pi, len);
SAME_PLACE(IoUringAttrPi, addr, io_uring_attr_pi, addr);
SAME_PLACE(IoUringAttrPi, seed, io_uring_attr_pi, seed);
SAME_PLACE(IoUringAttrPi, rsvd, io_uring_attr_pi, rsvd);
static_assert(kIoUringRegisterUseRegisteredRing == IORING_REGISTER_USE_REGISTERED_RING);
static_assert(kIoUringMemRegionTypeUser == IORING_MEM_REGION_TYPE_USER);
static_assert(kIoUringMemRegionRegWaitArg == IORING_MEM_REGION_REG_WAIT_ARG);
static_assert(kIoUringRegWaitTs == IORING_REG_WAIT_TS);
static_assert(kIoUringRegisterSrcRegistered == IORING_REGISTER_SRC_REGISTERED);
static_assert(kIoUringRegisterDstReplace == IORING_REGISTER_DST_REPLACE);
static_assert(kIoUringPbufRingMmap == IOU_PBUF_RING_MMAP);
static_assert(kIoUringPbufRingInc == IOU_PBUF_RING_INC);
static_assert(kIoUringNapiRegisterOp == IO_URING_NAPI_REGISTER_OP);
static_assert(kIoUringNapiStaticAddId == IO_URING_NAPI_STATIC_ADD_ID);
static_assert(kIoUringNapiStaticDelId == IO_URING_NAPI_STATIC_DEL_ID);
static_assert(kIoUringNapiTrackingDynamic == IO_URING_NAPI_TRACKING_DYNAMIC);
static_assert(kIoUringNapiTrackingStatic == IO_URING_NAPI_TRACKING_STATIC);
static_assert(kIoUringNapiTrackingInactive == IO_URING_NAPI_TRACKING_INACTIVE);
#endif

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
        return ::syscall(SYS_io_uring_register, ring.ref().number(), value_of(op), argument,
                         count) < 0
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
