#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// vhost-user: how a process that owns a guest's memory and rings (the front end) lends them to one
/// that serves a device (the back end). Source: QEMU docs/interop/vhost-user.rst.
namespace pepita::abi {

enum class VhostUserRequest : std::uint32_t {
    GetFeatures = 1,
    SetFeatures = 2,
    SetOwner = 3,
    ResetOwner = 4,
    SetMemTable = 5,
    SetLogBase = 6,
    SetLogFd = 7,
    SetVringNum = 8,
    SetVringAddr = 9,
    SetVringBase = 10,
    GetVringBase = 11,
    SetVringKick = 12,
    SetVringCall = 13,
    SetVringErr = 14,
    GetProtocolFeatures = 15,
    SetProtocolFeatures = 16,
    GetQueueNum = 17,
    SetVringEnable = 18,
    SetBackendReqFd = 21,
    GetConfig = 24,
    SetConfig = 25,
    GetInflightFd = 31,
    SetInflightFd = 32,
};

/// What a back end may ask of its front end, over the socket of SET_BACKEND_REQ_FD.
enum class VhostUserBackendRequest : std::uint32_t {
    ConfigChange = 2,
};

/// Bits of VhostUserHeader::flags.
inline constexpr std::uint32_t kVhostUserVersionMask = 3;
inline constexpr std::uint32_t kVhostUserVersion = 1;
inline constexpr std::uint32_t kVhostUserReply = 1U << 2U;
inline constexpr std::uint32_t kVhostUserNeedReply = 1U << 3U;

/// The bit among the virtio features that says there are protocol features.
inline constexpr std::uint64_t kVhostUserFProtocolFeatures = 1ULL << 30U;

/// Protocol features.
inline constexpr std::uint64_t kVhostUserProtocolMq = 1ULL << 0U;
inline constexpr std::uint64_t kVhostUserProtocolReplyAck = 1ULL << 3U;
inline constexpr std::uint64_t kVhostUserProtocolBackendReq = 1ULL << 5U;
inline constexpr std::uint64_t kVhostUserProtocolConfig = 1ULL << 9U;
inline constexpr std::uint64_t kVhostUserProtocolInflightShmfd = 1ULL << 12U;

/// The payload of SET_VRING_KICK, _CALL and _ERR.
inline constexpr std::uint64_t kVhostUserVringIndexMask = 0xff;
inline constexpr std::uint64_t kVhostUserVringNoFd = 1U << 8U;

/// Without VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS.
inline constexpr std::size_t kVhostUserRegionsMax = 8;
inline constexpr std::size_t kVhostUserConfigMax = 256;

struct VhostUserHeader {
    std::uint32_t request;
    std::uint32_t flags;
    std::uint32_t size;  // of what follows
};
static_assert(sizeof(VhostUserHeader) == 12);

/// SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_ENABLE.
struct VhostUserVringState {
    std::uint32_t index;
    std::uint32_t num;
};
static_assert(sizeof(VhostUserVringState) == 8);

/// The three parts by their addresses in the front end's own address space.
struct VhostUserVringAddr {
    std::uint32_t index;
    std::uint32_t flags;
    std::uint64_t descriptors;
    std::uint64_t used;
    std::uint64_t available;
    std::uint64_t log;
};
static_assert(sizeof(VhostUserVringAddr) == 40);

struct VhostUserMemoryRegion {
    std::uint64_t guest_address;
    std::uint64_t size;
    std::uint64_t user_address;  // in the front end's own address space
    std::uint64_t file_offset;
};
static_assert(sizeof(VhostUserMemoryRegion) == 32);

/// SET_MEM_TABLE begins with this; `count` regions follow, and as many descriptors come beside it.
struct VhostUserMemoryHeader {
    std::uint32_t count;
    std::uint32_t padding;
};
static_assert(sizeof(VhostUserMemoryHeader) == 8);

/// GET_CONFIG and SET_CONFIG begin with this; `size` bytes follow.
struct VhostUserConfigHeader {
    std::uint32_t offset;
    std::uint32_t size;
    std::uint32_t flags;
};
static_assert(sizeof(VhostUserConfigHeader) == 12);

/// GET_INFLIGHT_FD and its reply, SET_INFLIGHT_FD. Some front ends leave the padding out.
struct VhostUserInflight {
    std::uint64_t mmap_size;
    std::uint64_t mmap_offset;
    std::uint16_t num_queues;
    std::uint16_t queue_size;
    std::array<std::uint8_t, 4> padding;
};
static_assert(sizeof(VhostUserInflight) == 24);
inline constexpr std::size_t kVhostUserInflightUnpadded = 20;

/// The in-flight region of a split queue begins with this; as many entries follow as the queue has
/// descriptors.
struct VhostUserInflightSplit {
    std::uint64_t features;
    std::uint16_t version;  // 0 where nobody has been here
    std::uint16_t desc_num;
    std::uint16_t last_batch_head;
    std::uint16_t used_idx;
};
static_assert(sizeof(VhostUserInflightSplit) == 16);
inline constexpr std::uint16_t kVhostUserInflightVersion = 1;

struct VhostUserInflightDesc {
    std::uint8_t inflight;
    std::array<std::uint8_t, 5> padding;
    std::uint16_t next;     // in the list of those last completed
    std::uint64_t counter;  // the order in which they were taken
};
static_assert(sizeof(VhostUserInflightDesc) == 16);

}  // namespace pepita::abi
