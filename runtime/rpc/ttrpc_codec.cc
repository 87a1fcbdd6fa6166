#include "runtime/rpc/ttrpc_codec.h"

#include <google/protobuf/stubs/logging.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/rpc/ttrpc.pb.h"

namespace pepita::runtime::api {
namespace {

constexpr std::string_view kFdsKey = "pepita-fds";
constexpr int kCodeFirst = static_cast<int>(Code::Cancelled);
constexpr int kCodeLast = static_cast<int>(Code::DataLoss);
constexpr int kCodeUnknown = 2;  // gRPC's, which our own code never gives

void put_u32(std::string& to, std::uint32_t value) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
        to += static_cast<char>(value >> shift & 0xffU);
    }
}

std::uint32_t get_u32(std::span<const std::byte> from) {
    std::uint32_t value = 0;
    for (const std::byte byte : from.first(4)) {
        value = value << 8U | std::to_integer<std::uint32_t>(byte);
    }
    return value;
}

Code code_of(int number) {
    const bool is_known = number >= kCodeFirst && number <= kCodeLast && number != kCodeUnknown;
    return is_known ? static_cast<Code>(number) : Code::Internal;
}

}  // namespace

std::string encode_frame(std::uint32_t stream, MessageType type, std::string_view message) {
    CHECK(message.size() <= kMessageMax);
    std::string frame;
    frame.reserve(kHeaderSize + message.size());
    put_u32(frame, static_cast<std::uint32_t>(message.size()));
    put_u32(frame, stream);
    frame += static_cast<char>(type);
    frame += '\0';  // flags: unary calls have none
    frame += message;
    return frame;
}

Result<Header> decode_header(std::span<const std::byte, kHeaderSize> bytes) {
    const Header header{.length = get_u32(bytes),
                        .stream = get_u32(bytes.subspan(4)),
                        .type = static_cast<MessageType>(bytes[8])};
    if (header.length > kMessageMax) {
        return Error(Code::DataLoss, "a message of " + std::to_string(header.length) +
                                         " B is longer than ttrpc allows");
    }
    if (header.type != MessageType::Request && header.type != MessageType::Response) {
        return Error(Code::DataLoss, "message type " +
                                         std::to_string(std::to_underlying(header.type)) +
                                         " is none of a unary call");
    }
    return header;
}

void silence_protobuf() { google::protobuf::SetLogHandler(nullptr); }

std::string encode_request(const Request& request) {
    ttrpc::Request message;
    message.set_service(request.service);
    message.set_method(request.method);
    message.set_payload(request.payload);
    message.set_timeout_nano(request.timeout_ns);
    if (request.fd_count > 0) {
        ttrpc::KeyValue* entry = message.add_metadata();
        entry->set_key(std::string(kFdsKey));
        entry->set_value(std::to_string(request.fd_count));
    }
    return message.SerializeAsString();
}

Result<Request> decode_request(std::string_view bytes) {
    ttrpc::Request message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return Error(Code::DataLoss, "a request that cannot be read");
    }
    Request request{.service = std::move(*message.mutable_service()),
                    .method = std::move(*message.mutable_method()),
                    .payload = std::move(*message.mutable_payload()),
                    .timeout_ns = message.timeout_nano(),
                    .fd_count = 0};
    for (const ttrpc::KeyValue& entry : message.metadata()) {
        if (entry.key() == kFdsKey) {
            const std::string& text = entry.value();
            const auto [end, error] =
                std::from_chars(text.data(), text.data() + text.size(), request.fd_count);
            if (error != std::errc() || end != text.data() + text.size()) {
                return Error(Code::DataLoss, "a request with a wrong count of descriptors");
            }
        }
    }
    return request;
}

std::string encode_response(const Result<std::string>& payload) {
    ttrpc::Response message;
    if (payload) {
        message.set_payload(*payload);
    } else {
        message.mutable_status()->set_code(std::to_underlying(payload.error().code()));
        message.mutable_status()->set_message(printable(payload.error().message()));
    }
    return message.SerializeAsString();
}

Result<std::string> decode_response(std::string_view bytes) {
    ttrpc::Response message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return Error(Code::DataLoss, "a response that cannot be read");
    }
    if (message.has_status() && message.status().code() != 0) {
        return Error(code_of(message.status().code()), message.status().message());
    }
    return std::move(*message.mutable_payload());
}

}  // namespace pepita::runtime::api
