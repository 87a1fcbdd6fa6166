#include "kernel-abi/uapi/virtio_pci.h"

#include <cstddef>

#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtioPciCapabilityCommon == VIRTIO_PCI_CAP_COMMON_CFG);
static_assert(kVirtioPciCapabilityNotify == VIRTIO_PCI_CAP_NOTIFY_CFG);
static_assert(kVirtioPciCapabilityIsr == VIRTIO_PCI_CAP_ISR_CFG);
static_assert(kVirtioPciCapabilityDevice == VIRTIO_PCI_CAP_DEVICE_CFG);
static_assert(kVirtioPciCapabilityWindow == VIRTIO_PCI_CAP_PCI_CFG);
static_assert(kVirtioPciCapabilitySharedMemory == VIRTIO_PCI_CAP_SHARED_MEMORY_CFG);
static_assert(kVirtioPciCapabilityVendorData == VIRTIO_PCI_CAP_VENDOR_CFG);
static_assert(kVirtioIsrConfig == VIRTIO_PCI_ISR_CONFIG);
static_assert(kVirtioNoVector == VIRTIO_MSI_NO_VECTOR);
// virtio 1.3 §4.1.2, §4.1.4.5.
static_assert(kVirtioIsrQueue == 1);
static_assert(kVirtioPciVendor == 0x1af4);
static_assert(kVirtioPciDeviceBase == 0x1040);
static_assert(kVirtioPciRevision == 1);

SAME_SIZE(VirtioPciCapability, virtio_pci_cap);
SAME_PLACE(VirtioPciCapability, id, virtio_pci_cap, cap_vndr);
SAME_PLACE(VirtioPciCapability, next, virtio_pci_cap, cap_next);
SAME_PLACE(VirtioPciCapability, length, virtio_pci_cap, cap_len);
SAME_PLACE(VirtioPciCapability, type, virtio_pci_cap, cfg_type);
SAME_PLACE(VirtioPciCapability, bar, virtio_pci_cap, bar);
SAME_PLACE(VirtioPciCapability, structure_id, virtio_pci_cap, id);
SAME_PLACE(VirtioPciCapability, padding, virtio_pci_cap, padding);
SAME_PLACE(VirtioPciCapability, offset, virtio_pci_cap, offset);
SAME_PLACE(VirtioPciCapability, structure_length, virtio_pci_cap, length);

SAME_SIZE(VirtioPciCapability64, virtio_pci_cap64);
SAME_PLACE(VirtioPciCapability64, capability, virtio_pci_cap64, cap);
SAME_PLACE(VirtioPciCapability64, offset_high, virtio_pci_cap64, offset_hi);
SAME_PLACE(VirtioPciCapability64, length_high, virtio_pci_cap64, length_hi);

static_assert(sizeof(VirtioPciVendorCapability) == 6);
AT(VirtioPciVendorCapability, id, 0, 1);
AT(VirtioPciVendorCapability, next, 1, 1);
AT(VirtioPciVendorCapability, length, 2, 1);
AT(VirtioPciVendorCapability, type, 3, 1);
AT(VirtioPciVendorCapability, vendor_id, 4, 2);

SAME_SIZE(VirtioPciNotifyCapability, virtio_pci_notify_cap);
SAME_PLACE(VirtioPciNotifyCapability, capability, virtio_pci_notify_cap, cap);
SAME_PLACE(VirtioPciNotifyCapability, multiplier, virtio_pci_notify_cap, notify_off_multiplier);

SAME_SIZE(VirtioPciWindowCapability, virtio_pci_cfg_cap);
SAME_PLACE(VirtioPciWindowCapability, capability, virtio_pci_cfg_cap, cap);
SAME_PLACE(VirtioPciWindowCapability, data, virtio_pci_cfg_cap, pci_cfg_data);

SAME_PLACE(VirtioPciCommonConfig, device_feature_select, virtio_pci_common_cfg,
           device_feature_select);
SAME_PLACE(VirtioPciCommonConfig, device_feature, virtio_pci_common_cfg, device_feature);
SAME_PLACE(VirtioPciCommonConfig, driver_feature_select, virtio_pci_common_cfg,
           guest_feature_select);
SAME_PLACE(VirtioPciCommonConfig, driver_feature, virtio_pci_common_cfg, guest_feature);
SAME_PLACE(VirtioPciCommonConfig, config_msix_vector, virtio_pci_common_cfg, msix_config);
SAME_PLACE(VirtioPciCommonConfig, num_queues, virtio_pci_common_cfg, num_queues);
SAME_PLACE(VirtioPciCommonConfig, device_status, virtio_pci_common_cfg, device_status);
SAME_PLACE(VirtioPciCommonConfig, config_generation, virtio_pci_common_cfg, config_generation);
SAME_PLACE(VirtioPciCommonConfig, queue_select, virtio_pci_common_cfg, queue_select);
SAME_PLACE(VirtioPciCommonConfig, queue_size, virtio_pci_common_cfg, queue_size);
SAME_PLACE(VirtioPciCommonConfig, queue_msix_vector, virtio_pci_common_cfg, queue_msix_vector);
SAME_PLACE(VirtioPciCommonConfig, queue_enable, virtio_pci_common_cfg, queue_enable);
SAME_PLACE(VirtioPciCommonConfig, queue_notify_off, virtio_pci_common_cfg, queue_notify_off);
SAME_PLACE(VirtioPciCommonConfig, queue_desc_low, virtio_pci_common_cfg, queue_desc_lo);
SAME_PLACE(VirtioPciCommonConfig, queue_desc_high, virtio_pci_common_cfg, queue_desc_hi);
SAME_PLACE(VirtioPciCommonConfig, queue_driver_low, virtio_pci_common_cfg, queue_avail_lo);
SAME_PLACE(VirtioPciCommonConfig, queue_driver_high, virtio_pci_common_cfg, queue_avail_hi);
SAME_PLACE(VirtioPciCommonConfig, queue_device_low, virtio_pci_common_cfg, queue_used_lo);
SAME_PLACE(VirtioPciCommonConfig, queue_device_high, virtio_pci_common_cfg, queue_used_hi);
AT(VirtioPciCommonConfig, queue_notify_data, VIRTIO_PCI_COMMON_Q_NDATA, 2);
AT(VirtioPciCommonConfig, queue_reset, VIRTIO_PCI_COMMON_Q_RESET, 2);
static_assert(sizeof(VirtioPciCommonConfig) == VIRTIO_PCI_COMMON_Q_RESET + 2);

}  // namespace
}  // namespace pepita::abi
