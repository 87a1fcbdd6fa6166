#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"

namespace pepita::compute {

// What a pool and a remote worker say to each other: frames over a stream socket. The bytes of a
// frame, little-endian: length of the payload u32, type u8, flags u8, two bytes of zeros, id u64;
// then the payload.

enum class FrameType : std::uint8_t {
    Hello = 1,      // first, once: version u32, credit u32
    Task = 2,       // a payload to run; takes one of the receiver's credits
    Success = 3,    // the output of a task; gives its credit back
    Failure = 4,    // code u8 and message of a task; gives its credit back
    Cancel = 5,     // of a task; its result follows all the same
    Heartbeat = 6,  // nothing but that the sender lives
};

struct Frame {
    static constexpr std::size_t kHeaderSize = 16;
    static constexpr std::uint32_t kPayloadMax = 16U << 20U;
    /// The payload is the size u64 of a memory file, whose descriptor came with the header.
    static constexpr std::uint8_t kInFile = 1;

    FrameType type = FrameType::Heartbeat;
    std::uint8_t flags = 0;
    std::uint64_t id = 0;
    std::string payload;
    friend bool operator==(const Frame&, const Frame&) = default;
};

struct Hello {
    static constexpr std::uint32_t kVersion = 1;
    static constexpr std::uint32_t kCreditMax = 1U << 16U;
    std::uint32_t version = kVersion;
    std::uint32_t credit = 0;  // tasks that the sender accepts before it gives a result
};

/// Appends a frame to what is to be sent. The payload has at most kPayloadMax bytes.
void encode(const Frame& frame, std::string& into);

std::string encode_hello(const Hello& hello);
/// Errors: Unsupported for another version, DataLoss for what is none.
Result<Hello> decode_hello(std::string_view payload);

std::string encode_u64(std::uint64_t value);
/// Nothing if it has not 8 bytes.
std::optional<std::uint64_t> decode_u64(std::string_view payload);

/// Cuts a stream into frames. It holds at most one frame that is incomplete, and what came with it.
class FrameReader {
public:
    void append(std::span<const std::byte> bytes);
    /// The next whole frame, or nothing until more comes. Errors: DataLoss for a length above the
    /// limit, an unknown type or flag, and bytes that are not zero; no more can be read then.
    Result<std::optional<Frame>> next();

private:
    std::string bytes_;
    std::size_t begin_ = 0;  // of what next() has not given
};

}  // namespace pepita::compute
