#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "kernel-abi/sys/result.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/address_map.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {

/// The ports by which a guest ends: ACPI's sleep and reset registers, the i8042's reset line, and
/// the panic device. Everything else about an i8042 is absent: its status reads 0.
/// A write that ends the guest is the device loop's; the ports have no other state.
class EndPorts {
public:
    using OnEnd = std::move_only_function<void(ExitReason)>;

    explicit EndPorts(OnEnd on_end) : on_end_(std::move(on_end)) {}

    /// Borrowed by `ports` for its life.
    Result<void> attach(AddressMap& ports);

private:
    /// One port, one byte.
    class Port final : public BusTarget {
    public:
        Port(EndPorts& owner, std::uint16_t number) : owner_(owner), number_(number) {}
        void read(std::uint64_t offset, std::span<std::byte> into) override;
        Written write(std::uint64_t offset, std::span<const std::byte> from) override;
        void write_on_loop(std::uint64_t offset, std::span<const std::byte> from) override;
        std::uint16_t number() const { return number_; }

    private:
        EndPorts& owner_;
        std::uint16_t number_;
    };

    OnEnd on_end_;
    Port keyboard_{*this, layout::kKeyboardPort};
    Port panic_{*this, layout::kPanicPort};
    Port sleep_control_{*this, layout::kSleepControlPort};
    Port sleep_status_{*this, layout::kSleepStatusPort};
    Port reset_{*this, layout::kResetPort};
};

}  // namespace pepita::vmm
