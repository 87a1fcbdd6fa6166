#include "compute/transport/frame.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are sent as they are");

constexpr std::size_t kTypeAt = 4;
constexpr std::size_t kFlagsAt = 5;
constexpr std::size_t kZerosAt = 6;
constexpr std::size_t kIdAt = 8;

template <typename T>
T number_at(std::string_view bytes, std::size_t offset) {
    T value{};
    // SAFETY: any bytes are a number.
    CHECK(bytes.copy(reinterpret_cast<char*>(&value), sizeof value, offset) == sizeof value);
    return value;
}

template <typename T>
void append_number(std::string& into, T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    into.append(bytes, sizeof value);
}

Error broken(std::string what) { return {Code::DataLoss, "a frame with " + std::move(what)}; }

}  // namespace

void encode(const Frame& frame, std::string& into) {
    CHECK(frame.payload.size() <= Frame::kPayloadMax);
    append_number(into, static_cast<std::uint32_t>(frame.payload.size()));
    append_number(into, std::to_underlying(frame.type));
    append_number(into, frame.flags);
    append_number(into, std::uint16_t{0});
    append_number(into, frame.id);
    into.append(frame.payload);
}

std::string encode_hello(const Hello& hello) {
    std::string payload;
    append_number(payload, hello.version);
    append_number(payload, hello.credit);
    return payload;
}

Result<Hello> decode_hello(std::string_view payload) {
    if (payload.size() != sizeof(std::uint32_t) * 2) {
        return broken("a hello of " + std::to_string(payload.size()) + " bytes");
    }
    const Hello hello{.version = number_at<std::uint32_t>(payload, 0),
                      .credit = number_at<std::uint32_t>(payload, sizeof(std::uint32_t))};
    if (hello.version != Hello::kVersion) {
        return Error(Code::Unsupported, "the peer speaks version " + std::to_string(hello.version) +
                                            ", not " + std::to_string(Hello::kVersion));
    }
    if (hello.credit > Hello::kCreditMax) {
        return broken("a credit of " + std::to_string(hello.credit));
    }
    return hello;
}

std::string encode_u64(std::uint64_t value) {
    std::string payload;
    append_number(payload, value);
    return payload;
}

std::optional<std::uint64_t> decode_u64(std::string_view payload) {
    if (payload.size() != sizeof(std::uint64_t)) {
        return std::nullopt;
    }
    return number_at<std::uint64_t>(payload, 0);
}

void FrameReader::append(std::span<const std::byte> bytes) {
    bytes_.erase(0, std::exchange(begin_, 0));
    // SAFETY: chars are bytes.
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<std::optional<Frame>> FrameReader::next() {
    const std::string_view rest = std::string_view(bytes_).substr(begin_);
    if (rest.size() < Frame::kHeaderSize) {
        return std::nullopt;
    }
    const auto length = number_at<std::uint32_t>(rest, 0);
    const auto type = number_at<std::uint8_t>(rest, kTypeAt);
    Frame frame{.type = static_cast<FrameType>(type),
                .flags = number_at<std::uint8_t>(rest, kFlagsAt),
                .id = number_at<std::uint64_t>(rest, kIdAt),
                .payload = {}};
    if (length > Frame::kPayloadMax) {
        return broken("a payload of " + std::to_string(length) + " bytes");
    }
    if (type < std::to_underlying(FrameType::Hello) ||
        type > std::to_underlying(FrameType::Heartbeat)) {
        return broken("type " + std::to_string(type));
    }
    const bool may_be_in_file = frame.type == FrameType::Task || frame.type == FrameType::Success;
    if (frame.flags > (may_be_in_file ? Frame::kInFile : 0)) {
        return broken("flags " + std::to_string(frame.flags));
    }
    if (number_at<std::uint16_t>(rest, kZerosAt) != 0) {
        return broken("bytes that must be 0");
    }
    if (rest.size() - Frame::kHeaderSize < length) {
        return std::nullopt;
    }
    frame.payload = rest.substr(Frame::kHeaderSize, length);
    begin_ += Frame::kHeaderSize + length;
    return frame;
}

}  // namespace pepita::compute
