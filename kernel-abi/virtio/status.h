#pragma once

#include <cstdint>

namespace pepita::virtio {

/// The one negotiation between driver and device (virtio 1.2 §2.1, §2.2, §3.1), for any transport:
/// which steps the driver may take when, and which features hold.
class Status {
public:
    /// What a write to the status register asks the transport to do.
    enum class Step : std::uint8_t {
        None,     // nothing, or a step out of order: the register tells the driver
        Started,  // DRIVER_OK: take the queues into use
        Reset,    // stop everything, then finish_reset(); until then the status stays
    };

    /// `offered` are the device's and the ring's features; VIRTIO_F_VERSION_1 comes on top, and a
    /// driver that does not accept it is refused.
    explicit Status(std::uint64_t offered);

    std::uint8_t value() const { return bits_; }
    Step write(std::uint8_t value);
    void finish_reset();

    /// 32 of the offered features; select 0 gives the low ones, 1 the high ones, others none.
    std::uint32_t offered(std::uint32_t select) const;

    /// The driver's choice, 32 bits at a time. Heard between DRIVER and FEATURES_OK alone: later it
    /// would change the rules for rings that are in use (Firecracker's #5818).
    void accept(std::uint32_t select, std::uint32_t features);
    std::uint32_t accepted(std::uint32_t select) const;

    /// The agreed features. They mean nothing before has_features().
    std::uint64_t features() const { return accepted_; }
    bool has_driver() const;
    bool has_features() const;
    /// DRIVER_OK was set, whatever happened since.
    bool has_started() const;
    /// Between DRIVER_OK and a reset, and nothing broke.
    bool is_running() const;

    /// The device cannot go on; only a reset helps.
    void set_needs_reset();

    /// Changes whenever the device-specific configuration does, so that a driver that reads it in
    /// pieces sees that they belong together.
    std::uint8_t generation() const { return generation_; }
    void config_changed() { ++generation_; }

private:
    bool has(std::uint8_t bits) const { return (bits_ & bits) == bits; }
    void settle_features();

    std::uint64_t offered_;
    std::uint64_t accepted_ = 0;
    std::uint8_t bits_ = 0;
    std::uint8_t generation_ = 0;
};

}  // namespace pepita::virtio
