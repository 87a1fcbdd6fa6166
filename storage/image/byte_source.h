#pragma once

#include <cstddef>
#include <span>

#include "kernel-abi/sys/result.h"

namespace pepita::storage::image {

/// Bytes that come one after the other: from a file, a registry, a decompressor.
class ByteSource {
public:
    ByteSource() = default;
    ByteSource(const ByteSource&) = delete;
    ByteSource& operator=(const ByteSource&) = delete;
    ByteSource(ByteSource&&) = delete;
    ByteSource& operator=(ByteSource&&) = delete;
    virtual ~ByteSource() = default;

    /// Waits for the next bytes, at least one where `into` is not empty; 0 at the end.
    virtual Result<std::size_t> read(std::span<std::byte> into) = 0;
};

/// Fills `into` as far as there are bytes.
Result<std::size_t> read_fully(ByteSource& source, std::span<std::byte> into);

}  // namespace pepita::storage::image
