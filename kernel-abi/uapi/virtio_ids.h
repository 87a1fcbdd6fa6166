#pragma once

#include <cstdint>

/// Device types.
/// A comment behind a name gives the Linux that brought it; a name without one is in Linux 6.1.
/// Source: virtio 1.3 §5; Linux 7.3 include/uapi/linux/virtio_ids.h.
namespace pepita::abi {

inline constexpr std::uint32_t kVirtioIdNet = 1;
inline constexpr std::uint32_t kVirtioIdBlock = 2;
inline constexpr std::uint32_t kVirtioIdConsole = 3;
inline constexpr std::uint32_t kVirtioIdRng = 4;
inline constexpr std::uint32_t kVirtioIdBalloon = 5;
inline constexpr std::uint32_t kVirtioIdIomem = 6;
inline constexpr std::uint32_t kVirtioIdRpmsg = 7;
inline constexpr std::uint32_t kVirtioIdScsi = 8;
inline constexpr std::uint32_t kVirtioId9p = 9;
inline constexpr std::uint32_t kVirtioIdMac80211Wlan = 10;
inline constexpr std::uint32_t kVirtioIdRprocSerial = 11;
inline constexpr std::uint32_t kVirtioIdCaif = 12;
inline constexpr std::uint32_t kVirtioIdMemoryBalloon = 13;
inline constexpr std::uint32_t kVirtioIdGpu = 16;
inline constexpr std::uint32_t kVirtioIdClock = 17;
inline constexpr std::uint32_t kVirtioIdInput = 18;
inline constexpr std::uint32_t kVirtioIdVsock = 19;
inline constexpr std::uint32_t kVirtioIdCrypto = 20;
inline constexpr std::uint32_t kVirtioIdSignalDist = 21;
inline constexpr std::uint32_t kVirtioIdPstore = 22;
inline constexpr std::uint32_t kVirtioIdIommu = 23;
inline constexpr std::uint32_t kVirtioIdMem = 24;
inline constexpr std::uint32_t kVirtioIdSound = 25;
inline constexpr std::uint32_t kVirtioIdFs = 26;
inline constexpr std::uint32_t kVirtioIdPmem = 27;
inline constexpr std::uint32_t kVirtioIdRpmb = 28;
inline constexpr std::uint32_t kVirtioIdMac80211Hwsim = 29;
inline constexpr std::uint32_t kVirtioIdVideoEncoder = 30;
inline constexpr std::uint32_t kVirtioIdVideoDecoder = 31;
inline constexpr std::uint32_t kVirtioIdScmi = 32;
inline constexpr std::uint32_t kVirtioIdNitroSecMod = 33;
inline constexpr std::uint32_t kVirtioIdI2cAdapter = 34;
inline constexpr std::uint32_t kVirtioIdWatchdog = 35;
inline constexpr std::uint32_t kVirtioIdCan = 36;
inline constexpr std::uint32_t kVirtioIdDmabuf = 37;
inline constexpr std::uint32_t kVirtioIdParamServ = 38;
inline constexpr std::uint32_t kVirtioIdAudioPolicy = 39;
inline constexpr std::uint32_t kVirtioIdBt = 40;
inline constexpr std::uint32_t kVirtioIdGpio = 41;
inline constexpr std::uint32_t kVirtioIdSpi = 45;    // 6.18
inline constexpr std::uint32_t kVirtioIdMedia = 48;  // 7.3

// PCI device ids of those before virtio 1.0.
inline constexpr std::uint16_t kVirtioTransIdNet = 0x1000;
inline constexpr std::uint16_t kVirtioTransIdBlock = 0x1001;
inline constexpr std::uint16_t kVirtioTransIdBalloon = 0x1002;
inline constexpr std::uint16_t kVirtioTransIdConsole = 0x1003;
inline constexpr std::uint16_t kVirtioTransIdScsi = 0x1004;
inline constexpr std::uint16_t kVirtioTransIdRng = 0x1005;
inline constexpr std::uint16_t kVirtioTransId9p = 0x1009;

}  // namespace pepita::abi
