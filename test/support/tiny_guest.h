#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "kernel-abi/sys/fd.h"

namespace pepita::vmm::tiny {

/// Guests of a few instructions, in the 32-bit mode of a PVH entry. Only what an interpreted kernel
/// mode (PVM) can do, too.
struct Code {
    std::vector<std::uint8_t> bytes;

    /// One after the other.
    friend Code operator+(Code first, const Code& second) {
        first.bytes.insert(first.bytes.end(), second.bytes.begin(), second.bytes.end());
        return first;
    }
};

inline constexpr std::uint32_t kLoadAddress = 0x100000;

Code write_port(std::uint16_t port, std::uint8_t value);
Code power_off();
Code reset();
Code keyboard_reset();
Code panic();
Code halt();
/// No interrupt table there is: a fault, a double fault, a triple fault.
Code triple_fault();
/// `then` where the 32-bit word at `address` is `value`, else on to what follows.
Code if_equal(std::uint32_t address, std::uint32_t value, const Code& then);
/// `body` for ever, unless it jumps or ends the machine.
Code repeat(const Code& body);
Code store(std::uint32_t address, std::uint32_t value);

/// An ELF kernel in a memfd that is nothing but `code`, entered at its first instruction.
Fd kernel(const Code& code);
std::vector<std::byte> kernel_bytes(const Code& code);
Fd file_of(std::span<const std::byte> bytes);

}  // namespace pepita::vmm::tiny
