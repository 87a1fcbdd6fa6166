#include "kernel-abi/uapi/virtio_pmem.h"

#include <cstddef>

#include "kernel-abi/uapi/virtio_config.h"
#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtioPmemFShmemRegion == virtio_feature(VIRTIO_PMEM_F_SHMEM_REGION));
static_assert(kVirtioPmemShmemRegionId == VIRTIO_PMEM_SHMEM_REGION_ID);

SAME_SIZE(VirtioPmemConfig, virtio_pmem_config);
SAME_PLACE(VirtioPmemConfig, start, virtio_pmem_config, start);
SAME_PLACE(VirtioPmemConfig, size, virtio_pmem_config, size);
static_assert(kVirtioPmemReqTypeFlush == VIRTIO_PMEM_REQ_TYPE_FLUSH);

SAME_SIZE(VirtioPmemReq, virtio_pmem_req);
SAME_PLACE(VirtioPmemReq, type, virtio_pmem_req, type);

SAME_SIZE(VirtioPmemResp, virtio_pmem_resp);
SAME_PLACE(VirtioPmemResp, ret, virtio_pmem_resp, ret);

}  // namespace
}  // namespace pepita::abi
