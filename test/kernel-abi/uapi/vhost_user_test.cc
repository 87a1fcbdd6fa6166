#include "kernel-abi/uapi/vhost_user.h"

#include <cstddef>
#include <cstdint>

#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's header of vhost where vhost-user has the same; the rest against QEMU's document,
// of which there is no header.
namespace pepita::abi {
namespace {

constexpr std::uint32_t number(VhostUserRequest request) {
    return static_cast<std::uint32_t>(request);
}
constexpr std::uint32_t number(VhostUserBackendRequest request) {
    return static_cast<std::uint32_t>(request);
}

static_assert(number(VhostUserRequest::GetFeatures) == 1);
static_assert(number(VhostUserRequest::SetFeatures) == 2);
static_assert(number(VhostUserRequest::SetOwner) == 3);
static_assert(number(VhostUserRequest::ResetOwner) == 4);
static_assert(number(VhostUserRequest::SetMemTable) == 5);
static_assert(number(VhostUserRequest::SetLogBase) == 6);
static_assert(number(VhostUserRequest::SetLogFd) == 7);
static_assert(number(VhostUserRequest::SetVringNum) == 8);
static_assert(number(VhostUserRequest::SetVringAddr) == 9);
static_assert(number(VhostUserRequest::SetVringBase) == 10);
static_assert(number(VhostUserRequest::GetVringBase) == 11);
static_assert(number(VhostUserRequest::SetVringKick) == 12);
static_assert(number(VhostUserRequest::SetVringCall) == 13);
static_assert(number(VhostUserRequest::SetVringErr) == 14);
static_assert(number(VhostUserRequest::GetProtocolFeatures) == 15);
static_assert(number(VhostUserRequest::SetProtocolFeatures) == 16);
static_assert(number(VhostUserRequest::GetQueueNum) == 17);
static_assert(number(VhostUserRequest::SetVringEnable) == 18);
static_assert(number(VhostUserRequest::SendRarp) == 19);
static_assert(number(VhostUserRequest::NetSetMtu) == 20);
static_assert(number(VhostUserRequest::SetBackendReqFd) == 21);
static_assert(number(VhostUserRequest::IotlbMsg) == 22);
static_assert(number(VhostUserRequest::SetVringEndian) == 23);
static_assert(number(VhostUserRequest::GetConfig) == 24);
static_assert(number(VhostUserRequest::SetConfig) == 25);
static_assert(number(VhostUserRequest::CreateCryptoSession) == 26);
static_assert(number(VhostUserRequest::CloseCryptoSession) == 27);
static_assert(number(VhostUserRequest::PostcopyAdvise) == 28);
static_assert(number(VhostUserRequest::PostcopyListen) == 29);
static_assert(number(VhostUserRequest::PostcopyEnd) == 30);
static_assert(number(VhostUserRequest::GetInflightFd) == 31);
static_assert(number(VhostUserRequest::SetInflightFd) == 32);
static_assert(number(VhostUserRequest::GpuSetSocket) == 33);
static_assert(number(VhostUserRequest::ResetDevice) == 34);
static_assert(number(VhostUserRequest::VringKick) == 35);
static_assert(number(VhostUserRequest::GetMaxMemSlots) == 36);
static_assert(number(VhostUserRequest::AddMemReg) == 37);
static_assert(number(VhostUserRequest::RemMemReg) == 38);
static_assert(number(VhostUserRequest::SetStatus) == 39);
static_assert(number(VhostUserRequest::GetStatus) == 40);
static_assert(number(VhostUserRequest::GetSharedObject) == 41);
static_assert(number(VhostUserRequest::SetDeviceStateFd) == 42);
static_assert(number(VhostUserRequest::CheckDeviceState) == 43);
static_assert(number(VhostUserRequest::GetShmemConfig) == 44);
// In no release yet.
static_assert(number(VhostUserRequest::GetVringBaseSkipDrain) == 45);

static_assert(number(VhostUserBackendRequest::IotlbMsg) == 1);
static_assert(number(VhostUserBackendRequest::ConfigChange) == 2);
static_assert(number(VhostUserBackendRequest::VringHostNotifier) == 3);
static_assert(number(VhostUserBackendRequest::VringCall) == 4);
static_assert(number(VhostUserBackendRequest::VringErr) == 5);
static_assert(number(VhostUserBackendRequest::SharedObjectAdd) == 6);
static_assert(number(VhostUserBackendRequest::SharedObjectRemove) == 7);
static_assert(number(VhostUserBackendRequest::SharedObjectLookup) == 8);
static_assert(number(VhostUserBackendRequest::ShmemMap) == 9);
static_assert(number(VhostUserBackendRequest::ShmemUnmap) == 10);

static_assert(kVhostUserProtocolMq == 0x1);
static_assert(kVhostUserProtocolLogShmfd == 0x2);
static_assert(kVhostUserProtocolRarp == 0x4);
static_assert(kVhostUserProtocolReplyAck == 0x8);
static_assert(kVhostUserProtocolMtu == 0x10);
static_assert(kVhostUserProtocolBackendReq == 0x20);
static_assert(kVhostUserProtocolCrossEndian == 0x40);
static_assert(kVhostUserProtocolCryptoSession == 0x80);
static_assert(kVhostUserProtocolPagefault == 0x100);
static_assert(kVhostUserProtocolConfig == 0x200);
static_assert(kVhostUserProtocolBackendSendFd == 0x400);
static_assert(kVhostUserProtocolHostNotifier == 0x800);
static_assert(kVhostUserProtocolInflightShmfd == 0x1000);
static_assert(kVhostUserProtocolResetDevice == 0x2000);
static_assert(kVhostUserProtocolInbandNotifications == 0x4000);
static_assert(kVhostUserProtocolConfigureMemSlots == 0x8000);
static_assert(kVhostUserProtocolStatus == 0x10000);
static_assert(kVhostUserProtocolXenMmap == 0x20000);
static_assert(kVhostUserProtocolSharedObject == 0x40000);
static_assert(kVhostUserProtocolDeviceState == 0x80000);
static_assert(kVhostUserProtocolGetVringBaseInflight == 0x100000);
static_assert(kVhostUserProtocolGpaAddresses == 0x200000);
static_assert(kVhostUserProtocolShmem == 0x400000);
static_assert(kVhostUserProtocolGetVringBaseSkipDrain == 0x800000);

static_assert(kVhostUserVersionMask == 0x3);
static_assert(kVhostUserVersion == 1);
static_assert(kVhostUserReply == 0x4);
static_assert(kVhostUserNeedReply == 0x8);
static_assert(kVhostUserFProtocolFeatures == 0x40000000);
static_assert(kVhostFLogAll == std::uint64_t{1} << VHOST_F_LOG_ALL);
static_assert(kVhostUserVringIndexMask == 0xff);
static_assert(kVhostUserVringNoFd == 0x100);
static_assert(kVhostUserRegionsMax == 8);
static_assert(kVhostUserFdsMax == 8);
static_assert(kVhostUserConfigMax == 256);

AT(VhostUserHeader, request, 0, 4);
AT(VhostUserHeader, flags, 4, 4);
AT(VhostUserHeader, size, 8, 4);

SAME_SIZE(VhostUserVringState, vhost_vring_state);
SAME_PLACE(VhostUserVringState, index, vhost_vring_state, index);
SAME_PLACE(VhostUserVringState, num, vhost_vring_state, num);
static_assert(kVhostUserBaseAvailableMask == 0x00007fff);
static_assert(kVhostUserBaseAvailableWrap == 0x00008000);
static_assert(kVhostUserBaseUsedMask << kVhostUserBaseUsedShift == 0x7fff0000);
static_assert(kVhostUserBaseUsedMask == 0x00007fff);
static_assert(kVhostUserBaseUsedWrap == 0x80000000);

SAME_SIZE(VhostUserVringAddr, vhost_vring_addr);
SAME_PLACE(VhostUserVringAddr, index, vhost_vring_addr, index);
SAME_PLACE(VhostUserVringAddr, flags, vhost_vring_addr, flags);
SAME_PLACE(VhostUserVringAddr, descriptors, vhost_vring_addr, desc_user_addr);
SAME_PLACE(VhostUserVringAddr, used, vhost_vring_addr, used_user_addr);
SAME_PLACE(VhostUserVringAddr, available, vhost_vring_addr, avail_user_addr);
SAME_PLACE(VhostUserVringAddr, log, vhost_vring_addr, log_guest_addr);
static_assert(kVhostVringFLog == 1U << VHOST_VRING_F_LOG);

SAME_SIZE(VhostUserMemoryRegion, vhost_memory_region);
SAME_PLACE(VhostUserMemoryRegion, guest_address, vhost_memory_region, guest_phys_addr);
SAME_PLACE(VhostUserMemoryRegion, size, vhost_memory_region, memory_size);
SAME_PLACE(VhostUserMemoryRegion, user_address, vhost_memory_region, userspace_addr);
AT(VhostUserMemoryRegion, file_offset, 24, 8);  // of no use there

SAME_SIZE(VhostUserMemoryHeader, vhost_memory);
SAME_PLACE(VhostUserMemoryHeader, count, vhost_memory, nregions);
SAME_PLACE(VhostUserMemoryHeader, padding, vhost_memory, padding);

AT(VhostUserMemoryTable, header, 0, 8);
AT(VhostUserMemoryTable, regions, 8, 256);

AT(VhostUserXenMemoryRegion, region, 0, 32);
AT(VhostUserXenMemoryRegion, xen_mmap_flags, 32, 4);
AT(VhostUserXenMemoryRegion, domid, 36, 4);
static_assert(kVhostUserXenForeign == 0x1);
static_assert(kVhostUserXenGrant == 0x2);
static_assert(kVhostUserXenNotInAdvance == 0x100);

AT(VhostUserSingleMemoryRegion, padding, 0, 8);
AT(VhostUserSingleMemoryRegion, region, 8, 32);

AT(VhostUserLog, size, 0, 8);
AT(VhostUserLog, offset, 8, 8);
static_assert(kVhostLogPage == 0x1000);

SAME_SIZE(VhostIotlbMessage, vhost_iotlb_msg);
SAME_PLACE(VhostIotlbMessage, iova, vhost_iotlb_msg, iova);
SAME_PLACE(VhostIotlbMessage, size, vhost_iotlb_msg, size);
SAME_PLACE(VhostIotlbMessage, user_address, vhost_iotlb_msg, uaddr);
SAME_PLACE(VhostIotlbMessage, permissions, vhost_iotlb_msg, perm);
SAME_PLACE(VhostIotlbMessage, type, vhost_iotlb_msg, type);
AT(VhostIotlbMessage, padding, 26, 6);
static_assert(kVhostAccessReadOnly == VHOST_ACCESS_RO);
static_assert(kVhostAccessWriteOnly == VHOST_ACCESS_WO);
static_assert(kVhostAccessReadWrite == VHOST_ACCESS_RW);
static_assert(kVhostIotlbMiss == VHOST_IOTLB_MISS);
static_assert(kVhostIotlbUpdate == VHOST_IOTLB_UPDATE);
static_assert(kVhostIotlbInvalidate == VHOST_IOTLB_INVALIDATE);
static_assert(kVhostIotlbAccessFail == VHOST_IOTLB_ACCESS_FAIL);
static_assert(kVhostIotlbBatchBegin == VHOST_IOTLB_BATCH_BEGIN);
static_assert(kVhostIotlbBatchEnd == VHOST_IOTLB_BATCH_END);

AT(VhostUserConfigHeader, offset, 0, 4);
AT(VhostUserConfigHeader, size, 4, 4);
AT(VhostUserConfigHeader, flags, 8, 4);
static_assert(kVhostUserConfigWritable == 0);
static_assert(kVhostUserConfigMigration == 1);

AT(VhostUserVringArea, index_and_flags, 0, 8);
AT(VhostUserVringArea, size, 8, 8);
AT(VhostUserVringArea, offset, 16, 8);

AT(VhostUserInflight, mmap_size, 0, 8);
AT(VhostUserInflight, mmap_offset, 8, 8);
AT(VhostUserInflight, num_queues, 16, 2);
AT(VhostUserInflight, queue_size, 18, 2);
AT(VhostUserInflight, padding, 20, 4);
static_assert(kVhostUserInflightUnpadded == 20);

AT(VhostUserInflightSplit, features, 0, 8);
AT(VhostUserInflightSplit, version, 8, 2);
AT(VhostUserInflightSplit, desc_num, 10, 2);
AT(VhostUserInflightSplit, last_batch_head, 12, 2);
AT(VhostUserInflightSplit, used_idx, 14, 2);
static_assert(kVhostUserInflightVersion == 1);

AT(VhostUserInflightDesc, inflight, 0, 1);
AT(VhostUserInflightDesc, padding, 1, 5);
AT(VhostUserInflightDesc, next, 6, 2);
AT(VhostUserInflightDesc, counter, 8, 8);

AT(VhostUserInflightPacked, features, 0, 8);
AT(VhostUserInflightPacked, version, 8, 2);
AT(VhostUserInflightPacked, desc_num, 10, 2);
AT(VhostUserInflightPacked, free_head, 12, 2);
AT(VhostUserInflightPacked, old_free_head, 14, 2);
AT(VhostUserInflightPacked, used_idx, 16, 2);
AT(VhostUserInflightPacked, old_used_idx, 18, 2);
AT(VhostUserInflightPacked, used_wrap_counter, 20, 1);
AT(VhostUserInflightPacked, old_used_wrap_counter, 21, 1);
AT(VhostUserInflightPacked, padding, 22, 7);

AT(VhostUserInflightPackedDesc, inflight, 0, 1);
AT(VhostUserInflightPackedDesc, padding, 1, 1);
AT(VhostUserInflightPackedDesc, next, 2, 2);
AT(VhostUserInflightPackedDesc, last, 4, 2);
AT(VhostUserInflightPackedDesc, num, 6, 2);
AT(VhostUserInflightPackedDesc, counter, 8, 8);
AT(VhostUserInflightPackedDesc, id, 16, 2);
AT(VhostUserInflightPackedDesc, flags, 18, 2);
AT(VhostUserInflightPackedDesc, len, 20, 4);
AT(VhostUserInflightPackedDesc, addr, 24, 8);

AT(VhostUserShared, uuid, 0, 16);

AT(VhostUserDeviceState, direction, 0, 4);
AT(VhostUserDeviceState, phase, 4, 4);
static_assert(kVhostUserDeviceStateSave == 0);
static_assert(kVhostUserDeviceStateLoad == 1);
static_assert(kVhostUserDeviceStateStopped == 0);
static_assert(kVhostUserDeviceStateErrorMask == 0xff);
static_assert(kVhostUserDeviceStateNoFd == 0x100);

AT(VhostUserShmemMap, shmid, 0, 1);
AT(VhostUserShmemMap, padding, 1, 7);
AT(VhostUserShmemMap, fd_offset, 8, 8);
AT(VhostUserShmemMap, shm_offset, 16, 8);
AT(VhostUserShmemMap, len, 24, 8);
AT(VhostUserShmemMap, flags, 32, 8);
static_assert(kVhostUserShmemReadOnly == 0);
static_assert(kVhostUserShmemReadWrite == 1);

AT(VhostUserShmemConfig, count, 0, 4);
AT(VhostUserShmemConfig, padding, 4, 4);
AT(VhostUserShmemConfig, sizes, 8, 2048);
static_assert(kVhostUserShmemRegionsMax == 256);

}  // namespace
}  // namespace pepita::abi
