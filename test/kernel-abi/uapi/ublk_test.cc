#include "kernel-abi/uapi/ublk.h"

#include <gtest/gtest.h>
#include <linux/ioctl.h>  // IWYU pragma: keep: of which the next one makes its commands
#include <linux/ublk_cmd.h>
#include <linux/version.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace pepita::abi {
namespace {

// Against Linux's header.
#define SAME(ours, theirs) static_assert((ours) == (theirs))
#define NUMBER(ours, theirs) static_assert(std::to_underlying(ours) == (theirs))
SAME(kUblkFSupportZeroCopy, UBLK_F_SUPPORT_ZERO_COPY);
SAME(kUblkFUringCmdCompInTask, UBLK_F_URING_CMD_COMP_IN_TASK);
SAME(kUblkFNeedGetData, UBLK_F_NEED_GET_DATA);
SAME(kUblkFUserRecovery, UBLK_F_USER_RECOVERY);
SAME(kUblkFUserRecoveryReissue, UBLK_F_USER_RECOVERY_REISSUE);
SAME(kUblkStateDead, UBLK_S_DEV_DEAD);
SAME(kUblkStateLive, UBLK_S_DEV_LIVE);
SAME(kUblkStateQuiesced, UBLK_S_DEV_QUIESCED);
SAME(kUblkQueueDepthMax, UBLK_MAX_QUEUE_DEPTH);
SAME(kUblkAttrReadOnly, UBLK_ATTR_READ_ONLY);
SAME(kUblkAttrRotational, UBLK_ATTR_ROTATIONAL);
SAME(kUblkAttrVolatileCache, UBLK_ATTR_VOLATILE_CACHE);
SAME(kUblkAttrFua, UBLK_ATTR_FUA);
SAME(kUblkParamBasic, UBLK_PARAM_TYPE_BASIC);
SAME(kUblkParamDiscard, UBLK_PARAM_TYPE_DISCARD);
SAME(kUblkIoResOk, UBLK_IO_RES_OK);
SAME(kUblkIoResNeedGetData, UBLK_IO_RES_NEED_GET_DATA);
SAME(kUblkIoOpRead, UBLK_IO_OP_READ);
SAME(kUblkIoOpWrite, UBLK_IO_OP_WRITE);
SAME(kUblkIoOpFlush, UBLK_IO_OP_FLUSH);
SAME(kUblkIoOpDiscard, UBLK_IO_OP_DISCARD);
SAME(kUblkIoOpWriteSame, UBLK_IO_OP_WRITE_SAME);
SAME(kUblkIoOpWriteZeroes, UBLK_IO_OP_WRITE_ZEROES);
SAME(kUblkIoFFailfastDev, UBLK_IO_F_FAILFAST_DEV);
SAME(kUblkIoFFailfastTransport, UBLK_IO_F_FAILFAST_TRANSPORT);
SAME(kUblkIoFFailfastDriver, UBLK_IO_F_FAILFAST_DRIVER);
SAME(kUblkIoFMeta, UBLK_IO_F_META);
SAME(kUblkIoFFua, UBLK_IO_F_FUA);
SAME(kUblkIoFNounmap, UBLK_IO_F_NOUNMAP);
SAME(kUblkIoFSwap, UBLK_IO_F_SWAP);
SAME(kUblkDescriptorsOffset, UBLKSRV_CMD_BUF_OFFSET);
SAME(kUblkDataOffset, UBLKSRV_IO_BUF_OFFSET);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
SAME(kUblkFUnprivilegedDev, UBLK_F_UNPRIVILEGED_DEV);
SAME(kUblkFCmdIoctlEncode, UBLK_F_CMD_IOCTL_ENCODE);
SAME(kUblkFUserCopy, UBLK_F_USER_COPY);
SAME(kUblkFZoned, UBLK_F_ZONED);
SAME(kUblkFeaturesLength, UBLK_FEATURES_LEN);
SAME(kUblkQueuesMax, UBLK_MAX_NR_QUEUES);
SAME(kUblkParamDevt, UBLK_PARAM_TYPE_DEVT);
SAME(kUblkParamZoned, UBLK_PARAM_TYPE_ZONED);
SAME(kUblkIoOpZoneOpen, UBLK_IO_OP_ZONE_OPEN);
SAME(kUblkIoOpZoneClose, UBLK_IO_OP_ZONE_CLOSE);
SAME(kUblkIoOpZoneFinish, UBLK_IO_OP_ZONE_FINISH);
SAME(kUblkIoOpZoneAppend, UBLK_IO_OP_ZONE_APPEND);
SAME(kUblkIoOpZoneResetAll, UBLK_IO_OP_ZONE_RESET_ALL);
SAME(kUblkIoOpZoneReset, UBLK_IO_OP_ZONE_RESET);
SAME(kUblkIoOpReportZones, UBLK_IO_OP_REPORT_ZONES);
SAME(kUblkDataShift, UBLK_IO_BUF_OFF);
SAME(kUblkDataBits, UBLK_IO_BUF_BITS);
SAME(kUblkDataMask, UBLK_IO_BUF_BITS_MASK);
SAME(kUblkTagShift, UBLK_TAG_OFF);
SAME(kUblkTagBits, UBLK_TAG_BITS);
SAME(kUblkTagMask, UBLK_TAG_BITS_MASK);
SAME(kUblkQueueShift, UBLK_QID_OFF);
SAME(kUblkQueueBits, UBLK_QID_BITS);
SAME(kUblkQueueMask, UBLK_QID_BITS_MASK);
SAME(kUblkDataTotalBits, UBLKSRV_IO_BUF_TOTAL_BITS);
SAME(kUblkDataTotalSize, UBLKSRV_IO_BUF_TOTAL_SIZE);
NUMBER(UblkControlCommand::GetQueueAffinity, UBLK_U_CMD_GET_QUEUE_AFFINITY);
NUMBER(UblkControlCommand::GetDevInfo, UBLK_U_CMD_GET_DEV_INFO);
NUMBER(UblkControlCommand::AddDev, UBLK_U_CMD_ADD_DEV);
NUMBER(UblkControlCommand::DelDev, UBLK_U_CMD_DEL_DEV);
NUMBER(UblkControlCommand::StartDev, UBLK_U_CMD_START_DEV);
NUMBER(UblkControlCommand::StopDev, UBLK_U_CMD_STOP_DEV);
NUMBER(UblkControlCommand::SetParams, UBLK_U_CMD_SET_PARAMS);
NUMBER(UblkControlCommand::GetParams, UBLK_U_CMD_GET_PARAMS);
NUMBER(UblkControlCommand::StartUserRecovery, UBLK_U_CMD_START_USER_RECOVERY);
NUMBER(UblkControlCommand::EndUserRecovery, UBLK_U_CMD_END_USER_RECOVERY);
NUMBER(UblkControlCommand::GetDevInfo2, UBLK_U_CMD_GET_DEV_INFO2);
NUMBER(UblkControlCommand::GetFeatures, UBLK_U_CMD_GET_FEATURES);
NUMBER(UblkControlCommand::DelDevAsync, UBLK_U_CMD_DEL_DEV_ASYNC);
NUMBER(UblkIoCommand::FetchReq, UBLK_U_IO_FETCH_REQ);
NUMBER(UblkIoCommand::CommitAndFetchReq, UBLK_U_IO_COMMIT_AND_FETCH_REQ);
NUMBER(UblkIoCommand::NeedGetData, UBLK_U_IO_NEED_GET_DATA);
#endif

TEST(UblkAbi, PlaceOfARegisteredBufferIsOneNumber) {
    constexpr std::uint64_t with_fallback = to_sqe_address(
        {.index = 0x1234, .flags = kUblkAutoBufRegFallback, .reserved0 = 0, .reserved1 = 0});
    constexpr std::uint64_t reserved =
        to_sqe_address({.index = 0, .flags = 0, .reserved0 = 0xab, .reserved1 = 0x89ab'cdef});
    EXPECT_EQ(with_fallback, 0x11234U);
    EXPECT_EQ(reserved, 0x89ab'cdef'ab00'0000U);
}

}  // namespace
}  // namespace pepita::abi
