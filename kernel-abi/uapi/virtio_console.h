#pragma once

#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

/// The console device.
/// Source: virtio 1.3 §5.3; Linux 7.3 include/uapi/linux/virtio_console.h.
namespace pepita::abi {

// Features.
inline constexpr std::uint64_t kVirtioConsoleFSize = virtio_feature(0);
inline constexpr std::uint64_t kVirtioConsoleFMultiport = virtio_feature(1);
inline constexpr std::uint64_t kVirtioConsoleFEmergWrite = virtio_feature(2);

/// The configuration space.
struct [[gnu::packed]] VirtioConsoleConfig {
    std::uint16_t cols;
    std::uint16_t rows;
    std::uint32_t max_nr_ports;
    std::uint32_t emerg_wr;
};

/// A message on a control queue.
struct VirtioConsoleControl {
    std::uint32_t id;
    std::uint16_t event;
    std::uint16_t value;
};

// The port of a message that is of none.
inline constexpr std::uint32_t kVirtioConsoleBadId = 0xffffffff;

// VirtioConsoleControl::event.
inline constexpr std::uint16_t kVirtioConsoleDeviceReady = 0;
inline constexpr std::uint16_t kVirtioConsolePortAdd = 1;
inline constexpr std::uint16_t kVirtioConsolePortRemove = 2;
inline constexpr std::uint16_t kVirtioConsolePortReady = 3;
inline constexpr std::uint16_t kVirtioConsoleConsolePort = 4;
inline constexpr std::uint16_t kVirtioConsoleResize = 5;
inline constexpr std::uint16_t kVirtioConsolePortOpen = 6;
inline constexpr std::uint16_t kVirtioConsolePortName = 7;

}  // namespace pepita::abi
