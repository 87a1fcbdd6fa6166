#include <array>
#include <span>
#include <tuple>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/vhost_user.h"

namespace pepita::abi_check {
namespace {

constexpr std::tuple kLayouts{
    LAYOUT(abi::VhostUserHeader, "", 12, AT(request, 0, 4), AT(flags, 4, 4), AT(size, 8, 4)),
    LAYOUT(abi::VhostUserVringState, "vhost_vring_state", 8, AT(index, 0, 4), AT(num, 4, 4)),
    LAYOUT(abi::VhostUserVringAddr, "vhost_vring_addr", 40, AT(index, 0, 4), AT(flags, 4, 4),
           AS(descriptors, "desc_user_addr", 8, 8), AS(used, "used_user_addr", 16, 8),
           AS(available, "avail_user_addr", 24, 8), AS(log, "log_guest_addr", 32, 8)),
    LAYOUT(abi::VhostUserMemoryRegion, "vhost_memory_region", 32,
           AS(guest_address, "guest_phys_addr", 0, 8), AS(size, "memory_size", 8, 8),
           AS(user_address, "userspace_addr", 16, 8), OURS(file_offset, 24, 8)),
    LAYOUT(abi::VhostUserXenMemoryRegion, "", 40, AT(region, 0, 32), AT(xen_mmap_flags, 32, 4),
           AT(domid, 36, 4)),
    LAYOUT(abi::VhostUserMemoryHeader, "vhost_memory", 8, AS(count, "nregions", 0, 4),
           AT(padding, 4, 4)),
    LAYOUT(abi::VhostUserMemoryTable, "", 264, AT(header, 0, 8), AT(regions, 8, 256)),
    LAYOUT(abi::VhostUserSingleMemoryRegion, "", 40, AT(padding, 0, 8), AT(region, 8, 32)),
    LAYOUT(abi::VhostUserLog, "", 16, AT(size, 0, 8), AT(offset, 8, 8)),
    LAYOUT(abi::VhostIotlbMessage, "vhost_iotlb_msg", 32, AT(iova, 0, 8), AT(size, 8, 8),
           AS(user_address, "uaddr", 16, 8), AS(permissions, "perm", 24, 1), AT(type, 25, 1),
           OURS(padding, 26, 6)),
    LAYOUT(abi::VhostUserConfigHeader, "", 12, AT(offset, 0, 4), AT(size, 4, 4), AT(flags, 8, 4)),
    LAYOUT(abi::VhostUserVringArea, "", 24, AT(index_and_flags, 0, 8), AT(size, 8, 8),
           AT(offset, 16, 8)),
    LAYOUT(abi::VhostUserInflight, "", 24, AT(mmap_size, 0, 8), AT(mmap_offset, 8, 8),
           AT(num_queues, 16, 2), AT(queue_size, 18, 2), AT(padding, 20, 4)),
    LAYOUT(abi::VhostUserInflightSplit, "", 16, AT(features, 0, 8), AT(version, 8, 2),
           AT(desc_num, 10, 2), AT(last_batch_head, 12, 2), AT(used_idx, 14, 2)),
    LAYOUT(abi::VhostUserInflightDesc, "", 16, AT(inflight, 0, 1), AT(padding, 1, 5),
           AT(next, 6, 2), AT(counter, 8, 8)),
    LAYOUT(abi::VhostUserInflightPacked, "", 32, AT(features, 0, 8), AT(version, 8, 2),
           AT(desc_num, 10, 2), AT(free_head, 12, 2), AT(old_free_head, 14, 2), AT(used_idx, 16, 2),
           AT(old_used_idx, 18, 2), AT(used_wrap_counter, 20, 1), AT(old_used_wrap_counter, 21, 1),
           AT(padding, 22, 7)),
    LAYOUT(abi::VhostUserInflightPackedDesc, "", 32, AT(inflight, 0, 1), AT(padding, 1, 1),
           AT(next, 2, 2), AT(last, 4, 2), AT(num, 6, 2), AT(counter, 8, 8), AT(id, 16, 2),
           AT(flags, 18, 2), AT(len, 20, 4), AT(addr, 24, 8)),
    LAYOUT(abi::VhostUserShared, "", 16, AT(uuid, 0, 16)),
    LAYOUT(abi::VhostUserDeviceState, "", 8, AT(direction, 0, 4), AT(phase, 4, 4)),
    LAYOUT(abi::VhostUserShmemMap, "", 40, AT(shmid, 0, 1), AT(padding, 1, 7), AT(fd_offset, 8, 8),
           AT(shm_offset, 16, 8), AT(len, 24, 8), AT(flags, 32, 8)),
    LAYOUT(abi::VhostUserShmemConfig, "", 2056, AT(count, 0, 4), AT(padding, 4, 4),
           AT(sizes, 8, 2048)),
};
constexpr auto kTypes = types_of(kLayouts);

}  // namespace

std::span<const ExpectedType> vhost_user_types() { return kTypes; }

}  // namespace pepita::abi_check
