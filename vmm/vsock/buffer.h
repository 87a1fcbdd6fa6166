#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

namespace pepita::vmm::vsock {

/// Bytes of the guest's that a client has not taken yet: a ring of kBufferSize, which is as much as
/// the guest's credit lets it send. Its memory comes with the first byte, as most clients read as
/// fast as the guest writes.
class Buffer {
public:
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    /// `bytes` fit: the credit was checked before.
    void append(std::span<const std::byte> bytes);

    /// All of it, oldest first, in two pieces.
    std::array<std::span<std::byte>, 2> contents() const;

    void pop(std::size_t count);

    /// Empties it and gives its memory back.
    void clear();

private:
    std::unique_ptr<std::byte[]> bytes_;  // NOLINT(modernize-avoid-c-arrays): left uninitialised.
    std::size_t begin_ = 0;
    std::size_t size_ = 0;
};

}  // namespace pepita::vmm::vsock
