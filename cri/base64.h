#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pepita::cri {

inline constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 §4, padded.
inline std::string to_base64(std::span<const std::byte> bytes) {
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
        std::uint32_t group = 0;
        for (std::size_t index = 0; index < 3; ++index) {
            const std::byte next = index < count ? bytes[at + index] : std::byte{0};
            group = group << 8U | std::to_integer<std::uint32_t>(next);
        }
        for (std::size_t index = 0; index < 4; ++index) {
            text.push_back(index <= count ? kBase64Digits[group >> (18 - 6 * index) & 0x3fU] : '=');
        }
    }
    return text;
}

/// Nothing for what is no padded base64.
inline std::optional<std::string> from_base64(std::string_view text) {
    if (text.size() % 4 != 0) {
        return std::nullopt;
    }
    const std::size_t size = std::min(text.find('='), text.size());
    if (text.size() - size > 2 || text.find_first_not_of('=', size) != std::string_view::npos) {
        return std::nullopt;
    }
    std::string bytes;
    std::uint32_t group = 0;
    for (std::size_t at = 0; at < size; ++at) {
        const std::size_t digit = kBase64Digits.find(text[at]);
        if (digit == std::string_view::npos) {
            return std::nullopt;
        }
        group = group << 6U | static_cast<std::uint32_t>(digit);
        if (at % 4 > 0) {  // bits 6, 4, 2 stay for the next byte
            const unsigned left = 6 - 2 * static_cast<unsigned>(at % 4);
            bytes.push_back(static_cast<char>(group >> left & 0xffU));
        }
    }
    return bytes;
}

}  // namespace pepita::cri
