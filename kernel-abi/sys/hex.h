#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <string>

namespace pepita {

/// "0x1f": addresses and bit fields in messages.
inline std::string hex(std::uint64_t value) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.begin(), digits.end(), value, 16);
    return "0x" + std::string(digits.begin(), end.ptr);
}

}  // namespace pepita
