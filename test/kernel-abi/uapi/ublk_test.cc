#include "kernel-abi/uapi/ublk.h"

#include <gtest/gtest.h>
#include <linux/ioctl.h>  // IWYU pragma: keep: of which the next one makes its commands
#include <linux/ublk_cmd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "test/kernel-abi/uapi/newer_ublk.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against the system's header; what Debian 12's, which is Linux 6.1's, does not have yet stands
// here and in newer_ublk.h as numbers.
namespace pepita::abi {
namespace {

static_assert(sizeof(UblkControlRequest) == sizeof(ublksrv_ctrl_cmd));
SAME_PLACE(UblkControlRequest, dev_id, ublksrv_ctrl_cmd, dev_id);
SAME_PLACE(UblkControlRequest, queue_id, ublksrv_ctrl_cmd, queue_id);
SAME_PLACE(UblkControlRequest, len, ublksrv_ctrl_cmd, len);
SAME_PLACE(UblkControlRequest, addr, ublksrv_ctrl_cmd, addr);
AT(UblkControlRequest, data, 16, 8);  // twice as long in Linux 6.1
AT(UblkControlRequest, dev_path_len, 24, 2);
AT(UblkControlRequest, pad, 26, 2);
AT(UblkControlRequest, reserved, 28, 4);

static_assert(sizeof(UblkDeviceInfo) == sizeof(ublksrv_ctrl_dev_info));
SAME_PLACE(UblkDeviceInfo, nr_hw_queues, ublksrv_ctrl_dev_info, nr_hw_queues);
SAME_PLACE(UblkDeviceInfo, queue_depth, ublksrv_ctrl_dev_info, queue_depth);
SAME_PLACE(UblkDeviceInfo, state, ublksrv_ctrl_dev_info, state);
AT(UblkDeviceInfo, io_desc_size, 6, 2);
SAME_PLACE(UblkDeviceInfo, max_io_buf_bytes, ublksrv_ctrl_dev_info, max_io_buf_bytes);
SAME_PLACE(UblkDeviceInfo, dev_id, ublksrv_ctrl_dev_info, dev_id);
SAME_PLACE(UblkDeviceInfo, ublksrv_pid, ublksrv_ctrl_dev_info, ublksrv_pid);
SAME_PLACE(UblkDeviceInfo, pad1, ublksrv_ctrl_dev_info, pad1);
SAME_PLACE(UblkDeviceInfo, flags, ublksrv_ctrl_dev_info, flags);
SAME_PLACE(UblkDeviceInfo, ublksrv_flags, ublksrv_ctrl_dev_info, ublksrv_flags);
AT(UblkDeviceInfo, owner_uid, 40, 4);
AT(UblkDeviceInfo, owner_gid, 44, 4);
SAME_PLACE(UblkDeviceInfo, reserved1, ublksrv_ctrl_dev_info, reserved1);
SAME_PLACE(UblkDeviceInfo, reserved2, ublksrv_ctrl_dev_info, reserved2);

static_assert(sizeof(UblkParamBasic) == sizeof(ublk_param_basic));
SAME_PLACE(UblkParamBasic, attrs, ublk_param_basic, attrs);
SAME_PLACE(UblkParamBasic, logical_bs_shift, ublk_param_basic, logical_bs_shift);
SAME_PLACE(UblkParamBasic, physical_bs_shift, ublk_param_basic, physical_bs_shift);
SAME_PLACE(UblkParamBasic, io_opt_shift, ublk_param_basic, io_opt_shift);
SAME_PLACE(UblkParamBasic, io_min_shift, ublk_param_basic, io_min_shift);
SAME_PLACE(UblkParamBasic, max_sectors, ublk_param_basic, max_sectors);
SAME_PLACE(UblkParamBasic, chunk_sectors, ublk_param_basic, chunk_sectors);
SAME_PLACE(UblkParamBasic, dev_sectors, ublk_param_basic, dev_sectors);
SAME_PLACE(UblkParamBasic, virt_boundary_mask, ublk_param_basic, virt_boundary_mask);

static_assert(sizeof(UblkParamDiscard) == sizeof(ublk_param_discard));
SAME_PLACE(UblkParamDiscard, discard_alignment, ublk_param_discard, discard_alignment);
SAME_PLACE(UblkParamDiscard, discard_granularity, ublk_param_discard, discard_granularity);
SAME_PLACE(UblkParamDiscard, max_discard_sectors, ublk_param_discard, max_discard_sectors);
SAME_PLACE(UblkParamDiscard, max_write_zeroes_sectors, ublk_param_discard,
           max_write_zeroes_sectors);
SAME_PLACE(UblkParamDiscard, max_discard_segments, ublk_param_discard, max_discard_segments);
SAME_PLACE(UblkParamDiscard, reserved0, ublk_param_discard, reserved0);

AT(UblkParamDevt, char_major, 0, 4);
AT(UblkParamDevt, char_minor, 4, 4);
AT(UblkParamDevt, disk_major, 8, 4);
AT(UblkParamDevt, disk_minor, 12, 4);

AT(UblkParamZoned, max_open_zones, 0, 4);
AT(UblkParamZoned, max_active_zones, 4, 4);
AT(UblkParamZoned, max_zone_append_sectors, 8, 4);
AT(UblkParamZoned, reserved, 12, 20);

AT(UblkParamDmaAlign, alignment, 0, 4);
AT(UblkParamDmaAlign, pad, 4, 4);

AT(UblkParamSegment, seg_boundary_mask, 0, 8);
AT(UblkParamSegment, max_segment_size, 8, 4);
AT(UblkParamSegment, max_segments, 12, 2);
AT(UblkParamSegment, pad, 14, 2);

AT(UblkParamIntegrity, flags, 0, 4);
AT(UblkParamIntegrity, max_integrity_segments, 4, 2);
AT(UblkParamIntegrity, interval_exp, 6, 1);
AT(UblkParamIntegrity, metadata_size, 7, 1);
AT(UblkParamIntegrity, pi_offset, 8, 1);
AT(UblkParamIntegrity, csum_type, 9, 1);
AT(UblkParamIntegrity, tag_size, 10, 1);
AT(UblkParamIntegrity, pad, 11, 5);

SAME_PLACE(UblkParams, len, ublk_params, len);
SAME_PLACE(UblkParams, types, ublk_params, types);
SAME_PLACE(UblkParams, basic, ublk_params, basic);
SAME_PLACE(UblkParams, discard, ublk_params, discard);
AT(UblkParams, devt, 60, 16);
AT(UblkParams, zoned, 76, 32);
AT(UblkParams, dma, 108, 8);
AT(UblkParams, seg, 120, 16);
AT(UblkParams, integrity, 136, 16);

AT(UblkShmemBufReg, addr, 0, 8);
AT(UblkShmemBufReg, len, 8, 8);
AT(UblkShmemBufReg, flags, 16, 4);
AT(UblkShmemBufReg, reserved, 20, 4);

static_assert(sizeof(UblkIoRequest) == sizeof(ublksrv_io_cmd));
SAME_PLACE(UblkIoRequest, q_id, ublksrv_io_cmd, q_id);
SAME_PLACE(UblkIoRequest, tag, ublksrv_io_cmd, tag);
SAME_PLACE(UblkIoRequest, result, ublksrv_io_cmd, result);
SAME_PLACE(UblkIoRequest, addr, ublksrv_io_cmd, addr);

AT(UblkBatchIo, q_id, 0, 2);
AT(UblkBatchIo, flags, 2, 2);
AT(UblkBatchIo, nr_elem, 4, 2);
AT(UblkBatchIo, elem_bytes, 6, 1);
AT(UblkBatchIo, reserved, 7, 1);
AT(UblkBatchIo, reserved2, 8, 8);

AT(UblkElemHeader, tag, 0, 2);
AT(UblkElemHeader, buf_index, 2, 2);
AT(UblkElemHeader, result, 4, 4);

AT(UblkAutoBufReg, index, 0, 2);
AT(UblkAutoBufReg, flags, 2, 1);
AT(UblkAutoBufReg, reserved0, 3, 1);
AT(UblkAutoBufReg, reserved1, 4, 4);

static_assert(sizeof(UblkIoDescriptor) == sizeof(ublksrv_io_desc));
SAME_PLACE(UblkIoDescriptor, op_flags, ublksrv_io_desc, op_flags);
SAME_PLACE(UblkIoDescriptor, nr_sectors, ublksrv_io_desc, nr_sectors);
SAME_PLACE(UblkIoDescriptor, start_sector, ublksrv_io_desc, start_sector);
SAME_PLACE(UblkIoDescriptor, addr, ublksrv_io_desc, addr);

static_assert(kUblkFSupportZeroCopy == UBLK_F_SUPPORT_ZERO_COPY);
static_assert(kUblkFUringCmdCompInTask == UBLK_F_URING_CMD_COMP_IN_TASK);
static_assert(kUblkFNeedGetData == UBLK_F_NEED_GET_DATA);
static_assert(kUblkFUserRecovery == UBLK_F_USER_RECOVERY);
static_assert(kUblkFUserRecoveryReissue == UBLK_F_USER_RECOVERY_REISSUE);
static_assert(kUblkFUnprivilegedDev == UBLK_F_UNPRIVILEGED_DEV);
static_assert(kUblkFCmdIoctlEncode == UBLK_F_CMD_IOCTL_ENCODE);
static_assert(kUblkFUserCopy == UBLK_F_USER_COPY);
static_assert(kUblkFZoned == UBLK_F_ZONED);
static_assert(kUblkFUserRecoveryFailIo == UBLK_F_USER_RECOVERY_FAIL_IO);
static_assert(kUblkFUpdateSize == UBLK_F_UPDATE_SIZE);
static_assert(kUblkFAutoBufReg == UBLK_F_AUTO_BUF_REG);
static_assert(kUblkFQuiesce == UBLK_F_QUIESCE);
static_assert(kUblkFPerIoDaemon == UBLK_F_PER_IO_DAEMON);
static_assert(kUblkFBufRegOffDaemon == UBLK_F_BUF_REG_OFF_DAEMON);
static_assert(kUblkFBatchIo == UBLK_F_BATCH_IO);
static_assert(kUblkFIntegrity == UBLK_F_INTEGRITY);
static_assert(kUblkFSafeStopDev == UBLK_F_SAFE_STOP_DEV);
static_assert(kUblkFNoAutoPartScan == UBLK_F_NO_AUTO_PART_SCAN);
static_assert(kUblkFShmemZc == UBLK_F_SHMEM_ZC);
static_assert(kUblkFIoDescSize == UBLK_F_IO_DESC_SIZE);
static_assert(kUblkFeaturesLength == UBLK_FEATURES_LEN);
static_assert(kUblkStateDead == UBLK_S_DEV_DEAD);
static_assert(kUblkStateLive == UBLK_S_DEV_LIVE);
static_assert(kUblkStateQuiesced == UBLK_S_DEV_QUIESCED);
static_assert(kUblkStateFailIo == UBLK_S_DEV_FAIL_IO);
static_assert(kUblkQueuesMax == UBLK_MAX_NR_QUEUES);
static_assert(kUblkQueueDepthMax == UBLK_MAX_QUEUE_DEPTH);
static_assert(kUblkAttrReadOnly == UBLK_ATTR_READ_ONLY);
static_assert(kUblkAttrRotational == UBLK_ATTR_ROTATIONAL);
static_assert(kUblkAttrVolatileCache == UBLK_ATTR_VOLATILE_CACHE);
static_assert(kUblkAttrFua == UBLK_ATTR_FUA);
static_assert(kUblkSegmentSizeMin == UBLK_MIN_SEGMENT_SIZE);
static_assert(kUblkParamBasic == UBLK_PARAM_TYPE_BASIC);
static_assert(kUblkParamDiscard == UBLK_PARAM_TYPE_DISCARD);
static_assert(kUblkParamDevt == UBLK_PARAM_TYPE_DEVT);
static_assert(kUblkParamZoned == UBLK_PARAM_TYPE_ZONED);
static_assert(kUblkParamDmaAlign == UBLK_PARAM_TYPE_DMA_ALIGN);
static_assert(kUblkParamSegment == UBLK_PARAM_TYPE_SEGMENT);
static_assert(kUblkParamIntegrity == UBLK_PARAM_TYPE_INTEGRITY);
static_assert(kUblkShmemBufReadOnly == UBLK_SHMEM_BUF_READ_ONLY);
static_assert(kUblkBatchFHasZoneLba == UBLK_BATCH_F_HAS_ZONE_LBA);
static_assert(kUblkBatchFHasBufAddr == UBLK_BATCH_F_HAS_BUF_ADDR);
static_assert(kUblkBatchFAutoBufRegFallback == UBLK_BATCH_F_AUTO_BUF_REG_FALLBACK);
static_assert(kUblkAutoBufRegFallback == UBLK_AUTO_BUF_REG_FALLBACK);
static_assert(kUblkAutoBufRegMask == UBLK_AUTO_BUF_REG_F_MASK);
static_assert(kUblkIoResOk == UBLK_IO_RES_OK);
static_assert(kUblkIoResNeedGetData == UBLK_IO_RES_NEED_GET_DATA);
static_assert(kUblkIoResAbort == UBLK_IO_RES_ABORT);
static_assert(kUblkIoOpRead == UBLK_IO_OP_READ);
static_assert(kUblkIoOpWrite == UBLK_IO_OP_WRITE);
static_assert(kUblkIoOpFlush == UBLK_IO_OP_FLUSH);
static_assert(kUblkIoOpDiscard == UBLK_IO_OP_DISCARD);
static_assert(kUblkIoOpWriteSame == UBLK_IO_OP_WRITE_SAME);
static_assert(kUblkIoOpWriteZeroes == UBLK_IO_OP_WRITE_ZEROES);
static_assert(kUblkIoOpZoneOpen == UBLK_IO_OP_ZONE_OPEN);
static_assert(kUblkIoOpZoneClose == UBLK_IO_OP_ZONE_CLOSE);
static_assert(kUblkIoOpZoneFinish == UBLK_IO_OP_ZONE_FINISH);
static_assert(kUblkIoOpZoneAppend == UBLK_IO_OP_ZONE_APPEND);
static_assert(kUblkIoOpZoneResetAll == UBLK_IO_OP_ZONE_RESET_ALL);
static_assert(kUblkIoOpZoneReset == UBLK_IO_OP_ZONE_RESET);
static_assert(kUblkIoOpReportZones == UBLK_IO_OP_REPORT_ZONES);
static_assert(kUblkIoFFailfastDev == UBLK_IO_F_FAILFAST_DEV);
static_assert(kUblkIoFFailfastTransport == UBLK_IO_F_FAILFAST_TRANSPORT);
static_assert(kUblkIoFFailfastDriver == UBLK_IO_F_FAILFAST_DRIVER);
static_assert(kUblkIoFMeta == UBLK_IO_F_META);
static_assert(kUblkIoFFua == UBLK_IO_F_FUA);
static_assert(kUblkIoFNounmap == UBLK_IO_F_NOUNMAP);
static_assert(kUblkIoFSwap == UBLK_IO_F_SWAP);
static_assert(kUblkIoFNeedRegBuf == UBLK_IO_F_NEED_REG_BUF);
static_assert(kUblkIoFIntegrity == UBLK_IO_F_INTEGRITY);
static_assert(kUblkIoFShmemZc == UBLK_IO_F_SHMEM_ZC);
static_assert(kUblkShmemZcOffsetMask == UBLK_SHMEM_ZC_OFF_MASK);
static_assert(kUblkShmemZcIndexShift == UBLK_SHMEM_ZC_IDX_OFF);
static_assert(kUblkShmemZcIndexMask == UBLK_SHMEM_ZC_IDX_MASK);
static_assert(kUblkDescriptorsOffset == UBLKSRV_CMD_BUF_OFFSET);
static_assert(kUblkDataOffset == UBLKSRV_IO_BUF_OFFSET);
static_assert(kUblkDataShift == UBLK_IO_BUF_OFF);
static_assert(kUblkDataBits == UBLK_IO_BUF_BITS);
static_assert(kUblkDataMask == UBLK_IO_BUF_BITS_MASK);
static_assert(kUblkTagShift == UBLK_TAG_OFF);
static_assert(kUblkTagBits == UBLK_TAG_BITS);
static_assert(kUblkTagMask == UBLK_TAG_BITS_MASK);
static_assert(kUblkQueueShift == UBLK_QID_OFF);
static_assert(kUblkQueueBits == UBLK_QID_BITS);
static_assert(kUblkQueueMask == UBLK_QID_BITS_MASK);
static_assert(kUblkDataTotalBits == UBLKSRV_IO_BUF_TOTAL_BITS);
static_assert(kUblkDataTotalSize == UBLKSRV_IO_BUF_TOTAL_SIZE);
static_assert(kUblkIntegrityShift == UBLK_INTEGRITY_FLAG_OFF);
static_assert(kUblkIntegrityOffset == UBLKSRV_IO_INTEGRITY_FLAG);
// Of no name there: -1 where a command is about no queue, or wants any id; ublksrv_get_op().
static_assert(kUblkNoQueue == static_cast<std::uint16_t>(-1));
static_assert(kUblkAnyDevice == static_cast<std::uint32_t>(-1));
static_assert(kUblkOperationMask == 0xff);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::GetQueueAffinity) ==
              UBLK_U_CMD_GET_QUEUE_AFFINITY);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::GetDevInfo) ==
              UBLK_U_CMD_GET_DEV_INFO);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::AddDev) == UBLK_U_CMD_ADD_DEV);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::DelDev) == UBLK_U_CMD_DEL_DEV);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::StartDev) == UBLK_U_CMD_START_DEV);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::StopDev) == UBLK_U_CMD_STOP_DEV);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::SetParams) == UBLK_U_CMD_SET_PARAMS);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::GetParams) == UBLK_U_CMD_GET_PARAMS);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::StartUserRecovery) ==
              UBLK_U_CMD_START_USER_RECOVERY);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::EndUserRecovery) ==
              UBLK_U_CMD_END_USER_RECOVERY);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::GetDevInfo2) ==
              UBLK_U_CMD_GET_DEV_INFO2);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::GetFeatures) ==
              UBLK_U_CMD_GET_FEATURES);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::DelDevAsync) ==
              UBLK_U_CMD_DEL_DEV_ASYNC);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::UpdateSize) == UBLK_U_CMD_UPDATE_SIZE);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::QuiesceDev) == UBLK_U_CMD_QUIESCE_DEV);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::TryStopDev) ==
              UBLK_U_CMD_TRY_STOP_DEV);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::RegBuf) == UBLK_U_CMD_REG_BUF);
static_assert(static_cast<std::uint32_t>(UblkControlCommand::UnregBuf) == UBLK_U_CMD_UNREG_BUF);
static_assert(static_cast<std::uint32_t>(UblkIoCommand::FetchReq) == UBLK_U_IO_FETCH_REQ);
static_assert(static_cast<std::uint32_t>(UblkIoCommand::CommitAndFetchReq) ==
              UBLK_U_IO_COMMIT_AND_FETCH_REQ);
static_assert(static_cast<std::uint32_t>(UblkIoCommand::NeedGetData) == UBLK_U_IO_NEED_GET_DATA);
static_assert(static_cast<std::uint32_t>(UblkIoCommand::RegisterIoBuf) ==
              UBLK_U_IO_REGISTER_IO_BUF);
static_assert(static_cast<std::uint32_t>(UblkIoCommand::UnregisterIoBuf) ==
              UBLK_U_IO_UNREGISTER_IO_BUF);
static_assert(static_cast<std::uint32_t>(UblkIoCommand::PrepIoCmds) == UBLK_U_IO_PREP_IO_CMDS);
static_assert(static_cast<std::uint32_t>(UblkIoCommand::CommitIoCmds) == UBLK_U_IO_COMMIT_IO_CMDS);
static_assert(static_cast<std::uint32_t>(UblkIoCommand::FetchIoCmds) == UBLK_U_IO_FETCH_IO_CMDS);

// The place of a registered buffer as one number.
static_assert(to_sqe_address({.index = 0x1234,
                              .flags = kUblkAutoBufRegFallback,
                              .reserved0 = 0,
                              .reserved1 = 0}) == 0x11234);
static_assert(
    to_sqe_address({.index = 0, .flags = 0, .reserved0 = 0xab, .reserved1 = 0x89abcdef}) ==
    0x89abcdefab000000);

TEST(Ublk, PlaceInSharedMemoryIsIndexAndOffset) {
    EXPECT_EQ(ublk_shmem_index(0x0000123489abcdef), 0x1234);
    EXPECT_EQ(ublk_shmem_offset(0x0000123489abcdef), 0x89abcdef);
    EXPECT_EQ(ublk_shmem_index(0xffff000000000000), 0);
}

}  // namespace
}  // namespace pepita::abi
