#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

/// ublk: block devices that a process serves. Source: Linux include/uapi/linux/ublk_cmd.h; the
/// comment behind a name gives the version that brought it, the rest is Linux 6.0's. Complete to
/// Linux 7.3.
///
/// All commands go as IORING_OP_URING_CMD: those of UblkControlCommand to /dev/ublk-control with an
/// UblkControlRequest as payload (a ring of 128-byte entries), those of UblkIoCommand to
/// /dev/ublkcN with an UblkIoRequest or, for those of batches, an UblkBatchIo.
namespace pepita::abi {

/// _IOR('u', nr, payload) and _IOWR('u', nr, payload).
constexpr std::uint32_t ublk_ior(std::uint32_t number, std::size_t size) {
    return 2U << 30U | static_cast<std::uint32_t>(size) << 16U | std::uint32_t{'u'} << 8U | number;
}
constexpr std::uint32_t ublk_iowr(std::uint32_t number, std::size_t size) {
    return 1U << 30U | ublk_ior(number, size);
}

/// Payload of a control command.
struct UblkControlRequest {
    std::uint32_t dev_id;
    std::uint16_t queue_id;  // kUblkNoQueue where the command is not about a queue
    std::uint16_t len;       // of what `addr` points to
    std::uint64_t addr;
    std::uint64_t data;
    std::uint16_t dev_path_len;  // unprivileged: so much of `addr` is the device's path, with NUL
    std::uint16_t pad;
    std::uint32_t reserved;
};

inline constexpr std::uint16_t kUblkNoQueue = 0xffff;
inline constexpr std::uint32_t kUblkAnyDevice = 0xffffffff;  // ADD_DEV: the next id that is free

enum class UblkControlCommand : std::uint32_t {
    GetQueueAffinity = ublk_ior(0x01, sizeof(UblkControlRequest)),
    GetDevInfo = ublk_ior(0x02, sizeof(UblkControlRequest)),
    AddDev = ublk_iowr(0x04, sizeof(UblkControlRequest)),
    DelDev = ublk_iowr(0x05, sizeof(UblkControlRequest)),
    StartDev = ublk_iowr(0x06, sizeof(UblkControlRequest)),
    StopDev = ublk_iowr(0x07, sizeof(UblkControlRequest)),
    SetParams = ublk_iowr(0x08, sizeof(UblkControlRequest)),
    GetParams = ublk_ior(0x09, sizeof(UblkControlRequest)),
    StartUserRecovery = ublk_iowr(0x10, sizeof(UblkControlRequest)),  // 6.1
    EndUserRecovery = ublk_iowr(0x11, sizeof(UblkControlRequest)),    // 6.1
    GetDevInfo2 = ublk_ior(0x12, sizeof(UblkControlRequest)),         // 6.3
    GetFeatures = ublk_ior(0x13, sizeof(UblkControlRequest)),         // 6.5
    DelDevAsync = ublk_ior(0x14, sizeof(UblkControlRequest)),         // 6.9
    UpdateSize = ublk_iowr(0x15, sizeof(UblkControlRequest)),         // 6.16
    QuiesceDev = ublk_iowr(0x16, sizeof(UblkControlRequest)),         // 6.16
    TryStopDev = ublk_iowr(0x17, sizeof(UblkControlRequest)),         // 7.0
    RegBuf = ublk_iowr(0x18, sizeof(UblkControlRequest)),             // 7.1
    UnregBuf = ublk_iowr(0x19, sizeof(UblkControlRequest)),           // 7.1
};

/// Features, in UblkDeviceInfo::flags and from GET_FEATURES.
inline constexpr std::uint64_t kUblkFSupportZeroCopy = 1ULL << 0U;  // works since 6.15
inline constexpr std::uint64_t kUblkFUringCmdCompInTask = 1ULL << 1U;
inline constexpr std::uint64_t kUblkFNeedGetData = 1ULL << 2U;
inline constexpr std::uint64_t kUblkFUserRecovery = 1ULL << 3U;         // 6.1
inline constexpr std::uint64_t kUblkFUserRecoveryReissue = 1ULL << 4U;  // 6.1
inline constexpr std::uint64_t kUblkFUnprivilegedDev = 1ULL << 5U;      // 6.3
inline constexpr std::uint64_t kUblkFCmdIoctlEncode = 1ULL << 6U;       // 6.4
inline constexpr std::uint64_t kUblkFUserCopy = 1ULL << 7U;             // 6.5
inline constexpr std::uint64_t kUblkFZoned = 1ULL << 8U;                // 6.6
inline constexpr std::uint64_t kUblkFUserRecoveryFailIo = 1ULL << 9U;   // 6.13
inline constexpr std::uint64_t kUblkFUpdateSize = 1ULL << 10U;          // 6.16
inline constexpr std::uint64_t kUblkFAutoBufReg = 1ULL << 11U;          // 6.16
inline constexpr std::uint64_t kUblkFQuiesce = 1ULL << 12U;             // 6.16
inline constexpr std::uint64_t kUblkFPerIoDaemon = 1ULL << 13U;         // 6.16
inline constexpr std::uint64_t kUblkFBufRegOffDaemon = 1ULL << 14U;     // 6.17
inline constexpr std::uint64_t kUblkFBatchIo = 1ULL << 15U;             // 7.0
inline constexpr std::uint64_t kUblkFIntegrity = 1ULL << 16U;           // 7.0
inline constexpr std::uint64_t kUblkFSafeStopDev = 1ULL << 17U;         // 7.0
inline constexpr std::uint64_t kUblkFNoAutoPartScan = 1ULL << 18U;      // 7.0
inline constexpr std::uint64_t kUblkFShmemZc = 1ULL << 19U;             // 7.1
inline constexpr std::uint64_t kUblkFIoDescSize = 1ULL << 20U;          // 7.3
// Of what GET_FEATURES writes.
inline constexpr std::uint32_t kUblkFeaturesLength = 8;  // 6.5

/// UblkDeviceInfo::state.
inline constexpr std::uint16_t kUblkStateDead = 0;
inline constexpr std::uint16_t kUblkStateLive = 1;
inline constexpr std::uint16_t kUblkStateQuiesced =
    2;  // its server has exited; another may recover it
// Likewise, and requests fail.
inline constexpr std::uint16_t kUblkStateFailIo = 3;  // 6.13

inline constexpr std::uint32_t kUblkQueuesMax = 4096;  // 6.5
inline constexpr std::uint32_t kUblkQueueDepthMax = 4096;

struct UblkDeviceInfo {
    std::uint16_t nr_hw_queues;
    std::uint16_t queue_depth;
    std::uint16_t state;
    std::uint16_t io_desc_size;  // 7.3, with kUblkFIoDescSize; else 0
    std::uint32_t max_io_buf_bytes;
    std::uint32_t dev_id;
    std::int32_t ublksrv_pid;
    std::uint32_t pad1;
    std::uint64_t flags;
    std::uint64_t ublksrv_flags;  // the server's own; the driver keeps them
    std::uint32_t owner_uid;
    std::uint32_t owner_gid;
    std::uint64_t reserved1;
    std::uint64_t reserved2;
};

/// UblkParamBasic::attrs.
inline constexpr std::uint32_t kUblkAttrReadOnly = 1U << 0U;
inline constexpr std::uint32_t kUblkAttrRotational = 1U << 1U;
inline constexpr std::uint32_t kUblkAttrVolatileCache = 1U << 2U;
inline constexpr std::uint32_t kUblkAttrFua = 1U << 3U;  // has no effect without the volatile cache

struct UblkParamBasic {
    std::uint32_t attrs;
    std::uint8_t logical_bs_shift;
    std::uint8_t physical_bs_shift;
    std::uint8_t io_opt_shift;
    std::uint8_t io_min_shift;
    std::uint32_t max_sectors;
    std::uint32_t chunk_sectors;
    std::uint64_t dev_sectors;
    std::uint64_t virt_boundary_mask;
};

struct UblkParamDiscard {
    std::uint32_t discard_alignment;
    std::uint32_t discard_granularity;
    std::uint32_t max_discard_sectors;
    std::uint32_t max_write_zeroes_sectors;
    std::uint16_t max_discard_segments;  // 1
    std::uint16_t reserved0;
};

/// Filled in by GET_PARAMS; cannot be set.
struct UblkParamDevt {
    std::uint32_t char_major;
    std::uint32_t char_minor;
    std::uint32_t disk_major;
    std::uint32_t disk_minor;
};

/// 6.6, with kUblkFZoned.
struct UblkParamZoned {
    std::uint32_t max_open_zones;
    std::uint32_t max_active_zones;
    std::uint32_t max_zone_append_sectors;
    std::array<std::uint8_t, 20> reserved;
};

/// 6.15: where the bytes of a request may begin in memory.
struct UblkParamDmaAlign {
    std::uint32_t alignment;  // a mask: 511
    std::array<std::uint8_t, 4> pad;
};

/// 6.15: how a request's memory may be cut; none of the three is 0.
struct UblkParamSegment {
    std::uint64_t seg_boundary_mask;
    std::uint32_t max_segment_size;
    std::uint16_t max_segments;
    std::array<std::uint8_t, 2> pad;
};
inline constexpr std::uint32_t kUblkSegmentSizeMin = 4096;  // 6.15

/// 7.0, with kUblkFIntegrity.
struct UblkParamIntegrity {
    std::uint32_t flags;  // LBMD_PI_CAP_* of linux/fs.h
    std::uint16_t max_integrity_segments;
    std::uint8_t interval_exp;
    std::uint8_t metadata_size;
    std::uint8_t pi_offset;
    std::uint8_t csum_type;  // LBMD_PI_CSUM_*
    std::uint8_t tag_size;
    std::array<std::uint8_t, 5> pad;
};

/// UblkParams::types.
inline constexpr std::uint32_t kUblkParamBasic = 1U << 0U;
inline constexpr std::uint32_t kUblkParamDiscard = 1U << 1U;
inline constexpr std::uint32_t kUblkParamDevt = 1U << 2U;       // 6.3
inline constexpr std::uint32_t kUblkParamZoned = 1U << 3U;      // 6.6
inline constexpr std::uint32_t kUblkParamDmaAlign = 1U << 4U;   // 6.15
inline constexpr std::uint32_t kUblkParamSegment = 1U << 5U;    // 6.15
inline constexpr std::uint32_t kUblkParamIntegrity = 1U << 6U;  // 7.0

/// An older kernel reads the beginning; `len` is the size that the caller filled in.
struct UblkParams {
    std::uint32_t len;
    std::uint32_t types;
    UblkParamBasic basic;
    UblkParamDiscard discard;
    UblkParamDevt devt;
    UblkParamZoned zoned;
    UblkParamDmaAlign dma;
    UblkParamSegment seg;
    UblkParamIntegrity integrity;
};

/// What REG_BUF's `addr` points to (7.1, with kUblkFShmemZc); the answer is the buffer's index.
struct UblkShmemBufReg {
    std::uint64_t addr;
    std::uint64_t len;  // whole pages
    std::uint32_t flags;
    std::uint32_t reserved;
};
inline constexpr std::uint32_t kUblkShmemBufReadOnly = 1U << 0U;  // 7.1

/// Payload of an I/O command.
struct UblkIoRequest {
    std::uint16_t q_id;
    std::uint16_t tag;
    std::int32_t result;  // COMMIT: bytes, or a negative errno
    // Of the buffer for the next request; 0 with kUblkFUserCopy; (UN)REGISTER_IO_BUF: the index in
    // the ring's table; COMMIT of a ZONE_APPEND: where it went.
    std::uint64_t addr;
};

/// Payload of a command for many (7.0, kUblkFBatchIo): `nr_elem` elements of `elem_bytes` each
/// stand at the SQE's address: an UblkElemHeader, then what `flags` name, 8 bytes each.
struct UblkBatchIo {
    std::uint16_t q_id;
    std::uint16_t flags;
    std::uint16_t nr_elem;
    std::uint8_t elem_bytes;
    std::uint8_t reserved;
    std::uint64_t reserved2;
};
inline constexpr std::uint16_t kUblkBatchFHasZoneLba = 1U << 0U;          // 7.0
inline constexpr std::uint16_t kUblkBatchFHasBufAddr = 1U << 1U;          // 7.0
inline constexpr std::uint16_t kUblkBatchFAutoBufRegFallback = 1U << 2U;  // 7.0

struct UblkElemHeader {
    std::uint16_t tag;
    std::uint16_t buf_index;  // with kUblkFAutoBufReg
    std::int32_t result;      // COMMIT
};

enum class UblkIoCommand : std::uint32_t {
    FetchReq = ublk_iowr(0x20, sizeof(UblkIoRequest)),
    CommitAndFetchReq = ublk_iowr(0x21, sizeof(UblkIoRequest)),
    NeedGetData = ublk_iowr(0x22, sizeof(UblkIoRequest)),
    RegisterIoBuf = ublk_iowr(0x23, sizeof(UblkIoRequest)),    // 6.15
    UnregisterIoBuf = ublk_iowr(0x24, sizeof(UblkIoRequest)),  // 6.15
    PrepIoCmds = ublk_iowr(0x25, sizeof(UblkBatchIo)),         // 7.0
    CommitIoCmds = ublk_iowr(0x26, sizeof(UblkBatchIo)),       // 7.0; returns the bytes consumed
    FetchIoCmds = ublk_iowr(0x27, sizeof(UblkBatchIo)),        // 7.0; multishot: returns tags
};

/// With kUblkFAutoBufReg (6.16): the slot of the request's memory in the ring's table of buffers,
/// as one number in the SQE's address field.
struct UblkAutoBufReg {
    std::uint16_t index;
    std::uint8_t flags;
    std::uint8_t reserved0;
    std::uint32_t reserved1;
};
/// Where it cannot be registered, the request comes with kUblkIoFNeedRegBuf; else it fails.
inline constexpr std::uint8_t kUblkAutoBufRegFallback = 1U << 0U;             // 6.16
inline constexpr std::uint8_t kUblkAutoBufRegMask = kUblkAutoBufRegFallback;  // 6.16
constexpr std::uint64_t to_sqe_address(const UblkAutoBufReg& place) {
    return std::bit_cast<std::uint64_t>(place);
}

/// What a FETCH comes back with.
inline constexpr std::int32_t kUblkIoResOk = 0;
inline constexpr std::int32_t kUblkIoResNeedGetData = 1;
inline constexpr std::int32_t kUblkIoResAbort = -19;  // ENODEV: fetch no more

/// What a request is, at its tag's place in the queue's array, which /dev/ublkcN maps read-only.
struct UblkIoDescriptor {
    std::uint32_t op_flags;    // operation in bits 0-7, flags above
    std::uint32_t nr_sectors;  // REPORT_ZONES: how many zones
    std::uint64_t start_sector;
    std::uint64_t addr;  // with kUblkIoFShmemZc: kUblkShmemZcIndexShift and its like
};

inline constexpr std::uint32_t kUblkOperationMask = 0xff;
inline constexpr std::uint32_t kUblkIoOpRead = 0;
inline constexpr std::uint32_t kUblkIoOpWrite = 1;
inline constexpr std::uint32_t kUblkIoOpFlush = 2;
inline constexpr std::uint32_t kUblkIoOpDiscard = 3;
inline constexpr std::uint32_t kUblkIoOpWriteSame = 4;
inline constexpr std::uint32_t kUblkIoOpWriteZeroes = 5;
inline constexpr std::uint32_t kUblkIoOpZoneOpen = 10;      // 6.6
inline constexpr std::uint32_t kUblkIoOpZoneClose = 11;     // 6.6
inline constexpr std::uint32_t kUblkIoOpZoneFinish = 12;    // 6.6
inline constexpr std::uint32_t kUblkIoOpZoneAppend = 13;    // 6.6
inline constexpr std::uint32_t kUblkIoOpZoneResetAll = 14;  // 6.6
inline constexpr std::uint32_t kUblkIoOpZoneReset = 15;     // 6.6
inline constexpr std::uint32_t kUblkIoOpReportZones = 18;   // 6.6

inline constexpr std::uint32_t kUblkIoFFailfastDev = 1U << 8U;
inline constexpr std::uint32_t kUblkIoFFailfastTransport = 1U << 9U;
inline constexpr std::uint32_t kUblkIoFFailfastDriver = 1U << 10U;
inline constexpr std::uint32_t kUblkIoFMeta = 1U << 11U;
inline constexpr std::uint32_t kUblkIoFFua = 1U << 13U;
inline constexpr std::uint32_t kUblkIoFNounmap = 1U << 15U;  // WRITE_ZEROES: keep the space
inline constexpr std::uint32_t kUblkIoFSwap = 1U << 16U;
inline constexpr std::uint32_t kUblkIoFNeedRegBuf = 1U << 17U;  // 6.16
inline constexpr std::uint32_t kUblkIoFIntegrity = 1U << 18U;   // 7.0
inline constexpr std::uint32_t kUblkIoFShmemZc = 1U << 19U;     // 7.1

/// UblkIoDescriptor::addr with kUblkIoFShmemZc.
inline constexpr std::uint64_t kUblkShmemZcOffsetMask = 0xffffffff;  // 7.1
inline constexpr std::uint32_t kUblkShmemZcIndexShift = 32;          // 7.1
inline constexpr std::uint64_t kUblkShmemZcIndexMask = 0xffff;       // 7.1

/// Offsets in /dev/ublkcN: the queues' descriptors, for mmap; the requests' data, for pread and
/// pwrite with kUblkFUserCopy.
inline constexpr std::uint64_t kUblkDescriptorsOffset = 0;
inline constexpr std::uint64_t kUblkDataOffset = 0x80000000;

/// What is added to kUblkDataOffset: the byte in the request, of which one has 32 MiB at most, then
/// its tag, then its queue.
inline constexpr std::uint32_t kUblkDataShift = 0;                              // 6.5
inline constexpr std::uint32_t kUblkDataBits = 25;                              // 6.5
inline constexpr std::uint64_t kUblkDataMask = (1ULL << kUblkDataBits) - 1;     // 6.5
inline constexpr std::uint32_t kUblkTagShift = kUblkDataBits;                   // 6.5
inline constexpr std::uint32_t kUblkTagBits = 16;                               // 6.5
inline constexpr std::uint64_t kUblkTagMask = (1ULL << kUblkTagBits) - 1;       // 6.5
inline constexpr std::uint32_t kUblkQueueShift = kUblkTagShift + kUblkTagBits;  // 6.5
inline constexpr std::uint32_t kUblkQueueBits = 12;                             // 6.5
inline constexpr std::uint64_t kUblkQueueMask = (1ULL << kUblkQueueBits) - 1;   // 6.5
/// How far those of all queues reach.
inline constexpr std::uint32_t kUblkDataTotalBits = kUblkQueueShift + kUblkQueueBits;  // 6.5
inline constexpr std::uint64_t kUblkDataTotalSize = 1ULL << kUblkDataTotalBits;        // 6.5
/// With this added: the request's metadata instead of its data.
inline constexpr std::uint32_t kUblkIntegrityShift = 62;                            // 7.0
inline constexpr std::uint64_t kUblkIntegrityOffset = 1ULL << kUblkIntegrityShift;  // 7.0

}  // namespace pepita::abi
