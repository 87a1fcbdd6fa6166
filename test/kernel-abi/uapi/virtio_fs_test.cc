#include "kernel-abi/uapi/virtio_fs.h"

#include <cstddef>

#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

SAME_SIZE(VirtioFsConfig, virtio_fs_config);
SAME_PLACE(VirtioFsConfig, tag, virtio_fs_config, tag);
SAME_PLACE(VirtioFsConfig, num_request_queues, virtio_fs_config, num_request_queues);
static_assert(kVirtioFsShmcapIdCache == VIRTIO_FS_SHMCAP_ID_CACHE);

}  // namespace
}  // namespace pepita::abi
