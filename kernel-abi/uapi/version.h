#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

namespace pepita::abi {

/// A version of Linux: which one brought a thing.
struct Version {
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    friend constexpr auto operator<=>(const Version&, const Version&) = default;
};

constexpr Version linux_version(std::uint32_t major, std::uint32_t minor) {
    return {.major = major, .minor = minor};
}

/// A value that Linux names.
struct Symbol {
    std::string_view linux_name;
    std::uint64_t value;
    Version since;
};

}  // namespace pepita::abi
