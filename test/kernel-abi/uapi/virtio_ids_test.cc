#include "kernel-abi/uapi/virtio_ids.h"

#include <cstddef>

#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtioIdNet == VIRTIO_ID_NET);
static_assert(kVirtioIdBlock == VIRTIO_ID_BLOCK);
static_assert(kVirtioIdConsole == VIRTIO_ID_CONSOLE);
static_assert(kVirtioIdRng == VIRTIO_ID_RNG);
static_assert(kVirtioIdBalloon == VIRTIO_ID_BALLOON);
static_assert(kVirtioIdIomem == VIRTIO_ID_IOMEM);
static_assert(kVirtioIdRpmsg == VIRTIO_ID_RPMSG);
static_assert(kVirtioIdScsi == VIRTIO_ID_SCSI);
static_assert(kVirtioId9p == VIRTIO_ID_9P);
static_assert(kVirtioIdMac80211Wlan == VIRTIO_ID_MAC80211_WLAN);
static_assert(kVirtioIdRprocSerial == VIRTIO_ID_RPROC_SERIAL);
static_assert(kVirtioIdCaif == VIRTIO_ID_CAIF);
static_assert(kVirtioIdMemoryBalloon == VIRTIO_ID_MEMORY_BALLOON);
static_assert(kVirtioIdGpu == VIRTIO_ID_GPU);
static_assert(kVirtioIdClock == VIRTIO_ID_CLOCK);
static_assert(kVirtioIdInput == VIRTIO_ID_INPUT);
static_assert(kVirtioIdVsock == VIRTIO_ID_VSOCK);
static_assert(kVirtioIdCrypto == VIRTIO_ID_CRYPTO);
static_assert(kVirtioIdSignalDist == VIRTIO_ID_SIGNAL_DIST);
static_assert(kVirtioIdPstore == VIRTIO_ID_PSTORE);
static_assert(kVirtioIdIommu == VIRTIO_ID_IOMMU);
static_assert(kVirtioIdMem == VIRTIO_ID_MEM);
static_assert(kVirtioIdSound == VIRTIO_ID_SOUND);
static_assert(kVirtioIdFs == VIRTIO_ID_FS);
static_assert(kVirtioIdPmem == VIRTIO_ID_PMEM);
static_assert(kVirtioIdRpmb == VIRTIO_ID_RPMB);
static_assert(kVirtioIdMac80211Hwsim == VIRTIO_ID_MAC80211_HWSIM);
static_assert(kVirtioIdVideoEncoder == VIRTIO_ID_VIDEO_ENCODER);
static_assert(kVirtioIdVideoDecoder == VIRTIO_ID_VIDEO_DECODER);
static_assert(kVirtioIdScmi == VIRTIO_ID_SCMI);
static_assert(kVirtioIdNitroSecMod == VIRTIO_ID_NITRO_SEC_MOD);
static_assert(kVirtioIdI2cAdapter == VIRTIO_ID_I2C_ADAPTER);
static_assert(kVirtioIdWatchdog == VIRTIO_ID_WATCHDOG);
static_assert(kVirtioIdCan == VIRTIO_ID_CAN);
static_assert(kVirtioIdDmabuf == VIRTIO_ID_DMABUF);
static_assert(kVirtioIdParamServ == VIRTIO_ID_PARAM_SERV);
static_assert(kVirtioIdAudioPolicy == VIRTIO_ID_AUDIO_POLICY);
static_assert(kVirtioIdBt == VIRTIO_ID_BT);
static_assert(kVirtioIdGpio == VIRTIO_ID_GPIO);
static_assert(kVirtioIdSpi == VIRTIO_ID_SPI);
static_assert(kVirtioIdMedia == VIRTIO_ID_MEDIA);
static_assert(kVirtioTransIdNet == VIRTIO_TRANS_ID_NET);
static_assert(kVirtioTransIdBlock == VIRTIO_TRANS_ID_BLOCK);
static_assert(kVirtioTransIdBalloon == VIRTIO_TRANS_ID_BALLOON);
static_assert(kVirtioTransIdConsole == VIRTIO_TRANS_ID_CONSOLE);
static_assert(kVirtioTransIdScsi == VIRTIO_TRANS_ID_SCSI);
static_assert(kVirtioTransIdRng == VIRTIO_TRANS_ID_RNG);
static_assert(kVirtioTransId9p == VIRTIO_TRANS_ID_9P);

}  // namespace
}  // namespace pepita::abi
