#include "kernel-abi/uapi/virtio_mmio.h"

#include <cstddef>

#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtioMmioMagic == 0x74726976);
static_assert(kVirtioMmioVersionModern == 2);
static_assert(kVirtioMmioMagicValue == VIRTIO_MMIO_MAGIC_VALUE);
static_assert(kVirtioMmioVersion == VIRTIO_MMIO_VERSION);
static_assert(kVirtioMmioDeviceId == VIRTIO_MMIO_DEVICE_ID);
static_assert(kVirtioMmioVendorId == VIRTIO_MMIO_VENDOR_ID);
static_assert(kVirtioMmioDeviceFeatures == VIRTIO_MMIO_DEVICE_FEATURES);
static_assert(kVirtioMmioDeviceFeaturesSel == VIRTIO_MMIO_DEVICE_FEATURES_SEL);
static_assert(kVirtioMmioDriverFeatures == VIRTIO_MMIO_DRIVER_FEATURES);
static_assert(kVirtioMmioDriverFeaturesSel == VIRTIO_MMIO_DRIVER_FEATURES_SEL);
static_assert(kVirtioMmioQueueSel == VIRTIO_MMIO_QUEUE_SEL);
static_assert(kVirtioMmioQueueNumMax == VIRTIO_MMIO_QUEUE_NUM_MAX);
static_assert(kVirtioMmioQueueNum == VIRTIO_MMIO_QUEUE_NUM);
static_assert(kVirtioMmioQueueReady == VIRTIO_MMIO_QUEUE_READY);
static_assert(kVirtioMmioQueueNotify == VIRTIO_MMIO_QUEUE_NOTIFY);
static_assert(kVirtioMmioInterruptStatus == VIRTIO_MMIO_INTERRUPT_STATUS);
static_assert(kVirtioMmioInterruptAck == VIRTIO_MMIO_INTERRUPT_ACK);
static_assert(kVirtioMmioStatus == VIRTIO_MMIO_STATUS);
static_assert(kVirtioMmioQueueDescLow == VIRTIO_MMIO_QUEUE_DESC_LOW);
static_assert(kVirtioMmioQueueDescHigh == VIRTIO_MMIO_QUEUE_DESC_HIGH);
static_assert(kVirtioMmioQueueAvailLow == VIRTIO_MMIO_QUEUE_AVAIL_LOW);
static_assert(kVirtioMmioQueueAvailHigh == VIRTIO_MMIO_QUEUE_AVAIL_HIGH);
static_assert(kVirtioMmioQueueUsedLow == VIRTIO_MMIO_QUEUE_USED_LOW);
static_assert(kVirtioMmioQueueUsedHigh == VIRTIO_MMIO_QUEUE_USED_HIGH);
static_assert(kVirtioMmioShmSel == VIRTIO_MMIO_SHM_SEL);
static_assert(kVirtioMmioShmLenLow == VIRTIO_MMIO_SHM_LEN_LOW);
static_assert(kVirtioMmioShmLenHigh == VIRTIO_MMIO_SHM_LEN_HIGH);
static_assert(kVirtioMmioShmBaseLow == VIRTIO_MMIO_SHM_BASE_LOW);
static_assert(kVirtioMmioShmBaseHigh == VIRTIO_MMIO_SHM_BASE_HIGH);
static_assert(kVirtioMmioConfigGeneration == VIRTIO_MMIO_CONFIG_GENERATION);
static_assert(kVirtioMmioConfig == VIRTIO_MMIO_CONFIG);
static_assert(kVirtioMmioGuestPageSize == VIRTIO_MMIO_GUEST_PAGE_SIZE);
static_assert(kVirtioMmioQueueAlign == VIRTIO_MMIO_QUEUE_ALIGN);
static_assert(kVirtioMmioQueuePfn == VIRTIO_MMIO_QUEUE_PFN);
static_assert(kVirtioMmioIntVring == VIRTIO_MMIO_INT_VRING);
static_assert(kVirtioMmioIntConfig == VIRTIO_MMIO_INT_CONFIG);

}  // namespace
}  // namespace pepita::abi
