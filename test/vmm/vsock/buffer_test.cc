#include "vmm/vsock/buffer.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <vector>

#include "vmm/vsock/connection.h"

namespace pepita::vmm::vsock {
namespace {

std::vector<std::byte> all_of(const Buffer& buffer) {
    std::vector<std::byte> bytes;
    for (const std::span<std::byte> piece : buffer.contents()) {
        bytes.insert(bytes.end(), piece.begin(), piece.end());
    }
    return bytes;
}

std::vector<std::byte> run_of(std::size_t size, std::size_t first) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::byte>((first + i) % 251);
    }
    return bytes;
}

TEST(VsockBuffer, HoldsAllThatTheCreditAllows) {
    Buffer buffer;
    const std::vector<std::byte> bytes = run_of(kBufferSize, 0);
    buffer.append(bytes);
    EXPECT_EQ(all_of(buffer), bytes);
}

TEST(VsockBuffer, KeepsTheOrderAcrossItsEnd) {
    Buffer buffer;
    buffer.append(run_of(kBufferSize - 10, 0));
    buffer.pop(kBufferSize - 20);
    buffer.append(run_of(100, 5));
    std::vector<std::byte> expected = run_of(kBufferSize - 10, 0);
    expected.erase(expected.begin(), expected.end() - 10);
    const std::vector<std::byte> added = run_of(100, 5);
    expected.insert(expected.end(), added.begin(), added.end());
    EXPECT_EQ(all_of(buffer), expected);
}

TEST(VsockBuffer, IsEmptyAfterClear) {
    Buffer buffer;
    buffer.append(run_of(3, 0));
    buffer.clear();
    EXPECT_TRUE(buffer.empty());
    EXPECT_TRUE(all_of(buffer).empty());
}

}  // namespace
}  // namespace pepita::vmm::vsock
