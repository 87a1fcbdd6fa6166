#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/net/frame.h"

namespace pepita::vmm::net {

/// The driver's commands (virtio 1.2 §5.1.6.5): how many queue pairs it uses, and which offloads.
class ControlQueue {
public:
    /// Both say whether the command was obeyed.
    struct Commands {
        std::move_only_function<bool(std::uint16_t pairs)> set_pairs;
        std::move_only_function<bool(std::uint64_t features)> set_offloads;
    };
    ControlQueue(virtio::Ring ring, Commands commands)
        : ring_(std::move(ring)), commands_(std::move(commands)) {}

    Moved serve(Budget& budget);

    virtio::Ring& ring() { return ring_; }

private:
    bool obey(virtio::Chain& chain);

    virtio::Ring ring_;
    Commands commands_;
};

}  // namespace pepita::vmm::net
