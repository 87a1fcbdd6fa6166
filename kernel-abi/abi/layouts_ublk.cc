#include <array>
#include <cstddef>
#include <span>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/ublk.h"

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
    SAME(abi::UblkDeviceInfo, pad0),
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
constexpr std::array kParams{
    SAME(abi::UblkParams, len),     SAME(abi::UblkParams, types), SAME(abi::UblkParams, basic),
    SAME(abi::UblkParams, discard), SAME(abi::UblkParams, devt),
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
    start_of("ublk_params", sizeof(abi::UblkParams), kParams),
    whole<abi::UblkIoRequest>("ublksrv_io_cmd", kIoRequest),
    whole<abi::UblkIoDescriptor>("ublksrv_io_desc", kIoDescriptor),
};

}  // namespace

std::span<const ExpectedType> ublk_types() { return kTypes; }

}  // namespace pepita::abi_check
