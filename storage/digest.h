#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "kernel-abi/sys/result.h"

namespace pepita::storage {

/// A SHA-256.
struct Digest {
    std::array<std::byte, 32> bytes{};

    /// 64 lower-case hexadecimal digits.
    std::string hex() const;
    friend bool operator==(const Digest&, const Digest&) = default;
};

/// Errors: Internal where the library refuses to work.
Result<Digest> sha256(std::span<const std::byte> content);

}  // namespace pepita::storage
