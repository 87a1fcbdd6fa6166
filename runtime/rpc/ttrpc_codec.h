#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime::api {

/// A frame is a header and a message. Source: github.com/containerd/ttrpc PROTOCOL.md.
inline constexpr std::size_t kHeaderSize = 10;
inline constexpr std::size_t kMessageMax = std::size_t{4} << 20U;

enum class MessageType : std::uint8_t { Request = 1, Response = 2 };

struct Header {
    std::uint32_t length = 0;
    std::uint32_t stream = 0;
    MessageType type = MessageType::Request;

    friend bool operator==(const Header&, const Header&) = default;
};

/// Header and message as they go over the wire. `message` has at most kMessageMax bytes.
std::string encode_frame(std::uint32_t stream, MessageType type, std::string_view message);

/// Errors: DataLoss for a length over kMessageMax or another type than unary calls have.
Result<Header> decode_header(std::span<const std::byte, kHeaderSize> bytes);

struct Request {
    std::string service;
    std::string method;
    std::string payload;
    std::int64_t timeout_ns = 0;  // 0: none
    std::uint32_t fd_count = 0;   // descriptors that came with it (metadata "pepita-fds")

    friend bool operator==(const Request&, const Request&) = default;
};

/// Keeps protobuf from writing to standard error, in the whole program: each failure is an Error.
void silence_protobuf();

std::string encode_request(const Request& request);
/// Errors: DataLoss where the bytes are none.
Result<Request> decode_request(std::string_view message);

std::string encode_response(const Result<std::string>& payload);
/// What the peer answered; its error as ours, or DataLoss where the bytes are no answer.
Result<std::string> decode_response(std::string_view message);

}  // namespace pepita::runtime::api
