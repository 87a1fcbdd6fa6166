#include <array>
#include <cstddef>
#include <span>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/ublk.h"
#include "kernel-abi/uapi/version.h"

namespace pepita::abi_check {
namespace {

constexpr std::array kControl{
    SAME(abi::UblkControlRequest, dev_id), SAME(abi::UblkControlRequest, queue_id),
    SAME(abi::UblkControlRequest, len),    SAME(abi::UblkControlRequest, addr),
    SAME(abi::UblkControlRequest, data),   SAME(abi::UblkControlRequest, dev_path_len),
    SAME(abi::UblkControlRequest, pad),    SAME(abi::UblkControlRequest, reserved),
};
constexpr std::array kInfo{
    SAME(abi::UblkDeviceInfo, nr_hw_queues),
    SAME(abi::UblkDeviceInfo, queue_depth),
    SAME(abi::UblkDeviceInfo, state),
    MEMBER(abi::UblkDeviceInfo, io_desc_size, "io_desc_size|pad0"),
    SAME(abi::UblkDeviceInfo, max_io_buf_bytes),
    SAME(abi::UblkDeviceInfo, dev_id),
    SAME(abi::UblkDeviceInfo, ublksrv_pid),
    SAME(abi::UblkDeviceInfo, pad1),
    SAME(abi::UblkDeviceInfo, flags),
    SAME(abi::UblkDeviceInfo, ublksrv_flags),
    SAME(abi::UblkDeviceInfo, owner_uid),
    SAME(abi::UblkDeviceInfo, owner_gid),
    SAME(abi::UblkDeviceInfo, reserved1),
    SAME(abi::UblkDeviceInfo, reserved2),
};
constexpr std::array kBasic{
    SAME(abi::UblkParamBasic, attrs),
    SAME(abi::UblkParamBasic, logical_bs_shift),
    SAME(abi::UblkParamBasic, physical_bs_shift),
    SAME(abi::UblkParamBasic, io_opt_shift),
    SAME(abi::UblkParamBasic, io_min_shift),
    SAME(abi::UblkParamBasic, max_sectors),
    SAME(abi::UblkParamBasic, chunk_sectors),
    SAME(abi::UblkParamBasic, dev_sectors),
    SAME(abi::UblkParamBasic, virt_boundary_mask),
};
constexpr std::array kDiscard{
    SAME(abi::UblkParamDiscard, discard_alignment),
    SAME(abi::UblkParamDiscard, discard_granularity),
    SAME(abi::UblkParamDiscard, max_discard_sectors),
    SAME(abi::UblkParamDiscard, max_write_zeroes_sectors),
    SAME(abi::UblkParamDiscard, max_discard_segments),
    SAME(abi::UblkParamDiscard, reserved0),
};
constexpr std::array kDevt{
    SAME(abi::UblkParamDevt, char_major),
    SAME(abi::UblkParamDevt, char_minor),
    SAME(abi::UblkParamDevt, disk_major),
    SAME(abi::UblkParamDevt, disk_minor),
};
constexpr std::array kZoned{
    SAME(abi::UblkParamZoned, max_open_zones),
    SAME(abi::UblkParamZoned, max_active_zones),
    SAME(abi::UblkParamZoned, max_zone_append_sectors),
    SAME(abi::UblkParamZoned, reserved),
};
constexpr std::array kDmaAlign{
    SAME(abi::UblkParamDmaAlign, alignment),
    SAME(abi::UblkParamDmaAlign, pad),
};
constexpr std::array kSegment{
    SAME(abi::UblkParamSegment, seg_boundary_mask),
    SAME(abi::UblkParamSegment, max_segment_size),
    SAME(abi::UblkParamSegment, max_segments),
    SAME(abi::UblkParamSegment, pad),
};
constexpr std::array kIntegrity{
    SAME(abi::UblkParamIntegrity, flags),
    SAME(abi::UblkParamIntegrity, max_integrity_segments),
    SAME(abi::UblkParamIntegrity, interval_exp),
    SAME(abi::UblkParamIntegrity, metadata_size),
    SAME(abi::UblkParamIntegrity, pi_offset),
    SAME(abi::UblkParamIntegrity, csum_type),
    SAME(abi::UblkParamIntegrity, tag_size),
    SAME(abi::UblkParamIntegrity, pad),
};
constexpr std::array kParams{
    SAME(abi::UblkParams, len),
    SAME(abi::UblkParams, types),
    SAME(abi::UblkParams, basic),
    SAME(abi::UblkParams, discard),
    SAME(abi::UblkParams, devt),
    SINCE(abi::UblkParams, zoned, 6, 6),
    SINCE(abi::UblkParams, dma, 6, 15),
    SINCE(abi::UblkParams, seg, 6, 15),
    SINCE(abi::UblkParams, integrity, 7, 0),
};
constexpr std::array kShmemBufReg{
    SAME(abi::UblkShmemBufReg, addr),
    SAME(abi::UblkShmemBufReg, len),
    SAME(abi::UblkShmemBufReg, flags),
    SAME(abi::UblkShmemBufReg, reserved),
};
constexpr std::array kBatchIo{
    SAME(abi::UblkBatchIo, q_id),     SAME(abi::UblkBatchIo, flags),
    SAME(abi::UblkBatchIo, nr_elem),  SAME(abi::UblkBatchIo, elem_bytes),
    SAME(abi::UblkBatchIo, reserved), SAME(abi::UblkBatchIo, reserved2),
};
constexpr std::array kElemHeader{
    SAME(abi::UblkElemHeader, tag),
    SAME(abi::UblkElemHeader, buf_index),
    SAME(abi::UblkElemHeader, result),
};
constexpr std::array kAutoBufReg{
    SAME(abi::UblkAutoBufReg, index),
    SAME(abi::UblkAutoBufReg, flags),
    SAME(abi::UblkAutoBufReg, reserved0),
    SAME(abi::UblkAutoBufReg, reserved1),
};
constexpr std::array kIoRequest{
    SAME(abi::UblkIoRequest, q_id),
    SAME(abi::UblkIoRequest, tag),
    SAME(abi::UblkIoRequest, result),
    SAME(abi::UblkIoRequest, addr),
};
constexpr std::array kIoDescriptor{
    SAME(abi::UblkIoDescriptor, op_flags),
    SAME(abi::UblkIoDescriptor, nr_sectors),
    SAME(abi::UblkIoDescriptor, start_sector),
    SAME(abi::UblkIoDescriptor, addr),
};

constexpr std::array kTypes{
    whole<abi::UblkControlRequest>("ublksrv_ctrl_cmd", kControl),
    whole<abi::UblkDeviceInfo>("ublksrv_ctrl_dev_info", kInfo),
    whole<abi::UblkParamBasic>("ublk_param_basic", kBasic),
    whole<abi::UblkParamDiscard>("ublk_param_discard", kDiscard),
    whole<abi::UblkParamDevt>("ublk_param_devt", kDevt),
    whole<abi::UblkParamZoned>("ublk_param_zoned", kZoned),
    whole<abi::UblkParamDmaAlign>("ublk_param_dma_align", kDmaAlign),
    whole<abi::UblkParamSegment>("ublk_param_segment", kSegment),
    whole<abi::UblkParamIntegrity>("ublk_param_integrity", kIntegrity),
    start_of("ublk_params", offsetof(abi::UblkParams, zoned), kParams),
    whole<abi::UblkShmemBufReg>("ublk_shmem_buf_reg", kShmemBufReg),
    whole<abi::UblkBatchIo>("ublk_batch_io", kBatchIo),
    whole<abi::UblkElemHeader>("ublk_elem_header", kElemHeader),
    whole<abi::UblkAutoBufReg>("ublk_auto_buf_reg", kAutoBufReg),
    whole<abi::UblkIoRequest>("ublksrv_io_cmd", kIoRequest),
    whole<abi::UblkIoDescriptor>("ublksrv_io_desc", kIoDescriptor),
};

}  // namespace

std::span<const ExpectedType> ublk_types() { return kTypes; }

}  // namespace pepita::abi_check
