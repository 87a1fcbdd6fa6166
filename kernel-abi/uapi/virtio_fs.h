#pragma once

#include <array>
#include <cstdint>

/// The file system device: FUSE over virtqueues.
/// Source: virtio 1.3 §5.11; Linux 7.3 include/uapi/linux/virtio_fs.h.
namespace pepita::abi {

/// The configuration space. The tag is UTF-8, with zeros at its end where it is shorter.
struct [[gnu::packed]] VirtioFsConfig {
    std::array<std::uint8_t, 36> tag;
    std::uint32_t num_request_queues;
};

// The shared memory that is the DAX window.
inline constexpr std::uint8_t kVirtioFsShmcapIdCache = 0;

}  // namespace pepita::abi
