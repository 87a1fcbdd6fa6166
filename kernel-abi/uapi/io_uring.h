#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// io_uring: system calls submitted in one ring of shared memory and completed in another.
/// A comment behind a name gives the Linux that brought it; a name without one is in 6.1.
/// Source: Linux 7.3 include/uapi/linux/io_uring.h.
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
    ReadMultishot = 49,   // 6.7
    Waitid = 50,          // 6.7
    FutexWait = 51,       // 6.7
    FutexWake = 52,       // 6.7
    FutexWaitv = 53,      // 6.7
    FixedFdInstall = 54,  // 6.8
    Ftruncate = 55,       // 6.9
    Bind = 56,            // 6.11
    Listen = 57,          // 6.11
    RecvZc = 58,          // 6.15
    EpollWait = 59,       // 6.15
    ReadvFixed = 60,      // 6.15
    WritevFixed = 61,     // 6.15
    Pipe = 62,            // 6.16
    Nop128 = 63,          // 6.19
    UringCmd128 = 64,     // 6.19
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
    PbufStatus = 26,      // 6.8
    Napi = 27,            // 6.9
    UnregisterNapi = 28,  // 6.9
    Clock = 29,           // 6.12
    CloneBuffers = 30,    // 6.12
    SendMsgRing = 31,     // 6.13
    ZcrxIfq = 32,         // 6.15
    ResizeRings = 33,     // 6.13
    MemRegion = 34,       // 6.13
    Query = 35,           // 6.18
    ZcrxCtrl = 36,        // 6.19
    BpfFilter = 37,       // 7.0
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
/// use, and the comment beside it lists the others.
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

/// In a ring with kIoUringSetupSqe128: the payload of URING_CMD has 64 bytes more.
struct IoUringSqe128 {
    IoUringSqe entry;
    std::array<std::byte, 64> more;
};

struct IoUringCqe {
    std::uint64_t user_data;
    std::int32_t res;
    std::uint32_t flags;
};

struct IoUringCqe32 {
    IoUringCqe entry;
    std::uint64_t big[2];  // NOLINT(*-avoid-c-arrays): a layout
};

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
inline constexpr std::uint16_t kIoUringProbeOpSupported = 1U << 0U;

/// IORING_REGISTER_PROBE. `ops_len` IoUringProbeOp follow.
struct IoUringProbe {
    std::uint8_t last_op;
    std::uint8_t ops_len;
    std::uint16_t resv;
    std::uint32_t resv2[3];  // NOLINT(*-avoid-c-arrays): a layout
};

struct IoUringRsrcRegister {
    std::uint32_t nr;
    std::uint32_t flags;
    std::uint64_t resv2;
    std::uint64_t data;
    std::uint64_t tags;
};

struct IoUringRsrcUpdate2 {
    std::uint32_t offset;
    std::uint32_t resv;
    std::uint64_t data;
    std::uint64_t tags;
    std::uint32_t nr;
    std::uint32_t resv2;
};

struct IoUringGeteventsArg {
    std::uint64_t sigmask;
    std::uint32_t sigmask_sz;
    std::uint32_t min_wait_usec;  // 6.12
    std::uint64_t ts;
};

struct IoUringBuf {
    std::uint64_t addr;
    std::uint32_t len;
    std::uint16_t bid;
    std::uint16_t resv;
};

struct IoUringBufReg {
    std::uint64_t ring_addr;
    std::uint32_t ring_entries;
    std::uint16_t bgid;
    std::uint16_t flags;
    std::uint32_t min_left;  // 7.2
    std::uint32_t resv[5];   // NOLINT(*-avoid-c-arrays): a layout
};

struct IoUringSyncCancelReg {
    std::uint64_t addr;
    std::int32_t fd;
    std::uint32_t flags;
    std::int64_t timeout[2];  // NOLINT(*-avoid-c-arrays): a __kernel_timespec
    std::uint8_t opcode;
    std::uint8_t pad[7];    // NOLINT(*-avoid-c-arrays): a layout
    std::uint64_t pad2[3];  // NOLINT(*-avoid-c-arrays): a layout
};

struct IoUringFileIndexRange {
    std::uint32_t off;
    std::uint32_t len;
    std::uint64_t resv;
};

struct IoUringNapi {
    std::uint32_t busy_poll_to;
    std::uint8_t prefer_busy_poll;
    std::uint8_t opcode;
    std::uint8_t pad[2];  // NOLINT(*-avoid-c-arrays): a layout
    std::uint32_t op_param;
    std::uint32_t resv;
};

struct IoUringCloneBuffers {
    std::uint32_t src_fd;
    std::uint32_t flags;
    std::uint32_t src_off;
    std::uint32_t dst_off;
    std::uint32_t nr;
    std::uint32_t pad[3];  // NOLINT(*-avoid-c-arrays): a layout
};

struct IoUringMemRegionReg {
    std::uint64_t region_uptr;
    std::uint64_t flags;
    std::uint64_t resv[2];  // NOLINT(*-avoid-c-arrays): a layout
};

}  // namespace pepita::abi
