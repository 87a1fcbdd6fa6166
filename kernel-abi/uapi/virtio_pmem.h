#pragma once

#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

/// Memory that persists.
/// A comment behind a name says which Linux brought it; what has none is in Linux 6.1's header.
/// Source: virtio 1.3 §5.19; Linux 7.3 include/uapi/linux/virtio_pmem.h.
namespace pepita::abi {

// Features.
inline constexpr std::uint64_t kVirtioPmemFShmemRegion = virtio_feature(0);  // 6.8

// The shared memory that it is, with this feature.
inline constexpr std::uint8_t kVirtioPmemShmemRegionId = 0;  // 6.8

/// The configuration space, in guest-physical bytes.
struct VirtioPmemConfig {
    std::uint64_t start;
    std::uint64_t size;
};
static_assert(sizeof(VirtioPmemConfig) == 16);

// VirtioPmemReq::type.
inline constexpr std::uint32_t kVirtioPmemReqTypeFlush = 0;

struct VirtioPmemReq {
    std::uint32_t type;
};
static_assert(sizeof(VirtioPmemReq) == 4);

struct VirtioPmemResp {
    std::uint32_t ret;
};
static_assert(sizeof(VirtioPmemResp) == 4);

}  // namespace pepita::abi
