#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/virtio/device.h"
#include "test/support/driver.h"

namespace pepita::test {

/// A device behind a transport, as its driver reaches it. What a suite says by this face has to
/// hold for each transport alike.
class Carrier {
public:
    Carrier() = default;
    Carrier(const Carrier&) = delete;
    Carrier& operator=(const Carrier&) = delete;
    Carrier(Carrier&&) = delete;
    Carrier& operator=(Carrier&&) = delete;
    virtual ~Carrier() = default;

    virtual std::uint64_t offered() = 0;
    virtual std::vector<std::byte> config(std::size_t size) = 0;

    /// Negotiates `features`, puts queue 0 where `queue` says, and starts.
    virtual void start(std::uint64_t features, const QueueDriver& queue) = 0;

    /// A kick of queue 0, and time for the device to act on it.
    virtual void notify() = 0;
    /// Time for the device, without a kick.
    virtual void run() = 0;
    /// How many interrupts of queue 0 came since the last call.
    virtual std::uint64_t take_interrupts() = 0;
    /// Whether the transport says that queue 0 is broken.
    virtual bool is_broken() = 0;

    /// Makes the device let go of its queue, as a driver does before it frees it.
    virtual void stop() = 0;
};

/// All of it is borrowed.
struct Carried {
    EventLoop& loop;
    GuestRam& ram;
    virtio::Device& device;
};

/// The transports that a suite runs over.
std::unique_ptr<Carrier> carry_by_pci(const Carried& carried);
std::unique_ptr<Carrier> carry_by_vhost_user(const Carried& carried);

}  // namespace pepita::test
