#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// vhost-user: how a process that owns a guest's memory and rings (the front end) lends them to one
/// that serves a device (the back end). Source: QEMU 11.1 docs/interop/vhost-user.rst, and what its
/// development tree has since; Linux 7.3 include/uapi/linux/vhost_types.h for VhostIotlbMessage.
///
/// A comment behind a name gives the last QEMU whose document lacks it; a name without one is in
/// that of QEMU 5.2. Each message may also carry kVhostUserFdsMax descriptors at most. The document
/// does not define the payload of crypto sessions: in QEMU it holds pointers.
namespace pepita::abi {

/// Requests of a front end. Without a comment: an u64 in the request or its reply, or no payload.
enum class VhostUserRequest : std::uint32_t {
    GetFeatures = 1,
    SetFeatures = 2,
    SetOwner = 3,
    ResetOwner = 4,   // obsolete
    SetMemTable = 5,  // VhostUserMemoryTable
    SetLogBase = 6,   // VhostUserLog with kVhostUserProtocolLogShmfd, else an address
    SetLogFd = 7,
    SetVringNum = 8,    // VhostUserVringState, as the next ones that name no other
    SetVringAddr = 9,   // VhostUserVringAddr
    SetVringBase = 10,  // num: kVhostUserBaseAvailableMask and its like
    GetVringBase = 11,  // likewise, in the answer
    SetVringKick = 12,  // u64: kVhostUserVringIndexMask, as the next two
    SetVringCall = 13,
    SetVringErr = 14,
    GetProtocolFeatures = 15,
    SetProtocolFeatures = 16,
    GetQueueNum = 17,
    SetVringEnable = 18,  // VhostUserVringState
    SendRarp = 19,        // u64: the MAC address in its first six bytes
    NetSetMtu = 20,
    SetBackendReqFd = 21,
    IotlbMsg = 22,        // VhostIotlbMessage; answered with an u64, 0 for success
    SetVringEndian = 23,  // VhostUserVringState, num 1: big
    GetConfig = 24,       // VhostUserConfigHeader
    SetConfig = 25,
    CreateCryptoSession = 26,
    CloseCryptoSession = 27,
    PostcopyAdvise = 28,  // answered with a userfaultfd
    PostcopyListen = 29,
    PostcopyEnd = 30,
    GetInflightFd = 31,  // VhostUserInflight
    SetInflightFd = 32,
    GpuSetSocket = 33,  // a descriptor, for another protocol
    ResetDevice = 34,
    VringKick = 35,  // VhostUserVringState
    GetMaxMemSlots = 36,
    AddMemReg = 37,  // VhostUserSingleMemoryRegion
    RemMemReg = 38,
    SetStatus = 39,
    GetStatus = 40,
    GetSharedObject = 41,        // after 7.2: VhostUserShared; answered with a dma-buf
    SetDeviceStateFd = 42,       // after 7.2: VhostUserDeviceState
    CheckDeviceState = 43,       // after 7.2: answered with 0 for success
    GetShmemConfig = 44,         // after 10.2: answered with VhostUserShmemConfig
    GetVringBaseSkipDrain = 45,  // after 11.1: GetVringBase, and what is in flight is left there
};

/// What a back end may ask of its front end, over the socket of SET_BACKEND_REQ_FD.
enum class VhostUserBackendRequest : std::uint32_t {
    IotlbMsg = 1,  // VhostIotlbMessage
    ConfigChange = 2,
    VringHostNotifier = 3,   // VhostUserVringArea
    VringCall = 4,           // VhostUserVringState
    VringErr = 5,            // VhostUserVringState
    SharedObjectAdd = 6,     // after 7.2: VhostUserShared
    SharedObjectRemove = 7,  // after 7.2: VhostUserShared
    SharedObjectLookup = 8,  // after 7.2: VhostUserShared; answered with a dma-buf and an u64
    ShmemMap = 9,            // after 10.2: VhostUserShmemMap
    ShmemUnmap = 10,         // after 10.2: VhostUserShmemMap
};

/// Bits of VhostUserHeader::flags.
inline constexpr std::uint32_t kVhostUserVersionMask = 3;
inline constexpr std::uint32_t kVhostUserVersion = 1;
inline constexpr std::uint32_t kVhostUserReply = 1U << 2U;
inline constexpr std::uint32_t kVhostUserNeedReply = 1U << 3U;

/// The bit among the virtio features that says there are protocol features.
inline constexpr std::uint64_t kVhostUserFProtocolFeatures = 1ULL << 30U;
/// The one that has the back end mark what it writes: kVhostLogPage.
inline constexpr std::uint64_t kVhostFLogAll = 1ULL << 26U;

/// Protocol features.
inline constexpr std::uint64_t kVhostUserProtocolMq = 1ULL << 0U;
inline constexpr std::uint64_t kVhostUserProtocolLogShmfd = 1ULL << 1U;
inline constexpr std::uint64_t kVhostUserProtocolRarp = 1ULL << 2U;
inline constexpr std::uint64_t kVhostUserProtocolReplyAck = 1ULL << 3U;
inline constexpr std::uint64_t kVhostUserProtocolMtu = 1ULL << 4U;
inline constexpr std::uint64_t kVhostUserProtocolBackendReq = 1ULL << 5U;
inline constexpr std::uint64_t kVhostUserProtocolCrossEndian = 1ULL << 6U;
inline constexpr std::uint64_t kVhostUserProtocolCryptoSession = 1ULL << 7U;
inline constexpr std::uint64_t kVhostUserProtocolPagefault = 1ULL << 8U;
inline constexpr std::uint64_t kVhostUserProtocolConfig = 1ULL << 9U;
inline constexpr std::uint64_t kVhostUserProtocolBackendSendFd = 1ULL << 10U;
inline constexpr std::uint64_t kVhostUserProtocolHostNotifier = 1ULL << 11U;
inline constexpr std::uint64_t kVhostUserProtocolInflightShmfd = 1ULL << 12U;
inline constexpr std::uint64_t kVhostUserProtocolResetDevice = 1ULL << 13U;
inline constexpr std::uint64_t kVhostUserProtocolInbandNotifications = 1ULL << 14U;
inline constexpr std::uint64_t kVhostUserProtocolConfigureMemSlots = 1ULL << 15U;
inline constexpr std::uint64_t kVhostUserProtocolStatus = 1ULL << 16U;
inline constexpr std::uint64_t kVhostUserProtocolXenMmap = 1ULL << 17U;                // after 7.2
inline constexpr std::uint64_t kVhostUserProtocolSharedObject = 1ULL << 18U;           // after 7.2
inline constexpr std::uint64_t kVhostUserProtocolDeviceState = 1ULL << 19U;            // after 7.2
inline constexpr std::uint64_t kVhostUserProtocolGetVringBaseInflight = 1ULL << 20U;   // after 10.2
inline constexpr std::uint64_t kVhostUserProtocolGpaAddresses = 1ULL << 21U;           // after 10.2
inline constexpr std::uint64_t kVhostUserProtocolShmem = 1ULL << 22U;                  // after 10.2
inline constexpr std::uint64_t kVhostUserProtocolGetVringBaseSkipDrain = 1ULL << 23U;  // after 11.1

/// The payload of SET_VRING_KICK, _CALL and _ERR; of VhostUserVringArea the first number.
inline constexpr std::uint64_t kVhostUserVringIndexMask = 0xff;
inline constexpr std::uint64_t kVhostUserVringNoFd = 1U << 8U;

/// Without VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS.
inline constexpr std::size_t kVhostUserRegionsMax = 8;
inline constexpr std::size_t kVhostUserFdsMax = 8;
inline constexpr std::size_t kVhostUserConfigMax = 256;

struct VhostUserHeader {
    std::uint32_t request;
    std::uint32_t flags;
    std::uint32_t size;  // of what follows
};

/// SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_ENABLE.
struct VhostUserVringState {
    std::uint32_t index;
    std::uint32_t num;
};

/// VhostUserVringState::num of the base of a packed queue: where the next available descriptor is
/// and the driver's wrap counter, then the same of the used one and the device's. That of a split
/// queue is 16 bits of the available index, which does not wrap at the ring's size.
inline constexpr std::uint32_t kVhostUserBaseAvailableMask = 0x7fff;
inline constexpr std::uint32_t kVhostUserBaseAvailableWrap = 1U << 15U;
inline constexpr std::uint32_t kVhostUserBaseUsedShift = 16;
inline constexpr std::uint32_t kVhostUserBaseUsedMask = 0x7fff;  // after the shift
inline constexpr std::uint32_t kVhostUserBaseUsedWrap = 1U << 31U;

/// The three parts by their addresses in the front end's own address space; in the guest's with
/// kVhostUserProtocolGpaAddresses; those of I/O where an IOMMU was agreed upon.
struct VhostUserVringAddr {
    std::uint32_t index;
    std::uint32_t flags;
    std::uint64_t descriptors;
    std::uint64_t used;
    std::uint64_t available;
    std::uint64_t log;  // the guest address of the used ring, as the log has it
};
/// VhostUserVringAddr::flags: writes to the used ring are marked in the log.
inline constexpr std::uint32_t kVhostVringFLog = 1U << 0U;

struct VhostUserMemoryRegion {
    std::uint64_t guest_address;
    std::uint64_t size;
    std::uint64_t user_address;  // in the front end's own address space
    std::uint64_t file_offset;
};

/// A region instead, with kVhostUserProtocolXenMmap.
struct VhostUserXenMemoryRegion {
    VhostUserMemoryRegion region;
    std::uint32_t xen_mmap_flags;
    std::uint32_t domid;
};
/// VhostUserXenMemoryRegion::xen_mmap_flags.
inline constexpr std::uint32_t kVhostUserXenForeign = 1U << 0U;
inline constexpr std::uint32_t kVhostUserXenGrant = 1U << 1U;
inline constexpr std::uint32_t kVhostUserXenNotInAdvance = 1U << 8U;  // map what is needed, then

/// SET_MEM_TABLE begins with this; `count` regions follow, and as many descriptors come beside it.
struct VhostUserMemoryHeader {
    std::uint32_t count;
    std::uint32_t padding;
};

/// The whole of it, with as many regions as it can have.
struct VhostUserMemoryTable {
    VhostUserMemoryHeader header;
    std::array<VhostUserMemoryRegion, kVhostUserRegionsMax> regions;
};

/// ADD_MEM_REG, REM_MEM_REG, with kVhostUserProtocolConfigureMemSlots.
struct VhostUserSingleMemoryRegion {
    std::uint64_t padding;
    VhostUserMemoryRegion region;
};

/// SET_LOG_BASE: the memory beside it has a bit for each page of the guest's, from address 0 on.
struct VhostUserLog {
    std::uint64_t size;
    std::uint64_t offset;
};
inline constexpr std::uint64_t kVhostLogPage = 0x1000;

/// IOTLB_MSG, either way: MISS and ACCESS_FAIL come from the back end.
struct VhostIotlbMessage {
    std::uint64_t iova;
    std::uint64_t size;
    std::uint64_t user_address;
    std::uint8_t permissions;
    std::uint8_t type;
    std::array<std::uint8_t, 6> padding;
};
/// VhostIotlbMessage::permissions.
inline constexpr std::uint8_t kVhostAccessReadOnly = 1;
inline constexpr std::uint8_t kVhostAccessWriteOnly = 2;
inline constexpr std::uint8_t kVhostAccessReadWrite = 3;
/// VhostIotlbMessage::type. Batches are Linux's own.
inline constexpr std::uint8_t kVhostIotlbMiss = 1;
inline constexpr std::uint8_t kVhostIotlbUpdate = 2;
inline constexpr std::uint8_t kVhostIotlbInvalidate = 3;
inline constexpr std::uint8_t kVhostIotlbAccessFail = 4;
inline constexpr std::uint8_t kVhostIotlbBatchBegin = 5;
inline constexpr std::uint8_t kVhostIotlbBatchEnd = 6;

/// GET_CONFIG and SET_CONFIG begin with this; `size` bytes follow.
struct VhostUserConfigHeader {
    std::uint32_t offset;
    std::uint32_t size;
    std::uint32_t flags;
};
/// VhostUserConfigHeader::flags: the driver writes; a machine that moved in restores all fields.
inline constexpr std::uint32_t kVhostUserConfigWritable = 0;
inline constexpr std::uint32_t kVhostUserConfigMigration = 1;

/// VRING_HOST_NOTIFIER: the part of the file beside it that becomes the queue's notification.
struct VhostUserVringArea {
    std::uint64_t index_and_flags;
    std::uint64_t size;
    std::uint64_t offset;
};

/// GET_INFLIGHT_FD and its reply, SET_INFLIGHT_FD. Some front ends leave the padding out.
struct VhostUserInflight {
    std::uint64_t mmap_size;
    std::uint64_t mmap_offset;
    std::uint16_t num_queues;
    std::uint16_t queue_size;
    std::array<std::uint8_t, 4> padding;
};
inline constexpr std::size_t kVhostUserInflightUnpadded = 20;

/// The in-flight region of a split queue begins with this; as many entries follow as the queue has
/// descriptors.
struct VhostUserInflightSplit {
    std::uint64_t features;
    std::uint16_t version;  // 0: never initialised
    std::uint16_t desc_num;
    std::uint16_t last_batch_head;
    std::uint16_t used_idx;
};
inline constexpr std::uint16_t kVhostUserInflightVersion = 1;

struct VhostUserInflightDesc {
    std::uint8_t inflight;
    std::array<std::uint8_t, 5> padding;
    std::uint16_t next;     // in the list of those last completed
    std::uint64_t counter;  // the order in which they were taken
};

/// That of a packed queue, likewise. What is "old" is as it was before the last batch.
struct VhostUserInflightPacked {
    std::uint64_t features;
    std::uint16_t version;
    std::uint16_t desc_num;
    std::uint16_t free_head;
    std::uint16_t old_free_head;
    std::uint16_t used_idx;
    std::uint16_t old_used_idx;
    std::uint8_t used_wrap_counter;
    std::uint8_t old_used_wrap_counter;
    std::array<std::uint8_t, 7> padding;  // and three more, as the entries begin at 32
};

struct VhostUserInflightPackedDesc {
    std::uint8_t inflight;
    std::uint8_t padding;
    std::uint16_t next;  // the next free entry
    std::uint16_t last;  // of the same list of descriptors, as `num` and `counter` of its head
    std::uint16_t num;
    std::uint64_t counter;
    std::uint16_t id;  // the descriptor itself
    std::uint16_t flags;
    std::uint32_t len;
    std::uint64_t addr;
};

/// GET_SHARED_OBJECT, SHARED_OBJECT_ADD, _REMOVE, _LOOKUP.
struct VhostUserShared {
    std::array<std::uint8_t, 16> uuid;  // its first three parts are big-endian
};

/// SET_DEVICE_STATE_FD. The answer is an u64: an error where the low byte is not 0, and whether a
/// descriptor comes back.
struct VhostUserDeviceState {
    std::uint32_t direction;
    std::uint32_t phase;
};
inline constexpr std::uint32_t kVhostUserDeviceStateSave = 0;  // direction
inline constexpr std::uint32_t kVhostUserDeviceStateLoad = 1;
inline constexpr std::uint32_t kVhostUserDeviceStateStopped = 0;  // phase
inline constexpr std::uint64_t kVhostUserDeviceStateErrorMask = 0xff;
inline constexpr std::uint64_t kVhostUserDeviceStateNoFd = 1U << 8U;

/// SHMEM_MAP, of the file beside it, and SHMEM_UNMAP.
struct VhostUserShmemMap {
    std::uint8_t shmid;
    std::array<std::uint8_t, 7> padding;
    std::uint64_t fd_offset;
    std::uint64_t shm_offset;
    std::uint64_t len;
    std::uint64_t flags;
};
inline constexpr std::uint64_t kVhostUserShmemReadOnly = 0;
inline constexpr std::uint64_t kVhostUserShmemReadWrite = 1;

/// The answer to GET_SHMEM_CONFIG: `count` of the sizes are not 0; an index is a shmid.
inline constexpr std::size_t kVhostUserShmemRegionsMax = 256;
struct VhostUserShmemConfig {
    std::uint32_t count;
    std::uint32_t padding;
    std::array<std::uint64_t, kVhostUserShmemRegionsMax> sizes;
};

}  // namespace pepita::abi
