#include "vmm/vsock/buffer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "kernel-abi/sys/check.h"
#include "vmm/vsock/connection.h"

namespace pepita::vmm::vsock {

void Buffer::append(std::span<const std::byte> bytes) {
    CHECK(bytes.size() <= kBufferSize - size_);
    if (bytes.empty()) {
        return;
    }
    if (!bytes_) {
        bytes_ = std::make_unique_for_overwrite<std::byte[]>(kBufferSize);
    }
    const std::span<std::byte> all(bytes_.get(), kBufferSize);
    const std::size_t end = (begin_ + size_) % kBufferSize;
    const std::size_t straight = std::min(bytes.size(), kBufferSize - end);
    std::ranges::copy(bytes.first(straight), all.subspan(end).begin());
    std::ranges::copy(bytes.subspan(straight), all.begin());
    size_ += bytes.size();
}

std::array<std::span<std::byte>, 2> Buffer::contents() const {
    if (size_ == 0) {
        return {};
    }
    const std::span<std::byte> all(bytes_.get(), kBufferSize);
    const std::size_t straight = std::min(size_, kBufferSize - begin_);
    return {all.subspan(begin_, straight), all.first(size_ - straight)};
}

void Buffer::pop(std::size_t count) {
    CHECK(count <= size_);
    size_ -= count;
    begin_ = size_ == 0 ? 0 : (begin_ + count) % kBufferSize;
}

void Buffer::clear() {
    bytes_.reset();
    begin_ = 0;
    size_ = 0;
}

}  // namespace pepita::vmm::vsock
