#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"

namespace pepita::storage {

/// A SHA-256.
struct Digest {
    std::array<std::byte, 32> bytes{};

    /// 64 lower-case hexadecimal digits.
    std::string hex() const;
    /// As OCI writes it: "sha256:" and hex().
    std::string text() const { return "sha256:" + hex(); }
    friend auto operator<=>(const Digest&, const Digest&) = default;
};

/// From its hex() or its text(). Errors: InvalidArgument; Unsupported for another algorithm.
Result<Digest> parse_digest(std::string_view text);

/// Errors: Internal where the library refuses to work.
Result<Digest> sha256(std::span<const std::byte> content);

}  // namespace pepita::storage
