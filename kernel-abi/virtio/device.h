#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "kernel-abi/virtio/vhost_user/inflight.h"

namespace pepita::virtio {

/// virtio 1.2 §5: device types.
enum class DeviceType : std::uint32_t {
    Net = 1,
    Block = 2,
    Entropy = 4,
    Vsock = 19,
    Fs = 26,
};

/// How a device reaches its driver: MSI-X, a vhost-user call descriptor, or a test.
class Notifier {
public:
    Notifier() = default;
    Notifier(const Notifier&) = delete;
    Notifier& operator=(const Notifier&) = delete;
    Notifier(Notifier&&) = delete;
    Notifier& operator=(Notifier&&) = delete;
    virtual ~Notifier() = default;
    virtual void queue_used(std::uint16_t queue) = 0;
    virtual void config_changed() = 0;
    /// The driver broke this queue's ring (Ring::is_broken()); once for each break is enough. The
    /// transport tells the driver that nothing but a reset helps.
    virtual void queue_broken(std::uint16_t queue) { (void)queue; }
};

/// What holds from FEATURES_OK until reset. Both references outlive the session.
struct Session {
    const GuestMemory& memory;
    std::uint64_t features = 0;  // acked by the driver, a subset of what we offered
    Notifier& notifier;
};

/// A queue as its driver configured it: all that it takes to serve the queue, in this process or in
/// another that the device is a front end of. `memory` is the session's.
struct QueueSetup {
    const GuestMemory& memory;
    RingGeometry geometry;
    std::uint64_t features = 0;
    std::optional<InflightQueue> inflight;

    /// Errors: Ring::open()'s.
    Result<Ring> open() const { return Ring::open(memory, geometry, features, inflight); }
};

/// One virtio device, whatever carries it. It knows rings and nothing of transports.
///
/// Thread: all calls come from the thread of the device's event loop.
/// Order: start(), then start_queue() and kick() for each queue the driver uses, reset().
class Device {
public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    Device(Device&&) = delete;
    Device& operator=(Device&&) = delete;
    virtual ~Device() = default;

    virtual DeviceType type() const = 0;

    /// Offered bits, without those of the transport: a transport adds VIRTIO_F_VERSION_1, and the
    /// ring's VIRTIO_F_EVENT_IDX and VIRTIO_F_INDIRECT_DESC.
    virtual std::uint64_t features() const = 0;

    /// The largest size of each queue; as many entries as queues.
    virtual std::span<const std::uint16_t> queue_sizes() const = 0;

    /// The device-specific configuration as the driver reads it, little-endian.
    virtual std::span<const std::byte> config() const = 0;

    /// The driver wrote to the configuration. Most devices have nothing to write.
    virtual void write_config(std::uint32_t offset, std::span<const std::byte> bytes) {
        (void)offset;
        (void)bytes;
    }

    virtual void start(const Session& session) = 0;

    /// Takes the queue into use and serves what is already in it. Returns how many requests of a
    /// killed predecessor are served again (Ring::inherited()). Errors: QueueSetup::open()'s; the
    /// queue is not started then.
    virtual Result<std::size_t> start_queue(std::uint16_t queue, const QueueSetup& setup) = 0;

    /// Waits for what is in flight in this queue, gives its ring up, and says where a successor has
    /// to begin (RingGeometry::next). A queue that was not started gives 0.
    virtual std::uint16_t stop_queue(std::uint16_t queue) = 0;

    /// The driver made buffers available in `queue`. Ignored where the queue is not started.
    virtual void kick(std::uint16_t queue) = 0;

    /// Ends the session: all queues stopped, nothing touches guest memory after this.
    virtual void reset() = 0;
};

}  // namespace pepita::virtio
