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
#include <span>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/uapi/version.h"
#include "test/kernel-abi/uapi/newer_io_uring.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

SAME_SIZE(IoUringSqe, io_uring_sqe);
SAME_PLACE(IoUringSqe, opcode, io_uring_sqe, opcode);
SAME_PLACE(IoUringSqe, flags, io_uring_sqe, flags);
SAME_PLACE(IoUringSqe, ioprio, io_uring_sqe, ioprio);
SAME_PLACE(IoUringSqe, fd, io_uring_sqe, fd);
SAME_PLACE(IoUringSqe, off, io_uring_sqe, off);
SAME_PLACE(IoUringSqe, off, io_uring_sqe, addr2);
SAME_PLACE(IoUringSqe, addr, io_uring_sqe, addr);
SAME_PLACE(IoUringSqe, addr, io_uring_sqe, splice_off_in);
SAME_PLACE(IoUringSqe, len, io_uring_sqe, len);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, rw_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, fsync_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, poll32_events);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, sync_range_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, msg_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, timeout_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, accept_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, cancel_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, open_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, statx_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, fadvise_advice);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, splice_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, rename_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, unlink_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, hardlink_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, xattr_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, msg_ring_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, uring_cmd_flags);
SAME_PLACE(IoUringSqe, user_data, io_uring_sqe, user_data);
SAME_PLACE(IoUringSqe, buf_index, io_uring_sqe, buf_index);
SAME_PLACE(IoUringSqe, buf_index, io_uring_sqe, buf_group);
SAME_PLACE(IoUringSqe, personality, io_uring_sqe, personality);
SAME_PLACE(IoUringSqe, file_index, io_uring_sqe, splice_fd_in);
SAME_PLACE(IoUringSqe, file_index, io_uring_sqe, file_index);
SAME_PLACE(IoUringSqe, addr3, io_uring_sqe, addr3);
static_assert(offsetof(IoUringSqe, pad2) == 56 && sizeof(IoUringSqe::pad2) == 8);
SAME_START(IoUringSqe, off, io_uring_sqe, cmd_op);
SAME_START(IoUringSqe, op_flags, io_uring_sqe, poll_events);
SAME_START(IoUringSqe, file_index, io_uring_sqe, addr_len);
SAME_START(IoUringSqe, addr3, io_uring_sqe, cmd);

static_assert(sizeof(IoUringCqe) == 16);
SAME_PLACE(IoUringCqe, user_data, io_uring_cqe, user_data);
SAME_PLACE(IoUringCqe, res, io_uring_cqe, res);
SAME_PLACE(IoUringCqe, flags, io_uring_cqe, flags);

static_assert(sizeof(IoUringProbe) == 16);
SAME_PLACE(IoUringProbe, last_op, io_uring_probe, last_op);
SAME_PLACE(IoUringProbe, ops_len, io_uring_probe, ops_len);
SAME_PLACE(IoUringProbe, resv, io_uring_probe, resv);
SAME_PLACE(IoUringProbe, resv2, io_uring_probe, resv2);

SAME_SIZE(IoUringSqOffsets, io_sqring_offsets);
SAME_PLACE(IoUringSqOffsets, head, io_sqring_offsets, head);
SAME_PLACE(IoUringSqOffsets, tail, io_sqring_offsets, tail);
SAME_PLACE(IoUringSqOffsets, ring_mask, io_sqring_offsets, ring_mask);
SAME_PLACE(IoUringSqOffsets, ring_entries, io_sqring_offsets, ring_entries);
SAME_PLACE(IoUringSqOffsets, flags, io_sqring_offsets, flags);
SAME_PLACE(IoUringSqOffsets, dropped, io_sqring_offsets, dropped);
SAME_PLACE(IoUringSqOffsets, array, io_sqring_offsets, array);
SAME_PLACE(IoUringSqOffsets, resv1, io_sqring_offsets, resv1);
AT(IoUringSqOffsets, user_addr, 32, 8);

SAME_SIZE(IoUringCqOffsets, io_cqring_offsets);
SAME_PLACE(IoUringCqOffsets, head, io_cqring_offsets, head);
SAME_PLACE(IoUringCqOffsets, tail, io_cqring_offsets, tail);
SAME_PLACE(IoUringCqOffsets, ring_mask, io_cqring_offsets, ring_mask);
SAME_PLACE(IoUringCqOffsets, ring_entries, io_cqring_offsets, ring_entries);
SAME_PLACE(IoUringCqOffsets, overflow, io_cqring_offsets, overflow);
SAME_PLACE(IoUringCqOffsets, cqes, io_cqring_offsets, cqes);
SAME_PLACE(IoUringCqOffsets, flags, io_cqring_offsets, flags);
SAME_PLACE(IoUringCqOffsets, resv1, io_cqring_offsets, resv1);
AT(IoUringCqOffsets, user_addr, 32, 8);

SAME_SIZE(IoUringParams, io_uring_params);
SAME_PLACE(IoUringParams, sq_entries, io_uring_params, sq_entries);
SAME_PLACE(IoUringParams, cq_entries, io_uring_params, cq_entries);
SAME_PLACE(IoUringParams, flags, io_uring_params, flags);
SAME_PLACE(IoUringParams, sq_thread_cpu, io_uring_params, sq_thread_cpu);
SAME_PLACE(IoUringParams, sq_thread_idle, io_uring_params, sq_thread_idle);
SAME_PLACE(IoUringParams, features, io_uring_params, features);
SAME_PLACE(IoUringParams, wq_fd, io_uring_params, wq_fd);
SAME_PLACE(IoUringParams, resv, io_uring_params, resv);
SAME_PLACE(IoUringParams, sq_off, io_uring_params, sq_off);
SAME_PLACE(IoUringParams, cq_off, io_uring_params, cq_off);

SAME_SIZE(IoUringProbeOp, io_uring_probe_op);
SAME_PLACE(IoUringProbeOp, op, io_uring_probe_op, op);
SAME_PLACE(IoUringProbeOp, resv, io_uring_probe_op, resv);
SAME_PLACE(IoUringProbeOp, flags, io_uring_probe_op, flags);
SAME_PLACE(IoUringProbeOp, resv2, io_uring_probe_op, resv2);

SAME_SIZE(IoUringRsrcRegister, io_uring_rsrc_register);
SAME_PLACE(IoUringRsrcRegister, nr, io_uring_rsrc_register, nr);
SAME_PLACE(IoUringRsrcRegister, flags, io_uring_rsrc_register, flags);
SAME_PLACE(IoUringRsrcRegister, resv2, io_uring_rsrc_register, resv2);
SAME_PLACE(IoUringRsrcRegister, data, io_uring_rsrc_register, data);
SAME_PLACE(IoUringRsrcRegister, tags, io_uring_rsrc_register, tags);

SAME_SIZE(IoUringRsrcUpdate2, io_uring_rsrc_update2);
SAME_PLACE(IoUringRsrcUpdate2, offset, io_uring_rsrc_update2, offset);
SAME_PLACE(IoUringRsrcUpdate2, resv, io_uring_rsrc_update2, resv);
SAME_PLACE(IoUringRsrcUpdate2, data, io_uring_rsrc_update2, data);
SAME_PLACE(IoUringRsrcUpdate2, tags, io_uring_rsrc_update2, tags);
SAME_PLACE(IoUringRsrcUpdate2, nr, io_uring_rsrc_update2, nr);
SAME_PLACE(IoUringRsrcUpdate2, resv2, io_uring_rsrc_update2, resv2);

SAME_SIZE(IoUringGeteventsArg, io_uring_getevents_arg);
SAME_PLACE(IoUringGeteventsArg, sigmask, io_uring_getevents_arg, sigmask);
SAME_PLACE(IoUringGeteventsArg, sigmask_sz, io_uring_getevents_arg, sigmask_sz);
AT(IoUringGeteventsArg, min_wait_usec, 12, 4);
SAME_PLACE(IoUringGeteventsArg, ts, io_uring_getevents_arg, ts);

SAME_SIZE(IoUringBuf, io_uring_buf);
SAME_PLACE(IoUringBuf, addr, io_uring_buf, addr);
SAME_PLACE(IoUringBuf, len, io_uring_buf, len);
SAME_PLACE(IoUringBuf, bid, io_uring_buf, bid);
SAME_PLACE(IoUringBuf, resv, io_uring_buf, resv);

SAME_SIZE(IoUringBufReg, io_uring_buf_reg);
SAME_PLACE(IoUringBufReg, ring_addr, io_uring_buf_reg, ring_addr);
SAME_PLACE(IoUringBufReg, ring_entries, io_uring_buf_reg, ring_entries);
SAME_PLACE(IoUringBufReg, bgid, io_uring_buf_reg, bgid);
AT(IoUringBufReg, flags, 14, 2);
AT(IoUringBufReg, min_left, 16, 4);
AT(IoUringBufReg, resv, 20, 20);

SAME_SIZE(IoUringSyncCancelReg, io_uring_sync_cancel_reg);
SAME_PLACE(IoUringSyncCancelReg, addr, io_uring_sync_cancel_reg, addr);
SAME_PLACE(IoUringSyncCancelReg, fd, io_uring_sync_cancel_reg, fd);
SAME_PLACE(IoUringSyncCancelReg, flags, io_uring_sync_cancel_reg, flags);
SAME_PLACE(IoUringSyncCancelReg, timeout, io_uring_sync_cancel_reg, timeout);
AT(IoUringSyncCancelReg, opcode, 32, 1);
AT(IoUringSyncCancelReg, pad, 33, 7);
AT(IoUringSyncCancelReg, pad2, 40, 24);

SAME_SIZE(IoUringFileIndexRange, io_uring_file_index_range);
SAME_PLACE(IoUringFileIndexRange, off, io_uring_file_index_range, off);
SAME_PLACE(IoUringFileIndexRange, len, io_uring_file_index_range, len);
SAME_PLACE(IoUringFileIndexRange, resv, io_uring_file_index_range, resv);

static_assert(sizeof(IoUringNapi) == 16);
AT(IoUringNapi, busy_poll_to, 0, 4);
AT(IoUringNapi, prefer_busy_poll, 4, 1);
AT(IoUringNapi, opcode, 5, 1);
AT(IoUringNapi, pad, 6, 2);
AT(IoUringNapi, op_param, 8, 4);
AT(IoUringNapi, resv, 12, 4);

static_assert(sizeof(IoUringCloneBuffers) == 32);
AT(IoUringCloneBuffers, src_fd, 0, 4);
AT(IoUringCloneBuffers, flags, 4, 4);
AT(IoUringCloneBuffers, src_off, 8, 4);
AT(IoUringCloneBuffers, dst_off, 12, 4);
AT(IoUringCloneBuffers, nr, 16, 4);
AT(IoUringCloneBuffers, pad, 20, 12);

static_assert(sizeof(IoUringMemRegionReg) == 32);
AT(IoUringMemRegionReg, region_uptr, 0, 8);
AT(IoUringMemRegionReg, flags, 8, 8);
AT(IoUringMemRegionReg, resv, 16, 16);

static_assert(kIoUringProbeOpSupported == IO_URING_OP_SUPPORTED);
static_assert(kIoUringSqeFixedFile == IOSQE_FIXED_FILE);
static_assert(kIoUringSqeIoDrain == IOSQE_IO_DRAIN);
static_assert(kIoUringSqeIoLink == IOSQE_IO_LINK);
static_assert(kIoUringSqeIoHardlink == IOSQE_IO_HARDLINK);
static_assert(kIoUringSqeAsync == IOSQE_ASYNC);
static_assert(kIoUringSqeBufferSelect == IOSQE_BUFFER_SELECT);
static_assert(kIoUringSqeCqeSkipSuccess == IOSQE_CQE_SKIP_SUCCESS);
static_assert(kIoUringCqeBuffer == IORING_CQE_F_BUFFER);
static_assert(kIoUringCqeMore == IORING_CQE_F_MORE);
static_assert(kIoUringCqeSockNonempty == IORING_CQE_F_SOCK_NONEMPTY);
static_assert(kIoUringCqeNotif == IORING_CQE_F_NOTIF);
static_assert(kIoUringCqeBufMore == IORING_CQE_F_BUF_MORE);
static_assert(kIoUringSetupIopoll == IORING_SETUP_IOPOLL);
static_assert(kIoUringSetupSqpoll == IORING_SETUP_SQPOLL);
static_assert(kIoUringSetupSqAff == IORING_SETUP_SQ_AFF);
static_assert(kIoUringSetupCqsize == IORING_SETUP_CQSIZE);
static_assert(kIoUringSetupClamp == IORING_SETUP_CLAMP);
static_assert(kIoUringSetupAttachWq == IORING_SETUP_ATTACH_WQ);
static_assert(kIoUringSetupRDisabled == IORING_SETUP_R_DISABLED);
static_assert(kIoUringSetupSubmitAll == IORING_SETUP_SUBMIT_ALL);
static_assert(kIoUringSetupCoopTaskrun == IORING_SETUP_COOP_TASKRUN);
static_assert(kIoUringSetupTaskrunFlag == IORING_SETUP_TASKRUN_FLAG);
static_assert(kIoUringSetupSqe128 == IORING_SETUP_SQE128);
static_assert(kIoUringSetupCqe32 == IORING_SETUP_CQE32);
static_assert(kIoUringSetupSingleIssuer == IORING_SETUP_SINGLE_ISSUER);
static_assert(kIoUringSetupDeferTaskrun == IORING_SETUP_DEFER_TASKRUN);
static_assert(kIoUringSetupNoMmap == IORING_SETUP_NO_MMAP);
static_assert(kIoUringSetupRegisteredFdOnly == IORING_SETUP_REGISTERED_FD_ONLY);
static_assert(kIoUringSetupNoSqarray == IORING_SETUP_NO_SQARRAY);
static_assert(kIoUringSetupHybridIopoll == IORING_SETUP_HYBRID_IOPOLL);
static_assert(kIoUringSetupCqeMixed == IORING_SETUP_CQE_MIXED);
static_assert(kIoUringSetupSqeMixed == IORING_SETUP_SQE_MIXED);
static_assert(kIoUringSetupSqRewind == IORING_SETUP_SQ_REWIND);
static_assert(kIoUringOffSqRing == IORING_OFF_SQ_RING);
static_assert(kIoUringOffCqRing == IORING_OFF_CQ_RING);
static_assert(kIoUringOffSqes == IORING_OFF_SQES);
static_assert(value_of(IoUringOp::Nop) == IORING_OP_NOP);
static_assert(value_of(IoUringOp::Readv) == IORING_OP_READV);
static_assert(value_of(IoUringOp::Writev) == IORING_OP_WRITEV);
static_assert(value_of(IoUringOp::Fsync) == IORING_OP_FSYNC);
static_assert(value_of(IoUringOp::ReadFixed) == IORING_OP_READ_FIXED);
static_assert(value_of(IoUringOp::WriteFixed) == IORING_OP_WRITE_FIXED);
static_assert(value_of(IoUringOp::PollAdd) == IORING_OP_POLL_ADD);
static_assert(value_of(IoUringOp::PollRemove) == IORING_OP_POLL_REMOVE);
static_assert(value_of(IoUringOp::SyncFileRange) == IORING_OP_SYNC_FILE_RANGE);
static_assert(value_of(IoUringOp::Sendmsg) == IORING_OP_SENDMSG);
static_assert(value_of(IoUringOp::Recvmsg) == IORING_OP_RECVMSG);
static_assert(value_of(IoUringOp::Timeout) == IORING_OP_TIMEOUT);
static_assert(value_of(IoUringOp::TimeoutRemove) == IORING_OP_TIMEOUT_REMOVE);
static_assert(value_of(IoUringOp::Accept) == IORING_OP_ACCEPT);
static_assert(value_of(IoUringOp::AsyncCancel) == IORING_OP_ASYNC_CANCEL);
static_assert(value_of(IoUringOp::LinkTimeout) == IORING_OP_LINK_TIMEOUT);
static_assert(value_of(IoUringOp::Connect) == IORING_OP_CONNECT);
static_assert(value_of(IoUringOp::Fallocate) == IORING_OP_FALLOCATE);
static_assert(value_of(IoUringOp::Openat) == IORING_OP_OPENAT);
static_assert(value_of(IoUringOp::Close) == IORING_OP_CLOSE);
static_assert(value_of(IoUringOp::FilesUpdate) == IORING_OP_FILES_UPDATE);
static_assert(value_of(IoUringOp::Statx) == IORING_OP_STATX);
static_assert(value_of(IoUringOp::Read) == IORING_OP_READ);
static_assert(value_of(IoUringOp::Write) == IORING_OP_WRITE);
static_assert(value_of(IoUringOp::Fadvise) == IORING_OP_FADVISE);
static_assert(value_of(IoUringOp::Madvise) == IORING_OP_MADVISE);
static_assert(value_of(IoUringOp::Send) == IORING_OP_SEND);
static_assert(value_of(IoUringOp::Recv) == IORING_OP_RECV);
static_assert(value_of(IoUringOp::Openat2) == IORING_OP_OPENAT2);
static_assert(value_of(IoUringOp::EpollCtl) == IORING_OP_EPOLL_CTL);
static_assert(value_of(IoUringOp::Splice) == IORING_OP_SPLICE);
static_assert(value_of(IoUringOp::ProvideBuffers) == IORING_OP_PROVIDE_BUFFERS);
static_assert(value_of(IoUringOp::RemoveBuffers) == IORING_OP_REMOVE_BUFFERS);
static_assert(value_of(IoUringOp::Tee) == IORING_OP_TEE);
static_assert(value_of(IoUringOp::Shutdown) == IORING_OP_SHUTDOWN);
static_assert(value_of(IoUringOp::Renameat) == IORING_OP_RENAMEAT);
static_assert(value_of(IoUringOp::Unlinkat) == IORING_OP_UNLINKAT);
static_assert(value_of(IoUringOp::Mkdirat) == IORING_OP_MKDIRAT);
static_assert(value_of(IoUringOp::Symlinkat) == IORING_OP_SYMLINKAT);
static_assert(value_of(IoUringOp::Linkat) == IORING_OP_LINKAT);
static_assert(value_of(IoUringOp::MsgRing) == IORING_OP_MSG_RING);
static_assert(value_of(IoUringOp::Fsetxattr) == IORING_OP_FSETXATTR);
static_assert(value_of(IoUringOp::Setxattr) == IORING_OP_SETXATTR);
static_assert(value_of(IoUringOp::Fgetxattr) == IORING_OP_FGETXATTR);
static_assert(value_of(IoUringOp::Getxattr) == IORING_OP_GETXATTR);
static_assert(value_of(IoUringOp::Socket) == IORING_OP_SOCKET);
static_assert(value_of(IoUringOp::UringCmd) == IORING_OP_URING_CMD);
static_assert(value_of(IoUringOp::SendZc) == IORING_OP_SEND_ZC);
static_assert(value_of(IoUringOp::SendmsgZc) == IORING_OP_SENDMSG_ZC);
static_assert(value_of(IoUringRegisterOp::Buffers) == IORING_REGISTER_BUFFERS);
static_assert(value_of(IoUringRegisterOp::UnregisterBuffers) == IORING_UNREGISTER_BUFFERS);
static_assert(value_of(IoUringRegisterOp::Files) == IORING_REGISTER_FILES);
static_assert(value_of(IoUringRegisterOp::UnregisterFiles) == IORING_UNREGISTER_FILES);
static_assert(value_of(IoUringRegisterOp::Eventfd) == IORING_REGISTER_EVENTFD);
static_assert(value_of(IoUringRegisterOp::UnregisterEventfd) == IORING_UNREGISTER_EVENTFD);
static_assert(value_of(IoUringRegisterOp::FilesUpdate) == IORING_REGISTER_FILES_UPDATE);
static_assert(value_of(IoUringRegisterOp::EventfdAsync) == IORING_REGISTER_EVENTFD_ASYNC);
static_assert(value_of(IoUringRegisterOp::Probe) == IORING_REGISTER_PROBE);
static_assert(value_of(IoUringRegisterOp::Personality) == IORING_REGISTER_PERSONALITY);
static_assert(value_of(IoUringRegisterOp::UnregisterPersonality) == IORING_UNREGISTER_PERSONALITY);
static_assert(value_of(IoUringRegisterOp::Restrictions) == IORING_REGISTER_RESTRICTIONS);
static_assert(value_of(IoUringRegisterOp::EnableRings) == IORING_REGISTER_ENABLE_RINGS);
static_assert(value_of(IoUringRegisterOp::Files2) == IORING_REGISTER_FILES2);
static_assert(value_of(IoUringRegisterOp::FilesUpdate2) == IORING_REGISTER_FILES_UPDATE2);
static_assert(value_of(IoUringRegisterOp::Buffers2) == IORING_REGISTER_BUFFERS2);
static_assert(value_of(IoUringRegisterOp::BuffersUpdate) == IORING_REGISTER_BUFFERS_UPDATE);
static_assert(value_of(IoUringRegisterOp::IowqAff) == IORING_REGISTER_IOWQ_AFF);
static_assert(value_of(IoUringRegisterOp::UnregisterIowqAff) == IORING_UNREGISTER_IOWQ_AFF);
static_assert(value_of(IoUringRegisterOp::IowqMaxWorkers) == IORING_REGISTER_IOWQ_MAX_WORKERS);
static_assert(value_of(IoUringRegisterOp::RingFds) == IORING_REGISTER_RING_FDS);
static_assert(value_of(IoUringRegisterOp::UnregisterRingFds) == IORING_UNREGISTER_RING_FDS);
static_assert(value_of(IoUringRegisterOp::PbufRing) == IORING_REGISTER_PBUF_RING);
static_assert(value_of(IoUringRegisterOp::UnregisterPbufRing) == IORING_UNREGISTER_PBUF_RING);
static_assert(value_of(IoUringRegisterOp::SyncCancel) == IORING_REGISTER_SYNC_CANCEL);
static_assert(value_of(IoUringRegisterOp::FileAllocRange) == IORING_REGISTER_FILE_ALLOC_RANGE);

// The same by name, where the header is new enough.
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
SAME_PLACE(IoUringSqOffsets, user_addr, io_sqring_offsets, user_addr);
SAME_PLACE(IoUringCqOffsets, user_addr, io_cqring_offsets, user_addr);
SAME_PLACE(IoUringGeteventsArg, min_wait_usec, io_uring_getevents_arg, min_wait_usec);
SAME_PLACE(IoUringBufReg, flags, io_uring_buf_reg, flags);
SAME_PLACE(IoUringBufReg, min_left, io_uring_buf_reg, min_left);
SAME_PLACE(IoUringBufReg, resv, io_uring_buf_reg, resv);
SAME_PLACE(IoUringSyncCancelReg, opcode, io_uring_sync_cancel_reg, opcode);
SAME_PLACE(IoUringSyncCancelReg, pad, io_uring_sync_cancel_reg, pad);
SAME_PLACE(IoUringSyncCancelReg, pad2, io_uring_sync_cancel_reg, pad2);
SAME_PLACE(IoUringNapi, busy_poll_to, io_uring_napi, busy_poll_to);
SAME_PLACE(IoUringNapi, prefer_busy_poll, io_uring_napi, prefer_busy_poll);
SAME_PLACE(IoUringNapi, opcode, io_uring_napi, opcode);
SAME_PLACE(IoUringNapi, pad, io_uring_napi, pad);
SAME_PLACE(IoUringNapi, op_param, io_uring_napi, op_param);
SAME_PLACE(IoUringNapi, resv, io_uring_napi, resv);
SAME_PLACE(IoUringCloneBuffers, src_fd, io_uring_clone_buffers, src_fd);
SAME_PLACE(IoUringCloneBuffers, flags, io_uring_clone_buffers, flags);
SAME_PLACE(IoUringCloneBuffers, src_off, io_uring_clone_buffers, src_off);
SAME_PLACE(IoUringCloneBuffers, dst_off, io_uring_clone_buffers, dst_off);
SAME_PLACE(IoUringCloneBuffers, nr, io_uring_clone_buffers, nr);
SAME_PLACE(IoUringCloneBuffers, pad, io_uring_clone_buffers, pad);
SAME_PLACE(IoUringMemRegionReg, region_uptr, io_uring_mem_region_reg, region_uptr);
SAME_PLACE(IoUringMemRegionReg, flags, io_uring_mem_region_reg, flags);
SAME_PLACE(IoUringMemRegionReg, resv, io_uring_mem_region_reg, __resv);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, waitid_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, futex_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, install_fd_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, nop_flags);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, pipe_flags);
SAME_PLACE(IoUringSqe, file_index, io_uring_sqe, zcrx_ifq_idx);
SAME_PLACE(IoUringSqe, file_index, io_uring_sqe, optlen);
SAME_PLACE(IoUringSqe, addr3, io_uring_sqe, attr_ptr);
SAME_PLACE(IoUringSqe, addr3, io_uring_sqe, optval);
SAME_PLACE(IoUringSqe, pad2, io_uring_sqe, attr_type_mask);
SAME_START(IoUringSqe, addr, io_uring_sqe, level);
SAME_START(IoUringSqe, file_index, io_uring_sqe, write_stream);
static_assert(value_of(IoUringOp::ReadMultishot) == IORING_OP_READ_MULTISHOT);
static_assert(value_of(IoUringOp::Waitid) == IORING_OP_WAITID);
static_assert(value_of(IoUringOp::FutexWait) == IORING_OP_FUTEX_WAIT);
static_assert(value_of(IoUringOp::FutexWake) == IORING_OP_FUTEX_WAKE);
static_assert(value_of(IoUringOp::FutexWaitv) == IORING_OP_FUTEX_WAITV);
static_assert(value_of(IoUringOp::FixedFdInstall) == IORING_OP_FIXED_FD_INSTALL);
static_assert(value_of(IoUringOp::Ftruncate) == IORING_OP_FTRUNCATE);
static_assert(value_of(IoUringOp::Bind) == IORING_OP_BIND);
static_assert(value_of(IoUringOp::Listen) == IORING_OP_LISTEN);
static_assert(value_of(IoUringOp::RecvZc) == IORING_OP_RECV_ZC);
static_assert(value_of(IoUringOp::EpollWait) == IORING_OP_EPOLL_WAIT);
static_assert(value_of(IoUringOp::ReadvFixed) == IORING_OP_READV_FIXED);
static_assert(value_of(IoUringOp::WritevFixed) == IORING_OP_WRITEV_FIXED);
static_assert(value_of(IoUringOp::Pipe) == IORING_OP_PIPE);
static_assert(value_of(IoUringOp::Nop128) == IORING_OP_NOP128);
static_assert(value_of(IoUringOp::UringCmd128) == IORING_OP_URING_CMD128);
static_assert(value_of(IoUringRegisterOp::PbufStatus) == IORING_REGISTER_PBUF_STATUS);
static_assert(value_of(IoUringRegisterOp::Napi) == IORING_REGISTER_NAPI);
static_assert(value_of(IoUringRegisterOp::UnregisterNapi) == IORING_UNREGISTER_NAPI);
static_assert(value_of(IoUringRegisterOp::Clock) == IORING_REGISTER_CLOCK);
static_assert(value_of(IoUringRegisterOp::CloneBuffers) == IORING_REGISTER_CLONE_BUFFERS);
static_assert(value_of(IoUringRegisterOp::SendMsgRing) == IORING_REGISTER_SEND_MSG_RING);
static_assert(value_of(IoUringRegisterOp::ZcrxIfq) == IORING_REGISTER_ZCRX_IFQ);
static_assert(value_of(IoUringRegisterOp::ResizeRings) == IORING_REGISTER_RESIZE_RINGS);
static_assert(value_of(IoUringRegisterOp::MemRegion) == IORING_REGISTER_MEM_REGION);
static_assert(value_of(IoUringRegisterOp::Query) == IORING_REGISTER_QUERY);
static_assert(value_of(IoUringRegisterOp::ZcrxCtrl) == IORING_REGISTER_ZCRX_CTRL);
static_assert(value_of(IoUringRegisterOp::BpfFilter) == IORING_REGISTER_BPF_FILTER);
#endif

// Each operation stands in its table at the place of its number.
constexpr bool numbered(std::span<const Symbol> symbols) {
    for (std::size_t i = 0; i < symbols.size(); ++i) {
        if (symbols[i].value != i) {
            return false;
        }
    }
    return true;
}
static_assert(numbered(kIoUringOps) && kIoUringOps.size() == 65);
static_assert(numbered(kIoUringRegisterOps) && kIoUringRegisterOps.size() == 38);

// The byte where the kernel reads cmd_op, and where the payload begins.
constexpr std::array<std::byte, 17> kPayload{std::byte{1}, std::byte{2}};
static_assert(uring_cmd(3, 0xc0207504, kPayload, 9, kUringCmdPayloadMax128)->entry.off ==
              0xc0207504);
static_assert(!uring_cmd(3, 0xc0207504, kPayload, 9, kUringCmdPayloadMax).has_value());
static_assert(!uring_cmd(3, 1, kPayload, 9, kUringCmdPayloadMax128 + 1).has_value());

static_assert(kUringCmdPayloadMax == sizeof(IoUringSqe) - 48);
static_assert(kUringCmdPayloadMax128 == sizeof(IoUringSqe128) - 48);
constexpr std::array<std::byte, 80> kLongPayload = [] {
    std::array<std::byte, 80> payload{};
    for (std::size_t i = 0; i < payload.size(); ++i) {
        payload[i] = static_cast<std::byte>(i + 1);
    }
    return payload;
}();
constexpr auto kLong = uring_cmd(3, 1, kLongPayload, 9, kUringCmdPayloadMax128);
static_assert(kLong->entry.addr3 == 0x0807060504030201 && kLong->entry.pad2 == 0x100f0e0d0c0b0a09);
static_assert(kLong->more.front() == std::byte{17} && kLong->more.back() == std::byte{80});

TEST(IoUringAbi, ACommandStandsWhereTheKernelReadsIt) {
    std::array<std::byte, 80> payload{};
    for (std::size_t i = 0; i < payload.size(); ++i) {
        payload[i] = static_cast<std::byte>(i + 1);
    }
    const auto made = uring_cmd(7, 0x12345678, payload, 42, kUringCmdPayloadMax128);
    ASSERT_TRUE(made.has_value());
    std::array<std::byte, 128> bytes{};
    const IoUringSqe128 entry = made.value_or(IoUringSqe128{});
    std::memcpy(bytes.data(), &entry, sizeof(entry));
    io_uring_sqe theirs{};
    std::memcpy(&theirs, bytes.data(), sizeof(theirs));
    EXPECT_EQ(theirs.opcode, IORING_OP_URING_CMD);
    EXPECT_EQ(theirs.fd, 7);
    EXPECT_EQ(theirs.cmd_op, 0x12345678U);
    EXPECT_EQ(theirs.uring_cmd_flags, 0U);
    EXPECT_EQ(theirs.user_data, 42U);
    EXPECT_EQ(std::memcmp(&bytes[48], payload.data(), payload.size()), 0);
}

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
                        value_of(IoUringRegisterOp::Probe), room.data(), most),
              0);
    IoUringProbe probe{};
    std::memcpy(&probe, room.data(), sizeof(probe));
    EXPECT_LE(probe.last_op + 1U, kIoUringOps.size());
    for (std::size_t i = 0; i < probe.ops_len; ++i) {
        IoUringProbeOp operation{};
        std::memcpy(&operation, &room[sizeof(probe) + i * sizeof(operation)], sizeof(operation));
        EXPECT_EQ(operation.op, i);
    }
}

}  // namespace
}  // namespace pepita::abi
