#include "kernel-abi/uapi/virtio_config.h"

#include "test/kernel-abi/uapi/linux_virtio.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(virtio_feature(0) == 1);
static_assert(virtio_feature(63) == 0x8000'0000'0000'0000);
static_assert(kVirtioStatusAcknowledge == VIRTIO_CONFIG_S_ACKNOWLEDGE);
static_assert(kVirtioStatusDriver == VIRTIO_CONFIG_S_DRIVER);
static_assert(kVirtioStatusDriverOk == VIRTIO_CONFIG_S_DRIVER_OK);
static_assert(kVirtioStatusFeaturesOk == VIRTIO_CONFIG_S_FEATURES_OK);
static_assert(kVirtioStatusNeedsReset == VIRTIO_CONFIG_S_NEEDS_RESET);
static_assert(kVirtioStatusFailed == VIRTIO_CONFIG_S_FAILED);
static_assert(kVirtioTransportFStart == VIRTIO_TRANSPORT_F_START);
// VIRTIO_TRANSPORT_F_END is 41 in Linux 6.1: it grows with the features.
static_assert(kVirtioTransportFEnd == 42);
static_assert(kVirtioFNotifyOnEmpty == virtio_feature(VIRTIO_F_NOTIFY_ON_EMPTY));
static_assert(kVirtioFAnyLayout == virtio_feature(VIRTIO_F_ANY_LAYOUT));
static_assert(kVirtioFIndirectDesc == virtio_feature(VIRTIO_RING_F_INDIRECT_DESC));
static_assert(kVirtioFEventIdx == virtio_feature(VIRTIO_RING_F_EVENT_IDX));
static_assert(kVirtioFVersion1 == virtio_feature(VIRTIO_F_VERSION_1));
static_assert(kVirtioFAccessPlatform == virtio_feature(VIRTIO_F_ACCESS_PLATFORM));
static_assert(kVirtioFAccessPlatform == virtio_feature(VIRTIO_F_IOMMU_PLATFORM));
static_assert(kVirtioFRingPacked == virtio_feature(VIRTIO_F_RING_PACKED));
static_assert(kVirtioFInOrder == virtio_feature(VIRTIO_F_IN_ORDER));
static_assert(kVirtioFOrderPlatform == virtio_feature(VIRTIO_F_ORDER_PLATFORM));
static_assert(kVirtioFSrIov == virtio_feature(VIRTIO_F_SR_IOV));
static_assert(kVirtioFNotificationData == virtio_feature(VIRTIO_F_NOTIFICATION_DATA));
static_assert(kVirtioFNotifConfigData == virtio_feature(VIRTIO_F_NOTIF_CONFIG_DATA));
static_assert(kVirtioFRingReset == virtio_feature(VIRTIO_F_RING_RESET));
static_assert(kVirtioFAdminVq == virtio_feature(VIRTIO_F_ADMIN_VQ));

}  // namespace
}  // namespace pepita::abi
