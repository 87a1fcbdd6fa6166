#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel-abi/uapi/virtio_net.h"

namespace pepita::vmm::net {

/// In front of each frame, to and from the tap as to and from the driver: a driver of virtio 1.0
/// has no other header (virtio 1.2 §5.1.6).
using FrameHeader = abi::VirtioNetHdrV1;
static_assert(sizeof(FrameHeader) == 12);

/// The largest frame that segmentation offload makes, with its header: virtio 1.2 §5.1.6.3.1.
inline constexpr std::size_t kFrameMax = 65562;

/// What became of the frames that a queue was to move.
enum class Moved : std::uint8_t {
    All,       // none is left
    TurnOver,  // more than one turn may move
    NoRoom,    // the driver has to make buffers available
    TapGone,   // and will not come back
};

/// What one turn of the loop may move still.
struct Budget {
    std::size_t frames;
};

}  // namespace pepita::vmm::net
