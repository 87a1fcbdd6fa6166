#include <array>
#include <span>
#include <tuple>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/ublk.h"

namespace pepita::abi_check {
namespace {

constexpr std::tuple kLayouts{
    LAYOUT(abi::UblkControlRequest, "ublksrv_ctrl_cmd", 32, AT(dev_id, 0, 4), AT(queue_id, 4, 2),
           AT(len, 6, 2), AT(addr, 8, 8), AT(data, 16, 8), AT(dev_path_len, 24, 2), AT(pad, 26, 2),
           AT(reserved, 28, 4)),
    LAYOUT(abi::UblkDeviceInfo, "ublksrv_ctrl_dev_info", 64, AT(nr_hw_queues, 0, 2),
           AT(queue_depth, 2, 2), AT(state, 4, 2), AS(io_desc_size, "io_desc_size|pad0", 6, 2),
           AT(max_io_buf_bytes, 8, 4), AT(dev_id, 12, 4), AT(ublksrv_pid, 16, 4), AT(pad1, 20, 4),
           AT(flags, 24, 8), AT(ublksrv_flags, 32, 8), AT(owner_uid, 40, 4), AT(owner_gid, 44, 4),
           AT(reserved1, 48, 8), AT(reserved2, 56, 8)),
    LAYOUT(abi::UblkParamBasic, "ublk_param_basic", 32, AT(attrs, 0, 4), AT(logical_bs_shift, 4, 1),
           AT(physical_bs_shift, 5, 1), AT(io_opt_shift, 6, 1), AT(io_min_shift, 7, 1),
           AT(max_sectors, 8, 4), AT(chunk_sectors, 12, 4), AT(dev_sectors, 16, 8),
           AT(virt_boundary_mask, 24, 8)),
    LAYOUT(abi::UblkParamDiscard, "ublk_param_discard", 20, AT(discard_alignment, 0, 4),
           AT(discard_granularity, 4, 4), AT(max_discard_sectors, 8, 4),
           AT(max_write_zeroes_sectors, 12, 4), AT(max_discard_segments, 16, 2),
           AT(reserved0, 18, 2)),
    LAYOUT(abi::UblkParamDevt, "ublk_param_devt", 16, AT(char_major, 0, 4), AT(char_minor, 4, 4),
           AT(disk_major, 8, 4), AT(disk_minor, 12, 4)),
    LAYOUT(abi::UblkParamZoned, "ublk_param_zoned", 32, AT(max_open_zones, 0, 4),
           AT(max_active_zones, 4, 4), AT(max_zone_append_sectors, 8, 4), AT(reserved, 12, 20)),
    LAYOUT(abi::UblkParamDmaAlign, "ublk_param_dma_align", 8, AT(alignment, 0, 4), AT(pad, 4, 4)),
    LAYOUT(abi::UblkParamSegment, "ublk_param_segment", 16, AT(seg_boundary_mask, 0, 8),
           AT(max_segment_size, 8, 4), AT(max_segments, 12, 2), AT(pad, 14, 2)),
    LAYOUT(abi::UblkParamIntegrity, "ublk_param_integrity", 16, AT(flags, 0, 4),
           AT(max_integrity_segments, 4, 2), AT(interval_exp, 6, 1), AT(metadata_size, 7, 1),
           AT(pi_offset, 8, 1), AT(csum_type, 9, 1), AT(tag_size, 10, 1), AT(pad, 11, 5)),
    BEGINNING(abi::UblkParams, "ublk_params", 152, 76, AT(len, 0, 4), AT(types, 4, 4),
              AT(basic, 8, 32), AT(discard, 40, 20), AT(devt, 60, 16), SINCE(zoned, 76, 32, 6, 6),
              SINCE(dma, 108, 8, 6, 15), SINCE(seg, 120, 16, 6, 15),
              SINCE(integrity, 136, 16, 7, 0)),
    LAYOUT(abi::UblkShmemBufReg, "ublk_shmem_buf_reg", 24, AT(addr, 0, 8), AT(len, 8, 8),
           AT(flags, 16, 4), AT(reserved, 20, 4)),
    LAYOUT(abi::UblkIoRequest, "ublksrv_io_cmd", 16, AT(q_id, 0, 2), AT(tag, 2, 2),
           AT(result, 4, 4), AT(addr, 8, 8)),
    LAYOUT(abi::UblkBatchIo, "ublk_batch_io", 16, AT(q_id, 0, 2), AT(flags, 2, 2),
           AT(nr_elem, 4, 2), AT(elem_bytes, 6, 1), AT(reserved, 7, 1), AT(reserved2, 8, 8)),
    LAYOUT(abi::UblkElemHeader, "ublk_elem_header", 8, AT(tag, 0, 2), AT(buf_index, 2, 2),
           AT(result, 4, 4)),
    LAYOUT(abi::UblkAutoBufReg, "ublk_auto_buf_reg", 8, AT(index, 0, 2), AT(flags, 2, 1),
           AT(reserved0, 3, 1), AT(reserved1, 4, 4)),
    LAYOUT(abi::UblkIoDescriptor, "ublksrv_io_desc", 24, AT(op_flags, 0, 4), AT(nr_sectors, 4, 4),
           AT(start_sector, 8, 8), AT(addr, 16, 8)),
};
constexpr auto kTypes = types_of(kLayouts);

}  // namespace

std::span<const ExpectedType> ublk_types() { return kTypes; }

}  // namespace pepita::abi_check
