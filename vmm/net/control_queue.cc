#include "vmm/net/control_queue.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_net.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/net/frame.h"

namespace pepita::vmm::net {

bool ControlQueue::obey(virtio::Chain& chain) {
    const auto header = chain.read<abi::VirtioNetCtrlHdr>();
    if (!header) {
        return false;
    }
    if (header->command_class == abi::kVirtioNetCtrlMq &&
        header->command == abi::kVirtioNetCtrlMqVqPairsSet) {
        const auto request = chain.read<abi::VirtioNetCtrlMq>();
        return request && commands_.set_pairs(request->virtqueue_pairs);
    }
    if (header->command_class == abi::kVirtioNetCtrlGuestOffloads &&
        header->command == abi::kVirtioNetCtrlGuestOffloadsSet) {
        const auto offloads = chain.read<std::uint64_t>();
        return offloads && commands_.set_offloads(*offloads);
    }
    return false;
}

Moved ControlQueue::serve(Budget& budget) {
    ring_.disable_kicks();
    for (; budget.frames > 0; --budget.frames) {
        std::optional<virtio::Chain> chain = ring_.pop();
        if (chain) {
            const std::byte answer{obey(*chain) ? abi::kVirtioNetOk : abi::kVirtioNetErr};
            const std::size_t written = chain->write(std::span(&answer, 1));
            ring_.complete(*std::move(chain), static_cast<std::uint32_t>(written));
        } else if (!ring_.enable_kicks()) {
            return Moved::All;
        } else {
            ring_.disable_kicks();
        }
    }
    return Moved::TurnOver;
}

}  // namespace pepita::vmm::net
