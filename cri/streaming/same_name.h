#pragma once

#include <algorithm>
#include <string_view>

namespace pepita::cri {

/// Names of headers and protocols compare without regard to the case of ASCII letters.
inline bool same_name(std::string_view one, std::string_view other) {
    const auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    };
    return std::ranges::equal(one, other, {}, lower, lower);
}

}  // namespace pepita::cri
