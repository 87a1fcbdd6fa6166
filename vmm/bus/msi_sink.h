#pragma once

#include <cstdint>

namespace pepita::vmm {

/// Where message-signalled interrupts go: KVM_SIGNAL_MSI, or a test.
class MsiSink {
public:
    MsiSink() = default;
    MsiSink(const MsiSink&) = delete;
    MsiSink& operator=(const MsiSink&) = delete;
    MsiSink(MsiSink&&) = delete;
    MsiSink& operator=(MsiSink&&) = delete;
    virtual ~MsiSink() = default;

    /// Delivers one message. Both numbers are the guest's and mean what they mean to its local
    /// APICs: one that names none of them is lost, as on hardware.
    virtual void send(std::uint64_t address, std::uint32_t data) = 0;
};

}  // namespace pepita::vmm
