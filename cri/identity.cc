#include "cri/identity.h"

#include <sys/random.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel-abi/sys/check.h"

namespace pepita::cri {

std::string random_id() {
    constexpr std::size_t bytes = 16;
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<std::uint8_t, bytes> random{};
    CHECK(::getrandom(random.data(), random.size(), 0) == bytes);
    std::string id;
    for (const std::uint8_t byte : random) {
        id += digits[byte >> 4U];
        id += digits[byte & 15U];
    }
    return id;
}

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace pepita::cri
