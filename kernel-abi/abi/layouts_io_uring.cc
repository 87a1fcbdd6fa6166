#include <array>
#include <span>
#include <tuple>
#include <utility>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/io_uring.h"
#include "kernel-abi/uapi/io_uring_register.h"

namespace pepita::abi_check {
namespace {

constexpr std::tuple kLayouts{
    LAYOUT(abi::IoUringSqe, "io_uring_sqe", 64, AT(opcode, 0, 1), AT(flags, 1, 1), AT(ioprio, 2, 2),
           AT(fd, 4, 4), AT(off, 8, 8), AT(addr, 16, 8), AT(len, 24, 4),
           AS(op_flags, "rw_flags", 28, 4), AT(user_data, 32, 8), AT(buf_index, 40, 2),
           AT(personality, 42, 2), AS(file_index, "splice_fd_in", 44, 4), AT(addr3, 48, 8),
           AS(pad2, "__pad2", 56, 8)),
    LAYOUT(abi::IoUringSqe128, "", 128, AT(entry, 0, 64), AT(more, 64, 64)),
    BEGINNING(abi::IoUringCqe, "io_uring_cqe", 16, 16, AT(user_data, 0, 8), AT(res, 8, 4),
              AT(flags, 12, 4)),
    LAYOUT(abi::IoUringCqe32, "", 32, AT(entry, 0, 16), AT(big, 16, 16)),
    LAYOUT(abi::IoUringSqOffsets, "io_sqring_offsets", 40, AT(head, 0, 4), AT(tail, 4, 4),
           AT(ring_mask, 8, 4), AT(ring_entries, 12, 4), AT(flags, 16, 4), AT(dropped, 20, 4),
           AT(array, 24, 4), AT(resv1, 28, 4), AS(user_addr, "user_addr|resv2", 32, 8)),
    LAYOUT(abi::IoUringCqOffsets, "io_cqring_offsets", 40, AT(head, 0, 4), AT(tail, 4, 4),
           AT(ring_mask, 8, 4), AT(ring_entries, 12, 4), AT(overflow, 16, 4), AT(cqes, 20, 4),
           AT(flags, 24, 4), AT(resv1, 28, 4), AS(user_addr, "user_addr|resv2", 32, 8)),
    LAYOUT(abi::IoUringParams, "io_uring_params", 120, AT(sq_entries, 0, 4), AT(cq_entries, 4, 4),
           AT(flags, 8, 4), AT(sq_thread_cpu, 12, 4), AT(sq_thread_idle, 16, 4),
           AT(features, 20, 4), AT(wq_fd, 24, 4), AT(resv, 28, 12), AT(sq_off, 40, 40),
           AT(cq_off, 80, 40)),
    LAYOUT(abi::IoUringProbeOp, "io_uring_probe_op", 8, AT(op, 0, 1), AT(resv, 1, 1),
           AT(flags, 2, 2), AT(resv2, 4, 4)),
    BEGINNING(abi::IoUringProbe, "io_uring_probe", 16, 16, AT(last_op, 0, 1), AT(ops_len, 1, 1),
              AT(resv, 2, 2), AT(resv2, 4, 12)),
    LAYOUT(abi::IoUringRsrcRegister, "io_uring_rsrc_register", 32, AT(nr, 0, 4), AT(flags, 4, 4),
           AT(resv2, 8, 8), AT(data, 16, 8), AT(tags, 24, 8)),
    LAYOUT(abi::IoUringRsrcUpdate2, "io_uring_rsrc_update2", 32, AT(offset, 0, 4), AT(resv, 4, 4),
           AT(data, 8, 8), AT(tags, 16, 8), AT(nr, 24, 4), AT(resv2, 28, 4)),
    LAYOUT(abi::IoUringGeteventsArg, "io_uring_getevents_arg", 24, AT(sigmask, 0, 8),
           AT(sigmask_sz, 8, 4), AS(min_wait_usec, "min_wait_usec|pad", 12, 4), AT(ts, 16, 8)),
    LAYOUT(abi::IoUringBuf, "io_uring_buf", 16, AT(addr, 0, 8), AT(len, 8, 4), AT(bid, 12, 2),
           AT(resv, 14, 2)),
    LAYOUT(abi::IoUringBufReg, "io_uring_buf_reg", 40, AT(ring_addr, 0, 8), AT(ring_entries, 8, 4),
           AT(bgid, 12, 2), AS(flags, "flags|pad", 14, 2), OURS(min_left, 16, 4),
           OURS(resv, 20, 20)),
    LAYOUT(abi::IoUringSyncCancelReg, "io_uring_sync_cancel_reg", 64, AT(addr, 0, 8), AT(fd, 8, 4),
           AT(flags, 12, 4), AT(timeout, 16, 16), OURS(opcode, 32, 1), OURS(pad, 33, 7),
           OURS(pad2, 40, 24)),
    LAYOUT(abi::IoUringFileIndexRange, "io_uring_file_index_range", 16, AT(off, 0, 4),
           AT(len, 4, 4), AT(resv, 8, 8)),
    LAYOUT(abi::IoUringNapi, "io_uring_napi", 16, AT(busy_poll_to, 0, 4),
           AT(prefer_busy_poll, 4, 1), OURS(opcode, 5, 1), OURS(pad, 6, 2), OURS(op_param, 8, 4),
           OURS(resv, 12, 4)),
    LAYOUT(abi::IoUringCloneBuffers, "io_uring_clone_buffers", 32, AT(src_fd, 0, 4),
           AT(flags, 4, 4), OURS(src_off, 8, 4), OURS(dst_off, 12, 4), OURS(nr, 16, 4),
           OURS(pad, 20, 12)),
    LAYOUT(abi::IoUringMemRegionReg, "io_uring_mem_region_reg", 32, AT(region_uptr, 0, 8),
           AT(flags, 8, 8), OURS(resv, 16, 16)),
    LAYOUT(abi::IoUringFilesUpdate, "io_uring_files_update", 16, AT(offset, 0, 4), AT(resv, 4, 4),
           AT(fds, 8, 8)),
    LAYOUT(abi::IoUringRsrcUpdate, "io_uring_rsrc_update", 16, AT(offset, 0, 4), AT(resv, 4, 4),
           AT(data, 8, 8)),
    LAYOUT(abi::IoUringRestriction, "io_uring_restriction", 16, AT(opcode, 0, 2),
           AT(register_op, 2, 1), AT(sqe_op, 2, 1), AT(sqe_flags, 2, 1), AT(resv, 3, 1),
           AT(resv2, 4, 12)),
    LAYOUT(abi::IoUringTaskRestriction, "io_uring_task_restriction", 16, AT(flags, 0, 2),
           AT(nr_res, 2, 2), AT(resv, 4, 12)),
    LAYOUT(abi::IoUringClockRegister, "io_uring_clock_register", 16, AT(clockid, 0, 4),
           OURS(resv, 4, 12)),
    LAYOUT(abi::IoUringBufStatus, "io_uring_buf_status", 40, AT(buf_group, 0, 4), AT(head, 4, 4),
           AT(resv, 8, 32)),
    LAYOUT(abi::IoUringRegionDesc, "io_uring_region_desc", 64, AT(user_addr, 0, 8), AT(size, 8, 8),
           AT(flags, 16, 4), AT(id, 20, 4), AT(mmap_offset, 24, 8), OURS(resv, 32, 32)),
    LAYOUT(abi::IoUringRegWait, "io_uring_reg_wait", 64, AT(ts, 0, 16), AT(min_wait_usec, 16, 4),
           AT(flags, 20, 4), AT(sigmask, 24, 8), AT(sigmask_sz, 32, 4), OURS(pad, 36, 12),
           OURS(pad2, 48, 16)),
    LAYOUT(abi::IoUringRecvmsgOut, "io_uring_recvmsg_out", 16, AT(namelen, 0, 4),
           AT(controllen, 4, 4), AT(payloadlen, 8, 4), AT(flags, 12, 4)),
    LAYOUT(abi::IoUringAttrPi, "io_uring_attr_pi", 32, AT(flags, 0, 2), AT(app_tag, 2, 2),
           AT(len, 4, 4), AT(addr, 8, 8), AT(seed, 16, 8), AT(rsvd, 24, 8)),
};
constexpr auto kTypes = types_of(kLayouts);

#define OP(linux_name, ours)                                                                \
    ExpectedEnumerator {                                                                    \
        .name = "IORING_OP_" #linux_name, .value = std::to_underlying(abi::IoUringOp::ours) \
    }
#define REGISTER(linux_name, ours)                                                               \
    ExpectedEnumerator {                                                                         \
        .name = "IORING_" #linux_name, .value = std::to_underlying(abi::IoUringRegisterOp::ours) \
    }
constexpr std::array kEnumerators = enumerators(
    OP(NOP, Nop), OP(READV, Readv), OP(WRITEV, Writev), OP(FSYNC, Fsync), OP(READ_FIXED, ReadFixed),
    OP(WRITE_FIXED, WriteFixed), OP(POLL_ADD, PollAdd), OP(POLL_REMOVE, PollRemove),
    OP(SYNC_FILE_RANGE, SyncFileRange), OP(SENDMSG, Sendmsg), OP(RECVMSG, Recvmsg),
    OP(TIMEOUT, Timeout), OP(TIMEOUT_REMOVE, TimeoutRemove), OP(ACCEPT, Accept),
    OP(ASYNC_CANCEL, AsyncCancel), OP(LINK_TIMEOUT, LinkTimeout), OP(CONNECT, Connect),
    OP(FALLOCATE, Fallocate), OP(OPENAT, Openat), OP(CLOSE, Close), OP(FILES_UPDATE, FilesUpdate),
    OP(STATX, Statx), OP(READ, Read), OP(WRITE, Write), OP(FADVISE, Fadvise), OP(MADVISE, Madvise),
    OP(SEND, Send), OP(RECV, Recv), OP(OPENAT2, Openat2), OP(EPOLL_CTL, EpollCtl),
    OP(SPLICE, Splice), OP(PROVIDE_BUFFERS, ProvideBuffers), OP(REMOVE_BUFFERS, RemoveBuffers),
    OP(TEE, Tee), OP(SHUTDOWN, Shutdown), OP(RENAMEAT, Renameat), OP(UNLINKAT, Unlinkat),
    OP(MKDIRAT, Mkdirat), OP(SYMLINKAT, Symlinkat), OP(LINKAT, Linkat), OP(MSG_RING, MsgRing),
    OP(FSETXATTR, Fsetxattr), OP(SETXATTR, Setxattr), OP(FGETXATTR, Fgetxattr),
    OP(GETXATTR, Getxattr), OP(SOCKET, Socket), OP(URING_CMD, UringCmd), OP(SEND_ZC, SendZc),
    OP(SENDMSG_ZC, SendmsgZc), OP(READ_MULTISHOT, ReadMultishot), OP(WAITID, Waitid),
    OP(FUTEX_WAIT, FutexWait), OP(FUTEX_WAKE, FutexWake), OP(FUTEX_WAITV, FutexWaitv),
    OP(FIXED_FD_INSTALL, FixedFdInstall), OP(FTRUNCATE, Ftruncate), OP(BIND, Bind),
    OP(LISTEN, Listen), OP(RECV_ZC, RecvZc), OP(EPOLL_WAIT, EpollWait), OP(READV_FIXED, ReadvFixed),
    OP(WRITEV_FIXED, WritevFixed), OP(PIPE, Pipe), OP(NOP128, Nop128),
    OP(URING_CMD128, UringCmd128), REGISTER(REGISTER_BUFFERS, Buffers),
    REGISTER(UNREGISTER_BUFFERS, UnregisterBuffers), REGISTER(REGISTER_FILES, Files),
    REGISTER(UNREGISTER_FILES, UnregisterFiles), REGISTER(REGISTER_EVENTFD, Eventfd),
    REGISTER(UNREGISTER_EVENTFD, UnregisterEventfd), REGISTER(REGISTER_FILES_UPDATE, FilesUpdate),
    REGISTER(REGISTER_EVENTFD_ASYNC, EventfdAsync), REGISTER(REGISTER_PROBE, Probe),
    REGISTER(REGISTER_PERSONALITY, Personality),
    REGISTER(UNREGISTER_PERSONALITY, UnregisterPersonality),
    REGISTER(REGISTER_RESTRICTIONS, Restrictions), REGISTER(REGISTER_ENABLE_RINGS, EnableRings),
    REGISTER(REGISTER_FILES2, Files2), REGISTER(REGISTER_FILES_UPDATE2, FilesUpdate2),
    REGISTER(REGISTER_BUFFERS2, Buffers2), REGISTER(REGISTER_BUFFERS_UPDATE, BuffersUpdate),
    REGISTER(REGISTER_IOWQ_AFF, IowqAff), REGISTER(UNREGISTER_IOWQ_AFF, UnregisterIowqAff),
    REGISTER(REGISTER_IOWQ_MAX_WORKERS, IowqMaxWorkers), REGISTER(REGISTER_RING_FDS, RingFds),
    REGISTER(UNREGISTER_RING_FDS, UnregisterRingFds), REGISTER(REGISTER_PBUF_RING, PbufRing),
    REGISTER(UNREGISTER_PBUF_RING, UnregisterPbufRing), REGISTER(REGISTER_SYNC_CANCEL, SyncCancel),
    REGISTER(REGISTER_FILE_ALLOC_RANGE, FileAllocRange), REGISTER(REGISTER_PBUF_STATUS, PbufStatus),
    REGISTER(REGISTER_NAPI, Napi), REGISTER(UNREGISTER_NAPI, UnregisterNapi),
    REGISTER(REGISTER_CLOCK, Clock), REGISTER(REGISTER_CLONE_BUFFERS, CloneBuffers),
    REGISTER(REGISTER_SEND_MSG_RING, SendMsgRing), REGISTER(REGISTER_ZCRX_IFQ, ZcrxIfq),
    REGISTER(REGISTER_RESIZE_RINGS, ResizeRings), REGISTER(REGISTER_MEM_REGION, MemRegion),
    REGISTER(REGISTER_QUERY, Query), REGISTER(REGISTER_ZCRX_CTRL, ZcrxCtrl),
    REGISTER(REGISTER_BPF_FILTER, BpfFilter));

}  // namespace

std::span<const ExpectedType> io_uring_types() { return kTypes; }

std::span<const ExpectedEnumerator> io_uring_enumerators() { return kEnumerators; }

}  // namespace pepita::abi_check
