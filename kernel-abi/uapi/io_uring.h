#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernel-abi/uapi/version.h"

/// io_uring: system calls that are asked for in one ring of shared memory and answered in another.
/// Source: Linux include/uapi/linux/io_uring.h; the newest seen is Linux 7.3's.
namespace pepita::abi {

enum class IoUringOp : std::uint8_t {
    Nop = 0,
    Readv = 1,
    Writev = 2,
    Fsync = 3,
    ReadFixed = 4,
    WriteFixed = 5,
    PollAdd = 6,
    PollRemove = 7,
    SyncFileRange = 8,
    Sendmsg = 9,
    Recvmsg = 10,
    Timeout = 11,
    TimeoutRemove = 12,
    Accept = 13,
    AsyncCancel = 14,
    LinkTimeout = 15,
    Connect = 16,
    Fallocate = 17,
    Openat = 18,
    Close = 19,
    FilesUpdate = 20,
    Statx = 21,
    Read = 22,
    Write = 23,
    Fadvise = 24,
    Madvise = 25,
    Send = 26,
    Recv = 27,
    Openat2 = 28,
    EpollCtl = 29,
    Splice = 30,
    ProvideBuffers = 31,
    RemoveBuffers = 32,
    Tee = 33,
    Shutdown = 34,
    Renameat = 35,
    Unlinkat = 36,
    Mkdirat = 37,
    Symlinkat = 38,
    Linkat = 39,
    MsgRing = 40,
    Fsetxattr = 41,
    Setxattr = 42,
    Fgetxattr = 43,
    Getxattr = 44,
    Socket = 45,
    UringCmd = 46,
    SendZc = 47,
    SendmsgZc = 48,
    ReadMultishot = 49,
    Waitid = 50,
    FutexWait = 51,
    FutexWake = 52,
    FutexWaitv = 53,
    FixedFdInstall = 54,
    Ftruncate = 55,
    Bind = 56,
    Listen = 57,
    RecvZc = 58,
    EpollWait = 59,
    ReadvFixed = 60,
    WritevFixed = 61,
    Pipe = 62,
    Nop128 = 63,
    UringCmd128 = 64,
};
constexpr std::uint64_t value_of(IoUringOp op) { return static_cast<std::uint64_t>(op); }

/// All of them, in the order of their numbers.
inline constexpr std::array kIoUringOps{
    Symbol{.linux_name = "IORING_OP_NOP",
           .value = value_of(IoUringOp::Nop),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_OP_READV",
           .value = value_of(IoUringOp::Readv),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_OP_WRITEV",
           .value = value_of(IoUringOp::Writev),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_OP_FSYNC",
           .value = value_of(IoUringOp::Fsync),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_OP_READ_FIXED",
           .value = value_of(IoUringOp::ReadFixed),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_OP_WRITE_FIXED",
           .value = value_of(IoUringOp::WriteFixed),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_OP_POLL_ADD",
           .value = value_of(IoUringOp::PollAdd),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_OP_POLL_REMOVE",
           .value = value_of(IoUringOp::PollRemove),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_OP_SYNC_FILE_RANGE",
           .value = value_of(IoUringOp::SyncFileRange),
           .since = linux_version(5, 2)},
    Symbol{.linux_name = "IORING_OP_SENDMSG",
           .value = value_of(IoUringOp::Sendmsg),
           .since = linux_version(5, 3)},
    Symbol{.linux_name = "IORING_OP_RECVMSG",
           .value = value_of(IoUringOp::Recvmsg),
           .since = linux_version(5, 3)},
    Symbol{.linux_name = "IORING_OP_TIMEOUT",
           .value = value_of(IoUringOp::Timeout),
           .since = linux_version(5, 4)},
    Symbol{.linux_name = "IORING_OP_TIMEOUT_REMOVE",
           .value = value_of(IoUringOp::TimeoutRemove),
           .since = linux_version(5, 5)},
    Symbol{.linux_name = "IORING_OP_ACCEPT",
           .value = value_of(IoUringOp::Accept),
           .since = linux_version(5, 5)},
    Symbol{.linux_name = "IORING_OP_ASYNC_CANCEL",
           .value = value_of(IoUringOp::AsyncCancel),
           .since = linux_version(5, 5)},
    Symbol{.linux_name = "IORING_OP_LINK_TIMEOUT",
           .value = value_of(IoUringOp::LinkTimeout),
           .since = linux_version(5, 5)},
    Symbol{.linux_name = "IORING_OP_CONNECT",
           .value = value_of(IoUringOp::Connect),
           .since = linux_version(5, 5)},
    Symbol{.linux_name = "IORING_OP_FALLOCATE",
           .value = value_of(IoUringOp::Fallocate),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_OPENAT",
           .value = value_of(IoUringOp::Openat),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_CLOSE",
           .value = value_of(IoUringOp::Close),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_FILES_UPDATE",
           .value = value_of(IoUringOp::FilesUpdate),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_STATX",
           .value = value_of(IoUringOp::Statx),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_READ",
           .value = value_of(IoUringOp::Read),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_WRITE",
           .value = value_of(IoUringOp::Write),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_FADVISE",
           .value = value_of(IoUringOp::Fadvise),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_MADVISE",
           .value = value_of(IoUringOp::Madvise),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_SEND",
           .value = value_of(IoUringOp::Send),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_RECV",
           .value = value_of(IoUringOp::Recv),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_OPENAT2",
           .value = value_of(IoUringOp::Openat2),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_EPOLL_CTL",
           .value = value_of(IoUringOp::EpollCtl),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_OP_SPLICE",
           .value = value_of(IoUringOp::Splice),
           .since = linux_version(5, 7)},
    Symbol{.linux_name = "IORING_OP_PROVIDE_BUFFERS",
           .value = value_of(IoUringOp::ProvideBuffers),
           .since = linux_version(5, 7)},
    Symbol{.linux_name = "IORING_OP_REMOVE_BUFFERS",
           .value = value_of(IoUringOp::RemoveBuffers),
           .since = linux_version(5, 7)},
    Symbol{.linux_name = "IORING_OP_TEE",
           .value = value_of(IoUringOp::Tee),
           .since = linux_version(5, 8)},
    Symbol{.linux_name = "IORING_OP_SHUTDOWN",
           .value = value_of(IoUringOp::Shutdown),
           .since = linux_version(5, 11)},
    Symbol{.linux_name = "IORING_OP_RENAMEAT",
           .value = value_of(IoUringOp::Renameat),
           .since = linux_version(5, 11)},
    Symbol{.linux_name = "IORING_OP_UNLINKAT",
           .value = value_of(IoUringOp::Unlinkat),
           .since = linux_version(5, 11)},
    Symbol{.linux_name = "IORING_OP_MKDIRAT",
           .value = value_of(IoUringOp::Mkdirat),
           .since = linux_version(5, 15)},
    Symbol{.linux_name = "IORING_OP_SYMLINKAT",
           .value = value_of(IoUringOp::Symlinkat),
           .since = linux_version(5, 15)},
    Symbol{.linux_name = "IORING_OP_LINKAT",
           .value = value_of(IoUringOp::Linkat),
           .since = linux_version(5, 15)},
    Symbol{.linux_name = "IORING_OP_MSG_RING",
           .value = value_of(IoUringOp::MsgRing),
           .since = linux_version(5, 18)},
    Symbol{.linux_name = "IORING_OP_FSETXATTR",
           .value = value_of(IoUringOp::Fsetxattr),
           .since = linux_version(5, 19)},
    Symbol{.linux_name = "IORING_OP_SETXATTR",
           .value = value_of(IoUringOp::Setxattr),
           .since = linux_version(5, 19)},
    Symbol{.linux_name = "IORING_OP_FGETXATTR",
           .value = value_of(IoUringOp::Fgetxattr),
           .since = linux_version(5, 19)},
    Symbol{.linux_name = "IORING_OP_GETXATTR",
           .value = value_of(IoUringOp::Getxattr),
           .since = linux_version(5, 19)},
    Symbol{.linux_name = "IORING_OP_SOCKET",
           .value = value_of(IoUringOp::Socket),
           .since = linux_version(5, 19)},
    Symbol{.linux_name = "IORING_OP_URING_CMD",
           .value = value_of(IoUringOp::UringCmd),
           .since = linux_version(5, 19)},
    Symbol{.linux_name = "IORING_OP_SEND_ZC",
           .value = value_of(IoUringOp::SendZc),
           .since = linux_version(6, 0)},
    Symbol{.linux_name = "IORING_OP_SENDMSG_ZC",
           .value = value_of(IoUringOp::SendmsgZc),
           .since = linux_version(6, 1)},
    Symbol{.linux_name = "IORING_OP_READ_MULTISHOT",
           .value = value_of(IoUringOp::ReadMultishot),
           .since = linux_version(6, 7)},
    Symbol{.linux_name = "IORING_OP_WAITID",
           .value = value_of(IoUringOp::Waitid),
           .since = linux_version(6, 7)},
    Symbol{.linux_name = "IORING_OP_FUTEX_WAIT",
           .value = value_of(IoUringOp::FutexWait),
           .since = linux_version(6, 7)},
    Symbol{.linux_name = "IORING_OP_FUTEX_WAKE",
           .value = value_of(IoUringOp::FutexWake),
           .since = linux_version(6, 7)},
    Symbol{.linux_name = "IORING_OP_FUTEX_WAITV",
           .value = value_of(IoUringOp::FutexWaitv),
           .since = linux_version(6, 7)},
    Symbol{.linux_name = "IORING_OP_FIXED_FD_INSTALL",
           .value = value_of(IoUringOp::FixedFdInstall),
           .since = linux_version(6, 8)},
    Symbol{.linux_name = "IORING_OP_FTRUNCATE",
           .value = value_of(IoUringOp::Ftruncate),
           .since = linux_version(6, 9)},
    Symbol{.linux_name = "IORING_OP_BIND",
           .value = value_of(IoUringOp::Bind),
           .since = linux_version(6, 11)},
    Symbol{.linux_name = "IORING_OP_LISTEN",
           .value = value_of(IoUringOp::Listen),
           .since = linux_version(6, 11)},
    Symbol{.linux_name = "IORING_OP_RECV_ZC",
           .value = value_of(IoUringOp::RecvZc),
           .since = linux_version(6, 15)},
    Symbol{.linux_name = "IORING_OP_EPOLL_WAIT",
           .value = value_of(IoUringOp::EpollWait),
           .since = linux_version(6, 15)},
    Symbol{.linux_name = "IORING_OP_READV_FIXED",
           .value = value_of(IoUringOp::ReadvFixed),
           .since = linux_version(6, 15)},
    Symbol{.linux_name = "IORING_OP_WRITEV_FIXED",
           .value = value_of(IoUringOp::WritevFixed),
           .since = linux_version(6, 15)},
    Symbol{.linux_name = "IORING_OP_PIPE",
           .value = value_of(IoUringOp::Pipe),
           .since = linux_version(6, 16)},
    Symbol{.linux_name = "IORING_OP_NOP128",
           .value = value_of(IoUringOp::Nop128),
           .since = linux_version(6, 19)},
    Symbol{.linux_name = "IORING_OP_URING_CMD128",
           .value = value_of(IoUringOp::UringCmd128),
           .since = linux_version(6, 19)},
};

/// io_uring_register(2).
enum class IoUringRegisterOp : std::uint32_t {
    Buffers = 0,
    UnregisterBuffers = 1,
    Files = 2,
    UnregisterFiles = 3,
    Eventfd = 4,
    UnregisterEventfd = 5,
    FilesUpdate = 6,
    EventfdAsync = 7,
    Probe = 8,
    Personality = 9,
    UnregisterPersonality = 10,
    Restrictions = 11,
    EnableRings = 12,
    Files2 = 13,
    FilesUpdate2 = 14,
    Buffers2 = 15,
    BuffersUpdate = 16,
    IowqAff = 17,
    UnregisterIowqAff = 18,
    IowqMaxWorkers = 19,
    RingFds = 20,
    UnregisterRingFds = 21,
    PbufRing = 22,
    UnregisterPbufRing = 23,
    SyncCancel = 24,
    FileAllocRange = 25,
    PbufStatus = 26,
    Napi = 27,
    UnregisterNapi = 28,
    Clock = 29,
    CloneBuffers = 30,
    SendMsgRing = 31,
    ZcrxIfq = 32,
    ResizeRings = 33,
    MemRegion = 34,
    Query = 35,
    ZcrxCtrl = 36,
    BpfFilter = 37,
};
constexpr std::uint64_t value_of(IoUringRegisterOp op) { return static_cast<std::uint64_t>(op); }

inline constexpr std::array kIoUringRegisterOps{
    Symbol{.linux_name = "IORING_REGISTER_BUFFERS",
           .value = value_of(IoUringRegisterOp::Buffers),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_UNREGISTER_BUFFERS",
           .value = value_of(IoUringRegisterOp::UnregisterBuffers),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_REGISTER_FILES",
           .value = value_of(IoUringRegisterOp::Files),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_UNREGISTER_FILES",
           .value = value_of(IoUringRegisterOp::UnregisterFiles),
           .since = linux_version(5, 1)},
    Symbol{.linux_name = "IORING_REGISTER_EVENTFD",
           .value = value_of(IoUringRegisterOp::Eventfd),
           .since = linux_version(5, 2)},
    Symbol{.linux_name = "IORING_UNREGISTER_EVENTFD",
           .value = value_of(IoUringRegisterOp::UnregisterEventfd),
           .since = linux_version(5, 2)},
    Symbol{.linux_name = "IORING_REGISTER_FILES_UPDATE",
           .value = value_of(IoUringRegisterOp::FilesUpdate),
           .since = linux_version(5, 5)},
    Symbol{.linux_name = "IORING_REGISTER_EVENTFD_ASYNC",
           .value = value_of(IoUringRegisterOp::EventfdAsync),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_REGISTER_PROBE",
           .value = value_of(IoUringRegisterOp::Probe),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_REGISTER_PERSONALITY",
           .value = value_of(IoUringRegisterOp::Personality),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_UNREGISTER_PERSONALITY",
           .value = value_of(IoUringRegisterOp::UnregisterPersonality),
           .since = linux_version(5, 6)},
    Symbol{.linux_name = "IORING_REGISTER_RESTRICTIONS",
           .value = value_of(IoUringRegisterOp::Restrictions),
           .since = linux_version(5, 10)},
    Symbol{.linux_name = "IORING_REGISTER_ENABLE_RINGS",
           .value = value_of(IoUringRegisterOp::EnableRings),
           .since = linux_version(5, 10)},
    Symbol{.linux_name = "IORING_REGISTER_FILES2",
           .value = value_of(IoUringRegisterOp::Files2),
           .since = linux_version(5, 13)},
    Symbol{.linux_name = "IORING_REGISTER_FILES_UPDATE2",
           .value = value_of(IoUringRegisterOp::FilesUpdate2),
           .since = linux_version(5, 13)},
    Symbol{.linux_name = "IORING_REGISTER_BUFFERS2",
           .value = value_of(IoUringRegisterOp::Buffers2),
           .since = linux_version(5, 13)},
    Symbol{.linux_name = "IORING_REGISTER_BUFFERS_UPDATE",
           .value = value_of(IoUringRegisterOp::BuffersUpdate),
           .since = linux_version(5, 13)},
    Symbol{.linux_name = "IORING_REGISTER_IOWQ_AFF",
           .value = value_of(IoUringRegisterOp::IowqAff),
           .since = linux_version(5, 14)},
    Symbol{.linux_name = "IORING_UNREGISTER_IOWQ_AFF",
           .value = value_of(IoUringRegisterOp::UnregisterIowqAff),
           .since = linux_version(5, 14)},
    Symbol{.linux_name = "IORING_REGISTER_IOWQ_MAX_WORKERS",
           .value = value_of(IoUringRegisterOp::IowqMaxWorkers),
           .since = linux_version(5, 15)},
    Symbol{.linux_name = "IORING_REGISTER_RING_FDS",
           .value = value_of(IoUringRegisterOp::RingFds),
           .since = linux_version(5, 18)},
    Symbol{.linux_name = "IORING_UNREGISTER_RING_FDS",
           .value = value_of(IoUringRegisterOp::UnregisterRingFds),
           .since = linux_version(5, 18)},
    Symbol{.linux_name = "IORING_REGISTER_PBUF_RING",
           .value = value_of(IoUringRegisterOp::PbufRing),
           .since = linux_version(5, 19)},
    Symbol{.linux_name = "IORING_UNREGISTER_PBUF_RING",
           .value = value_of(IoUringRegisterOp::UnregisterPbufRing),
           .since = linux_version(5, 19)},
    Symbol{.linux_name = "IORING_REGISTER_SYNC_CANCEL",
           .value = value_of(IoUringRegisterOp::SyncCancel),
           .since = linux_version(6, 0)},
    Symbol{.linux_name = "IORING_REGISTER_FILE_ALLOC_RANGE",
           .value = value_of(IoUringRegisterOp::FileAllocRange),
           .since = linux_version(6, 0)},
    Symbol{.linux_name = "IORING_REGISTER_PBUF_STATUS",
           .value = value_of(IoUringRegisterOp::PbufStatus),
           .since = linux_version(6, 8)},
    Symbol{.linux_name = "IORING_REGISTER_NAPI",
           .value = value_of(IoUringRegisterOp::Napi),
           .since = linux_version(6, 9)},
    Symbol{.linux_name = "IORING_UNREGISTER_NAPI",
           .value = value_of(IoUringRegisterOp::UnregisterNapi),
           .since = linux_version(6, 9)},
    Symbol{.linux_name = "IORING_REGISTER_CLOCK",
           .value = value_of(IoUringRegisterOp::Clock),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "IORING_REGISTER_CLONE_BUFFERS",
           .value = value_of(IoUringRegisterOp::CloneBuffers),
           .since = linux_version(6, 12)},
    Symbol{.linux_name = "IORING_REGISTER_SEND_MSG_RING",
           .value = value_of(IoUringRegisterOp::SendMsgRing),
           .since = linux_version(6, 13)},
    Symbol{.linux_name = "IORING_REGISTER_ZCRX_IFQ",
           .value = value_of(IoUringRegisterOp::ZcrxIfq),
           .since = linux_version(6, 15)},
    Symbol{.linux_name = "IORING_REGISTER_RESIZE_RINGS",
           .value = value_of(IoUringRegisterOp::ResizeRings),
           .since = linux_version(6, 13)},
    Symbol{.linux_name = "IORING_REGISTER_MEM_REGION",
           .value = value_of(IoUringRegisterOp::MemRegion),
           .since = linux_version(6, 13)},
    Symbol{.linux_name = "IORING_REGISTER_QUERY",
           .value = value_of(IoUringRegisterOp::Query),
           .since = linux_version(6, 18)},
    Symbol{.linux_name = "IORING_REGISTER_ZCRX_CTRL",
           .value = value_of(IoUringRegisterOp::ZcrxCtrl),
           .since = linux_version(6, 19)},
    Symbol{.linux_name = "IORING_REGISTER_BPF_FILTER",
           .value = value_of(IoUringRegisterOp::BpfFilter),
           .since = linux_version(7, 0)},
};

/// IoUringSqe::flags.
inline constexpr std::uint8_t kIoUringSqeFixedFile = 1U << 0U;
inline constexpr std::uint8_t kIoUringSqeIoDrain = 1U << 1U;
inline constexpr std::uint8_t kIoUringSqeIoLink = 1U << 2U;
inline constexpr std::uint8_t kIoUringSqeIoHardlink = 1U << 3U;
inline constexpr std::uint8_t kIoUringSqeAsync = 1U << 4U;
inline constexpr std::uint8_t kIoUringSqeBufferSelect = 1U << 5U;
inline constexpr std::uint8_t kIoUringSqeCqeSkipSuccess = 1U << 6U;  // 5.17

/// A submission entry. Linux's is full of unions; a member's name here is that of its most common
/// use, and what else stands in its place is said beside it.
struct IoUringSqe {
    std::uint8_t opcode;
    std::uint8_t flags;
    std::uint16_t ioprio;
    std::int32_t fd;
    std::uint64_t off;  // URING_CMD: cmd_op in its low half
    std::uint64_t addr;
    std::uint32_t len;
    std::uint32_t op_flags;  // rw_flags, fsync_flags, timeout_flags, uring_cmd_flags, ...
    std::uint64_t user_data;
    std::uint16_t buf_index;  // buf_group
    std::uint16_t personality;
    std::uint32_t file_index;  // splice_fd_in, optlen
    std::uint64_t addr3;       // URING_CMD: the payload begins here
    std::uint64_t pad2;
};
static_assert(sizeof(IoUringSqe) == 64);

/// In a ring with kIoUringSetupSqe128: the payload of URING_CMD goes on for 64 bytes more.
struct IoUringSqe128 {
    IoUringSqe entry;
    std::array<std::byte, 64> more;
};
static_assert(sizeof(IoUringSqe128) == 128);

struct IoUringCqe {
    std::uint64_t user_data;
    std::int32_t res;
    std::uint32_t flags;
};
static_assert(sizeof(IoUringCqe) == 16);

struct IoUringCqe32 {
    IoUringCqe entry;
    std::uint64_t big[2];  // NOLINT(*-avoid-c-arrays): a layout
};
static_assert(sizeof(IoUringCqe32) == 32);

/// IoUringCqe::flags.
inline constexpr std::uint32_t kIoUringCqeBuffer = 1U << 0U;
inline constexpr std::uint32_t kIoUringCqeMore = 1U << 1U;          // 5.13
inline constexpr std::uint32_t kIoUringCqeSockNonempty = 1U << 2U;  // 5.19
inline constexpr std::uint32_t kIoUringCqeNotif = 1U << 3U;         // 6.0
inline constexpr std::uint32_t kIoUringCqeBufMore = 1U << 4U;       // 6.12

/// IoUringParams::flags.
inline constexpr std::uint32_t kIoUringSetupIopoll = 1U << 0U;
inline constexpr std::uint32_t kIoUringSetupSqpoll = 1U << 1U;
inline constexpr std::uint32_t kIoUringSetupSqAff = 1U << 2U;
inline constexpr std::uint32_t kIoUringSetupCqsize = 1U << 3U;
inline constexpr std::uint32_t kIoUringSetupClamp = 1U << 4U;
inline constexpr std::uint32_t kIoUringSetupAttachWq = 1U << 5U;
inline constexpr std::uint32_t kIoUringSetupRDisabled = 1U << 6U;
inline constexpr std::uint32_t kIoUringSetupSubmitAll = 1U << 7U;          // 5.18
inline constexpr std::uint32_t kIoUringSetupCoopTaskrun = 1U << 8U;        // 5.19
inline constexpr std::uint32_t kIoUringSetupTaskrunFlag = 1U << 9U;        // 5.19
inline constexpr std::uint32_t kIoUringSetupSqe128 = 1U << 10U;            // 5.19
inline constexpr std::uint32_t kIoUringSetupCqe32 = 1U << 11U;             // 5.19
inline constexpr std::uint32_t kIoUringSetupSingleIssuer = 1U << 12U;      // 6.0
inline constexpr std::uint32_t kIoUringSetupDeferTaskrun = 1U << 13U;      // 6.1
inline constexpr std::uint32_t kIoUringSetupNoMmap = 1U << 14U;            // 6.5
inline constexpr std::uint32_t kIoUringSetupRegisteredFdOnly = 1U << 15U;  // 6.5
inline constexpr std::uint32_t kIoUringSetupNoSqarray = 1U << 16U;         // 6.6
inline constexpr std::uint32_t kIoUringSetupHybridIopoll = 1U << 17U;      // 6.13
inline constexpr std::uint32_t kIoUringSetupCqeMixed = 1U << 18U;          // 6.18
inline constexpr std::uint32_t kIoUringSetupSqeMixed = 1U << 19U;          // 6.19
inline constexpr std::uint32_t kIoUringSetupSqRewind = 1U << 20U;          // 7.0

struct IoUringSqOffsets {
    std::uint32_t head;
    std::uint32_t tail;
    std::uint32_t ring_mask;
    std::uint32_t ring_entries;
    std::uint32_t flags;
    std::uint32_t dropped;
    std::uint32_t array;
    std::uint32_t resv1;
    std::uint64_t user_addr;
};
static_assert(sizeof(IoUringSqOffsets) == 40);

struct IoUringCqOffsets {
    std::uint32_t head;
    std::uint32_t tail;
    std::uint32_t ring_mask;
    std::uint32_t ring_entries;
    std::uint32_t overflow;
    std::uint32_t cqes;
    std::uint32_t flags;
    std::uint32_t resv1;
    std::uint64_t user_addr;
};
static_assert(sizeof(IoUringCqOffsets) == 40);

/// io_uring_setup(2).
struct IoUringParams {
    std::uint32_t sq_entries;
    std::uint32_t cq_entries;
    std::uint32_t flags;
    std::uint32_t sq_thread_cpu;
    std::uint32_t sq_thread_idle;
    std::uint32_t features;
    std::uint32_t wq_fd;
    std::uint32_t resv[3];  // NOLINT(*-avoid-c-arrays): a layout
    IoUringSqOffsets sq_off;
    IoUringCqOffsets cq_off;
};
static_assert(sizeof(IoUringParams) == 120);

/// Where io_uring's descriptor maps what.
inline constexpr std::uint64_t kIoUringOffSqRing = 0;
inline constexpr std::uint64_t kIoUringOffCqRing = 0x8000000;
inline constexpr std::uint64_t kIoUringOffSqes = 0x10000000;

struct IoUringProbeOp {
    std::uint8_t op;
    std::uint8_t resv;
    std::uint16_t flags;
    std::uint32_t resv2;
};
static_assert(sizeof(IoUringProbeOp) == 8);
inline constexpr std::uint16_t kIoUringProbeOpSupported = 1U << 0U;

/// IORING_REGISTER_PROBE. `ops_len` IoUringProbeOp follow.
struct IoUringProbe {
    std::uint8_t last_op;
    std::uint8_t ops_len;
    std::uint16_t resv;
    std::uint32_t resv2[3];  // NOLINT(*-avoid-c-arrays): a layout
};
static_assert(sizeof(IoUringProbe) == 16);

struct IoUringRsrcRegister {
    std::uint32_t nr;
    std::uint32_t flags;
    std::uint64_t resv2;
    std::uint64_t data;
    std::uint64_t tags;
};
static_assert(sizeof(IoUringRsrcRegister) == 32);

struct IoUringRsrcUpdate2 {
    std::uint32_t offset;
    std::uint32_t resv;
    std::uint64_t data;
    std::uint64_t tags;
    std::uint32_t nr;
    std::uint32_t resv2;
};
static_assert(sizeof(IoUringRsrcUpdate2) == 32);

struct IoUringGeteventsArg {
    std::uint64_t sigmask;
    std::uint32_t sigmask_sz;
    std::uint32_t min_wait_usec;  // 6.12
    std::uint64_t ts;
};
static_assert(sizeof(IoUringGeteventsArg) == 24);

struct IoUringBuf {
    std::uint64_t addr;
    std::uint32_t len;
    std::uint16_t bid;
    std::uint16_t resv;
};
static_assert(sizeof(IoUringBuf) == 16);

struct IoUringBufReg {
    std::uint64_t ring_addr;
    std::uint32_t ring_entries;
    std::uint16_t bgid;
    std::uint16_t flags;
    std::uint32_t min_left;  // 7.2
    std::uint32_t resv[5];   // NOLINT(*-avoid-c-arrays): a layout
};
static_assert(sizeof(IoUringBufReg) == 40);

struct IoUringSyncCancelReg {
    std::uint64_t addr;
    std::int32_t fd;
    std::uint32_t flags;
    std::int64_t timeout[2];  // NOLINT(*-avoid-c-arrays): a __kernel_timespec
    std::uint8_t opcode;
    std::uint8_t pad[7];    // NOLINT(*-avoid-c-arrays): a layout
    std::uint64_t pad2[3];  // NOLINT(*-avoid-c-arrays): a layout
};
static_assert(sizeof(IoUringSyncCancelReg) == 64);

struct IoUringFileIndexRange {
    std::uint32_t off;
    std::uint32_t len;
    std::uint64_t resv;
};
static_assert(sizeof(IoUringFileIndexRange) == 16);

struct IoUringNapi {
    std::uint32_t busy_poll_to;
    std::uint8_t prefer_busy_poll;
    std::uint8_t opcode;
    std::uint8_t pad[2];  // NOLINT(*-avoid-c-arrays): a layout
    std::uint32_t op_param;
    std::uint32_t resv;
};
static_assert(sizeof(IoUringNapi) == 16);

struct IoUringCloneBuffers {
    std::uint32_t src_fd;
    std::uint32_t flags;
    std::uint32_t src_off;
    std::uint32_t dst_off;
    std::uint32_t nr;
    std::uint32_t pad[3];  // NOLINT(*-avoid-c-arrays): a layout
};
static_assert(sizeof(IoUringCloneBuffers) == 32);

struct IoUringMemRegionReg {
    std::uint64_t region_uptr;
    std::uint64_t flags;
    std::uint64_t resv[2];  // NOLINT(*-avoid-c-arrays): a layout
};
static_assert(sizeof(IoUringMemRegionReg) == 32);

/// What the payload of a URING_CMD may hold, by the size of a ring's entries.
inline constexpr std::size_t kUringCmdPayloadMax = 16;
inline constexpr std::size_t kUringCmdPayloadMax128 = 80;

/// A URING_CMD to `fd`: `cmd_op` stands at byte 8, where the kernel reads it (its uring_cmd_flags
/// are at byte 28), the payload from byte 48 on. None where the payload is too long.
constexpr std::optional<IoUringSqe128> uring_cmd(std::int32_t fd, std::uint32_t cmd_op,
                                                 std::span<const std::byte> payload,
                                                 std::uint64_t user_data, std::size_t payload_max) {
    if (payload.size() > payload_max || payload_max > kUringCmdPayloadMax128) {
        return std::nullopt;
    }
    IoUringSqe128 made{};
    made.entry.opcode = static_cast<std::uint8_t>(IoUringOp::UringCmd);
    made.entry.fd = fd;
    made.entry.off = cmd_op;
    made.entry.user_data = user_data;
    for (std::size_t i = 0; i < payload.size(); ++i) {
        const std::uint64_t byte = std::to_integer<std::uint64_t>(payload[i]) << (i % 8 * 8);
        if (i < 8) {
            made.entry.addr3 |= byte;
        } else if (i < kUringCmdPayloadMax) {
            made.entry.pad2 |= byte;
        } else {
            made.more[i - kUringCmdPayloadMax] = payload[i];
        }
    }
    return made;
}

}  // namespace pepita::abi
