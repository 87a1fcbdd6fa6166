#pragma once

#include <array>
#include <cstdint>

/// Arguments of io_uring_register(2), and structures that some operations read and write. Source:
/// Linux 7.3 include/uapi/linux/io_uring.h.
namespace pepita::abi {

/// Since 5.5.
struct IoUringFilesUpdate {
    std::uint32_t offset;
    std::uint32_t resv;
    std::uint64_t fds;
};

/// Since 5.13.
struct IoUringRsrcUpdate {
    std::uint32_t offset;
    std::uint32_t resv;
    std::uint64_t data;
};

/// Since 5.10.
struct IoUringRestriction {
    std::uint16_t opcode;
    union {
        std::uint8_t register_op;
        std::uint8_t sqe_op;
        std::uint8_t sqe_flags;
    };
    std::uint8_t resv;
    std::array<std::uint32_t, 3> resv2;
};

/// Since 7.0.
struct IoUringTaskRestriction {
    std::uint16_t flags;
    std::uint16_t nr_res;
    std::array<std::uint32_t, 3> resv;
    // restrictions follow
};

/// Since 6.12.
struct IoUringClockRegister {
    std::uint32_t clockid;
    std::array<std::uint32_t, 3> resv;
};

/// Since 6.8.
struct IoUringBufStatus {
    std::uint32_t buf_group;
    std::uint32_t head;
    std::array<std::uint32_t, 8> resv;
};

/// Since 6.13.
struct IoUringRegionDesc {
    std::uint64_t user_addr;
    std::uint64_t size;
    std::uint32_t flags;
    std::uint32_t id;
    std::uint64_t mmap_offset;
    std::array<std::uint64_t, 4> resv;
};

/// Since 6.13.
struct IoUringRegWait {
    std::array<std::int64_t, 2> ts;
    std::uint32_t min_wait_usec;
    std::uint32_t flags;
    std::uint64_t sigmask;
    std::uint32_t sigmask_sz;
    std::array<std::uint32_t, 3> pad;
    std::array<std::uint64_t, 2> pad2;
};

/// Since 6.0.
struct IoUringRecvmsgOut {
    std::uint32_t namelen;
    std::uint32_t controllen;
    std::uint32_t payloadlen;
    std::uint32_t flags;
};

/// Since 6.14.
struct IoUringAttrPi {
    std::uint16_t flags;
    std::uint16_t app_tag;
    std::uint32_t len;
    std::uint64_t addr;
    std::uint64_t seed;
    std::uint64_t rsvd;
};

/// Beside an operation of io_uring_register(2): the ring is a registered one.
inline constexpr std::uint32_t kIoUringRegisterUseRegisteredRing = 1U << 31U;  // 6.3

/// Kinds of workers, for IORING_REGISTER_IOWQ_MAX_WORKERS.
inline constexpr std::uint32_t kIoUringWqBound = 0;    // 5.15
inline constexpr std::uint32_t kIoUringWqUnbound = 1;  // 5.15

/// IoUringRsrcRegister::flags.
inline constexpr std::uint32_t kIoUringRsrcRegisterSparse = 1U << 0U;  // 5.19

/// A descriptor in IoUringFilesUpdate: leave this one.
inline constexpr std::int32_t kIoUringRegisterFilesSkip = -2;  // 5.12

/// IoUringRegionDesc::flags, IoUringMemRegionReg::flags, IoUringRegWait::flags.
inline constexpr std::uint32_t kIoUringMemRegionTypeUser = 1U << 0U;    // 6.13
inline constexpr std::uint32_t kIoUringMemRegionRegWaitArg = 1U << 0U;  // 6.13
inline constexpr std::uint32_t kIoUringRegWaitTs = 1U << 0U;            // 6.13

/// IoUringCloneBuffers::flags.
inline constexpr std::uint32_t kIoUringRegisterSrcRegistered = 1U << 0U;  // 6.12
inline constexpr std::uint32_t kIoUringRegisterDstReplace = 1U << 1U;     // 6.13

/// IoUringBufReg::flags.
inline constexpr std::uint16_t kIoUringPbufRingMmap = 1U << 0U;  // 6.4
inline constexpr std::uint16_t kIoUringPbufRingInc = 1U << 1U;   // 6.12

/// IoUringNapi::opcode and op_param.
inline constexpr std::uint32_t kIoUringNapiRegisterOp = 0;          // 6.13
inline constexpr std::uint32_t kIoUringNapiStaticAddId = 1;         // 6.13
inline constexpr std::uint32_t kIoUringNapiStaticDelId = 2;         // 6.13
inline constexpr std::uint32_t kIoUringNapiTrackingDynamic = 0;     // 6.13
inline constexpr std::uint32_t kIoUringNapiTrackingStatic = 1;      // 6.13
inline constexpr std::uint32_t kIoUringNapiTrackingInactive = 255;  // 6.13

/// IoUringRestriction::opcode.
inline constexpr std::uint16_t kIoUringRestrictionRegisterOp = 0;        // 5.10
inline constexpr std::uint16_t kIoUringRestrictionSqeOp = 1;             // 5.10
inline constexpr std::uint16_t kIoUringRestrictionSqeFlagsAllowed = 2;   // 5.10
inline constexpr std::uint16_t kIoUringRestrictionSqeFlagsRequired = 3;  // 5.10

}  // namespace pepita::abi
