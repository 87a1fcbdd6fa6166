#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/vsock/client.h"
#include "vmm/vsock/connection.h"
#include "vmm/vsock/packet.h"

namespace pepita::vmm::vsock {

/// Puts packets into the driver's receive buffers, for one turn of work. The ring is borrowed for
/// that turn.
class RxWriter {
public:
    /// A turn uses at most `budget` buffers: a driver that hands them back as fast as we fill them
    /// must not keep us from everything else.
    RxWriter(virtio::Ring& ring, std::uint64_t guest_cid, std::size_t budget);

    /// The next buffer. None where the driver has none left, and its next one makes a kick; or
    /// where the budget is used up.
    std::optional<virtio::Chain> take();

    /// Gives a buffer to the driver with a packet that has no payload.
    void write(virtio::Chain chain, const Packet& packet);

    /// Reads `length` bytes, or fewer, from the client straight into at most `buffers` of the
    /// driver's. The client has them, and the guest has credit for them. Gives the count.
    std::size_t move(Client& client, Connection& connection, std::size_t length,
                     std::size_t buffers);

    bool has_budget() const { return budget_ > 0; }
    /// The driver has no buffer for us.
    bool is_dry() const { return dry_; }

private:
    virtio::Ring& ring_;
    std::uint64_t guest_cid_;
    std::size_t budget_;
    bool dry_ = false;
};

}  // namespace pepita::vmm::vsock
