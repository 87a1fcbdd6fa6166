#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::virtio {

/// One buffer chain of a virtqueue: first what the driver wrote for us, then room for our answer.
/// Move-only; it goes back through Ring::complete(), exactly once. Both parts have a cursor.
class Chain {
public:
    using Segment = std::span<std::byte>;

    /// Made by Ring::pop() alone (and by tests): every segment lies in guest RAM.
    Chain(std::uint16_t head, std::vector<Segment> readable, std::vector<Segment> writable);
    Chain(Chain&&) noexcept = default;
    Chain& operator=(Chain&&) noexcept = default;
    Chain(const Chain&) = delete;
    Chain& operator=(const Chain&) = delete;
    ~Chain() = default;

    std::uint16_t head() const { return head_; }
    std::size_t readable() const { return readable_left_; }
    std::size_t writable() const { return writable_left_; }

    /// Copies bytes out of the readable part and moves its cursor. Gives the count, short at the
    /// end of the part.
    std::size_t read(std::span<std::byte> into);

    /// A copy of the next T. Errors: OutOfRange where less is left; the cursor stays.
    template <typename T>
    Result<T> read() {
        static_assert(std::is_trivially_copyable_v<T>);
        if (readable_left_ < sizeof(T)) {
            return Error(Code::OutOfRange, "chain is shorter than its request");
        }
        T value;
        (void)read(std::as_writable_bytes(std::span(&value, 1)));
        return value;
    }

    /// Copies bytes into the writable part and moves its cursor. Gives the count.
    std::size_t write(std::span<const std::byte> from);

    /// The next `length` bytes of a part as segments of guest RAM, for I/O on payload that is never
    /// interpreted. The cursor moves. Gives fewer bytes where fewer are left.
    std::vector<Segment> take_readable(std::size_t length);
    std::vector<Segment> take_writable(std::size_t length);
    /// The same, behind what `into` has: for who takes many and has room for them already.
    void take_readable(std::size_t length, std::vector<Segment>& into);
    void take_writable(std::size_t length, std::vector<Segment>& into);

    /// Moves the cursor of the writable part; to its end where less is left.
    void skip_writable(std::size_t length);

    /// What a chain is made of, for the next one: how the vectors are filled means nothing.
    struct Memory {
        std::vector<Segment> readable;
        std::vector<Segment> writable;
    };
    Memory take_apart() && {
        return {.readable = std::move(readable_), .writable = std::move(writable_)};
    }

private:
    std::uint16_t head_;
    std::vector<Segment> readable_;
    std::vector<Segment> writable_;
    std::size_t readable_left_ = 0;
    std::size_t writable_left_ = 0;
    std::size_t readable_index_ = 0;
    std::size_t writable_index_ = 0;
};

}  // namespace pepita::virtio
