#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pepita::compute::detail {

/// Memory as an address and a length, for comparisons only.
struct Extent {
    const void* data;
    std::size_t size;
};
inline bool do_overlap(Extent a, Extent b) {
    // SAFETY: compared as numbers, because the operands may be parts of different objects.
    const auto first = reinterpret_cast<std::uintptr_t>(a.data);
    const auto second = reinterpret_cast<std::uintptr_t>(b.data);
    return first < second + b.size && second < first + a.size;
}

inline std::string named(std::string_view operation, std::string_view operand) {
    return std::string(operation) + ": '" + std::string(operand) + "'";
}

}  // namespace pepita::compute::detail
