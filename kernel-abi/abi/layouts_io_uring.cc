#include <array>
#include <cstddef>
#include <span>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/io_uring.h"
#include "kernel-abi/uapi/io_uring_register.h"

namespace pepita::abi_check {
namespace {

constexpr std::array kSqe{
    SAME(abi::IoUringSqe, opcode),      SAME(abi::IoUringSqe, flags),
    SAME(abi::IoUringSqe, ioprio),      SAME(abi::IoUringSqe, fd),
    SAME(abi::IoUringSqe, off),         SAME(abi::IoUringSqe, addr),
    SAME(abi::IoUringSqe, len),         MEMBER(abi::IoUringSqe, op_flags, "rw_flags"),
    SAME(abi::IoUringSqe, user_data),   SAME(abi::IoUringSqe, buf_index),
    SAME(abi::IoUringSqe, personality), MEMBER(abi::IoUringSqe, file_index, "splice_fd_in"),
    SAME(abi::IoUringSqe, addr3),       MEMBER(abi::IoUringSqe, pad2, "__pad2"),
};
constexpr std::array kCqe{
    SAME(abi::IoUringCqe, user_data),
    SAME(abi::IoUringCqe, res),
    SAME(abi::IoUringCqe, flags),
};
constexpr std::array kSqOffsets{
    SAME(abi::IoUringSqOffsets, head),
    SAME(abi::IoUringSqOffsets, tail),
    SAME(abi::IoUringSqOffsets, ring_mask),
    SAME(abi::IoUringSqOffsets, ring_entries),
    SAME(abi::IoUringSqOffsets, flags),
    SAME(abi::IoUringSqOffsets, dropped),
    SAME(abi::IoUringSqOffsets, array),
    SAME(abi::IoUringSqOffsets, resv1),
    MEMBER(abi::IoUringSqOffsets, user_addr, "user_addr|resv2"),
};
constexpr std::array kCqOffsets{
    SAME(abi::IoUringCqOffsets, head),
    SAME(abi::IoUringCqOffsets, tail),
    SAME(abi::IoUringCqOffsets, ring_mask),
    SAME(abi::IoUringCqOffsets, ring_entries),
    SAME(abi::IoUringCqOffsets, overflow),
    SAME(abi::IoUringCqOffsets, cqes),
    SAME(abi::IoUringCqOffsets, flags),
    SAME(abi::IoUringCqOffsets, resv1),
    MEMBER(abi::IoUringCqOffsets, user_addr, "user_addr|resv2"),
};
constexpr std::array kParams{
    SAME(abi::IoUringParams, sq_entries),     SAME(abi::IoUringParams, cq_entries),
    SAME(abi::IoUringParams, flags),          SAME(abi::IoUringParams, sq_thread_cpu),
    SAME(abi::IoUringParams, sq_thread_idle), SAME(abi::IoUringParams, features),
    SAME(abi::IoUringParams, wq_fd),          SAME(abi::IoUringParams, resv),
    SAME(abi::IoUringParams, sq_off),         SAME(abi::IoUringParams, cq_off),
};
constexpr std::array kProbeOp{
    SAME(abi::IoUringProbeOp, op),
    SAME(abi::IoUringProbeOp, resv),
    SAME(abi::IoUringProbeOp, flags),
    SAME(abi::IoUringProbeOp, resv2),
};
constexpr std::array kProbe{
    SAME(abi::IoUringProbe, last_op),
    SAME(abi::IoUringProbe, ops_len),
    SAME(abi::IoUringProbe, resv),
    SAME(abi::IoUringProbe, resv2),
};
constexpr std::array kRsrcRegister{
    SAME(abi::IoUringRsrcRegister, nr),    SAME(abi::IoUringRsrcRegister, flags),
    SAME(abi::IoUringRsrcRegister, resv2), SAME(abi::IoUringRsrcRegister, data),
    SAME(abi::IoUringRsrcRegister, tags),
};
constexpr std::array kRsrcUpdate2{
    SAME(abi::IoUringRsrcUpdate2, offset), SAME(abi::IoUringRsrcUpdate2, resv),
    SAME(abi::IoUringRsrcUpdate2, data),   SAME(abi::IoUringRsrcUpdate2, tags),
    SAME(abi::IoUringRsrcUpdate2, nr),     SAME(abi::IoUringRsrcUpdate2, resv2),
};
constexpr std::array kGeteventsArg{
    SAME(abi::IoUringGeteventsArg, sigmask),
    SAME(abi::IoUringGeteventsArg, sigmask_sz),
    MEMBER(abi::IoUringGeteventsArg, min_wait_usec, "min_wait_usec|pad"),
    SAME(abi::IoUringGeteventsArg, ts),
};
constexpr std::array kBuf{
    SAME(abi::IoUringBuf, addr),
    SAME(abi::IoUringBuf, len),
    SAME(abi::IoUringBuf, bid),
    SAME(abi::IoUringBuf, resv),
};
constexpr std::array kBufReg{
    SAME(abi::IoUringBufReg, ring_addr),
    SAME(abi::IoUringBufReg, ring_entries),
    SAME(abi::IoUringBufReg, bgid),
    MEMBER(abi::IoUringBufReg, flags, "flags|pad"),
};
constexpr std::array kSyncCancelReg{
    SAME(abi::IoUringSyncCancelReg, addr),
    SAME(abi::IoUringSyncCancelReg, fd),
    SAME(abi::IoUringSyncCancelReg, flags),
    SAME(abi::IoUringSyncCancelReg, timeout),
};
constexpr std::array kFileIndexRange{
    SAME(abi::IoUringFileIndexRange, off),
    SAME(abi::IoUringFileIndexRange, len),
    SAME(abi::IoUringFileIndexRange, resv),
};
constexpr std::array kNapi{
    SAME(abi::IoUringNapi, busy_poll_to),
    SAME(abi::IoUringNapi, prefer_busy_poll),
};
// Linux 6.12 has padding where src_off, dst_off and nr are since 6.13.
constexpr std::array kCloneBuffers{SAME(abi::IoUringCloneBuffers, src_fd),
                                   SAME(abi::IoUringCloneBuffers, flags)};
constexpr std::array kMemRegionReg{
    SAME(abi::IoUringMemRegionReg, region_uptr),
    SAME(abi::IoUringMemRegionReg, flags),
};
constexpr std::array kFilesUpdate{SAME(abi::IoUringFilesUpdate, offset),
                                  SAME(abi::IoUringFilesUpdate, resv),
                                  SAME(abi::IoUringFilesUpdate, fds)};
constexpr std::array kRsrcUpdate{SAME(abi::IoUringRsrcUpdate, offset),
                                 SAME(abi::IoUringRsrcUpdate, resv),
                                 SAME(abi::IoUringRsrcUpdate, data)};
constexpr std::array kRestriction{
    SAME(abi::IoUringRestriction, opcode), SAME(abi::IoUringRestriction, register_op),
    SAME(abi::IoUringRestriction, sqe_op), SAME(abi::IoUringRestriction, sqe_flags),
    SAME(abi::IoUringRestriction, resv),   SAME(abi::IoUringRestriction, resv2)};
constexpr std::array kClockRegister{SAME(abi::IoUringClockRegister, clockid)};
constexpr std::array kBufStatus{SAME(abi::IoUringBufStatus, buf_group),
                                SAME(abi::IoUringBufStatus, head),
                                SAME(abi::IoUringBufStatus, resv)};
constexpr std::array kRegionDesc{
    SAME(abi::IoUringRegionDesc, user_addr), SAME(abi::IoUringRegionDesc, size),
    SAME(abi::IoUringRegionDesc, flags), SAME(abi::IoUringRegionDesc, id),
    SAME(abi::IoUringRegionDesc, mmap_offset)};
constexpr std::array kRegWait{SAME(abi::IoUringRegWait, ts),
                              SAME(abi::IoUringRegWait, min_wait_usec),
                              SAME(abi::IoUringRegWait, flags), SAME(abi::IoUringRegWait, sigmask),
                              SAME(abi::IoUringRegWait, sigmask_sz)};
constexpr std::array kRecvmsgOut{
    SAME(abi::IoUringRecvmsgOut, namelen), SAME(abi::IoUringRecvmsgOut, controllen),
    SAME(abi::IoUringRecvmsgOut, payloadlen), SAME(abi::IoUringRecvmsgOut, flags)};
constexpr std::array kAttrPi{SAME(abi::IoUringAttrPi, flags), SAME(abi::IoUringAttrPi, app_tag),
                             SAME(abi::IoUringAttrPi, len),   SAME(abi::IoUringAttrPi, addr),
                             SAME(abi::IoUringAttrPi, seed),  SAME(abi::IoUringAttrPi, rsvd)};

constexpr std::array kTypes{
    whole<abi::IoUringSqe>("io_uring_sqe", kSqe),
    start_of("io_uring_cqe", sizeof(abi::IoUringCqe), kCqe),
    whole<abi::IoUringSqOffsets>("io_sqring_offsets", kSqOffsets),
    whole<abi::IoUringCqOffsets>("io_cqring_offsets", kCqOffsets),
    whole<abi::IoUringParams>("io_uring_params", kParams),
    whole<abi::IoUringProbeOp>("io_uring_probe_op", kProbeOp),
    start_of("io_uring_probe", sizeof(abi::IoUringProbe), kProbe),
    whole<abi::IoUringRsrcRegister>("io_uring_rsrc_register", kRsrcRegister),
    whole<abi::IoUringRsrcUpdate2>("io_uring_rsrc_update2", kRsrcUpdate2),
    whole<abi::IoUringGeteventsArg>("io_uring_getevents_arg", kGeteventsArg),
    whole<abi::IoUringBuf>("io_uring_buf", kBuf),
    whole<abi::IoUringBufReg>("io_uring_buf_reg", kBufReg),
    whole<abi::IoUringSyncCancelReg>("io_uring_sync_cancel_reg", kSyncCancelReg),
    whole<abi::IoUringFileIndexRange>("io_uring_file_index_range", kFileIndexRange),
    whole<abi::IoUringNapi>("io_uring_napi", kNapi),
    whole<abi::IoUringCloneBuffers>("io_uring_clone_buffers", kCloneBuffers),
    whole<abi::IoUringMemRegionReg>("io_uring_mem_region_reg", kMemRegionReg),
    whole<abi::IoUringFilesUpdate>("io_uring_files_update", kFilesUpdate),
    whole<abi::IoUringRsrcUpdate>("io_uring_rsrc_update", kRsrcUpdate),
    whole<abi::IoUringRestriction>("io_uring_restriction", kRestriction),
    whole<abi::IoUringClockRegister>("io_uring_clock_register", kClockRegister),
    whole<abi::IoUringBufStatus>("io_uring_buf_status", kBufStatus),
    whole<abi::IoUringRegionDesc>("io_uring_region_desc", kRegionDesc),
    whole<abi::IoUringRegWait>("io_uring_reg_wait", kRegWait),
    whole<abi::IoUringRecvmsgOut>("io_uring_recvmsg_out", kRecvmsgOut),
    whole<abi::IoUringAttrPi>("io_uring_attr_pi", kAttrPi),
};

}  // namespace

std::span<const ExpectedType> io_uring_types() { return kTypes; }

}  // namespace pepita::abi_check
