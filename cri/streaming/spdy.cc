#include "cri/streaming/spdy.h"

#include <strings.h>
#include <zconf.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cri/streaming/framing.h"
#include "cri/streaming/same_name.h"
#include "cri/streaming/spdy_dictionary.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

// draft-mbelshe-httpbis-spdy-00 §2.6
constexpr std::uint16_t kVersion = 3;
constexpr std::uint16_t kSynStream = 1;
constexpr std::uint16_t kSynReply = 2;
constexpr std::uint16_t kRstStream = 3;
constexpr std::uint16_t kPing = 6;
constexpr std::uint16_t kGoAway = 7;
constexpr std::uint8_t kFlagFin = 1;
constexpr std::uint32_t kRefusedStream = 3;
constexpr std::uint32_t kCancel = 5;
constexpr std::uint32_t kStreamIdMask = 0x7fff'ffff;
constexpr std::size_t kSynStreamHead = 10;  // stream, associated stream, priority, slot
constexpr std::size_t kDataSizeMax = std::size_t{64} * 1024;

// SAFETY: bytes of a socket are text to std::string, and unsigned char to zlib.
std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint32_t big_endian(std::span<const std::byte> bytes) {
    std::uint32_t value = 0;
    for (const std::byte byte : bytes) {
        value = value << 8U | std::to_integer<std::uint32_t>(byte);
    }
    return value;
}

void put32(std::string& out, std::uint32_t value) {
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
        out.push_back(static_cast<char>(value >> shift & 0xffU));
    }
}

std::string dictionary() {
    std::string all;
    for (const std::string_view word : kSpdyDictionaryWords) {
        put32(all, static_cast<std::uint32_t>(word.size()));
        all.append(word);
    }
    return all.append(kSpdyDictionaryText);
}

// SAFETY: zlib reads through this pointer and never writes, though its type says otherwise.
Bytef* zlib_bytes(std::string_view text) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): zlib's type, see above
    return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
}

Error protocol_error(std::string_view what) {
    return {Code::InvalidArgument, "spdy: " + std::string(what)};
}

// A length-prefixed string from the front of `rest`.
Result<std::string> take_text(std::span<const std::byte>& rest) {
    if (rest.size() < 4 || big_endian(rest.first(4)) > rest.size() - 4) {
        return protocol_error("header block ends within a header");
    }
    const std::size_t size = big_endian(rest.first(4));
    std::string text(as_text(rest.subspan(4, size)));
    rest = rest.subspan(4 + size);
    return text;
}

Result<StreamHeaders> parse_headers(std::span<const std::byte> block) {
    if (block.size() < 4) {
        return protocol_error("header block without a count");
    }
    const std::uint32_t count = big_endian(block.first(4));
    if (count > SpdyHeaderCodec::kHeadersMax) {
        return protocol_error("more than " + std::to_string(SpdyHeaderCodec::kHeadersMax) +
                              " headers");
    }
    std::span<const std::byte> rest = block.subspan(4);
    StreamHeaders headers;
    for (std::uint32_t index = 0; index < count; ++index) {
        std::string name = TRY(take_text(rest));
        std::string value = TRY(take_text(rest));
        headers.emplace_back(std::move(name), std::move(value));
    }
    return headers;
}

}  // namespace

std::string_view header(const StreamHeaders& headers, std::string_view name) {
    const auto found = std::ranges::find_if(
        headers, [name](const auto& entry) { return same_name(entry.first, name); });
    return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

Result<std::unique_ptr<SpdyHeaderCodec>> SpdyHeaderCodec::create() {
    std::unique_ptr<SpdyHeaderCodec> codec(new SpdyHeaderCodec());
    const std::string words = dictionary();
    if (::inflateInit(&codec->inflate_) != Z_OK ||
        ::deflateInit(&codec->deflate_, Z_BEST_SPEED) != Z_OK ||
        ::deflateSetDictionary(&codec->deflate_, zlib_bytes(words),
                               static_cast<uInt>(words.size())) != Z_OK) {
        return Error(Code::ResourceExhausted, "zlib: no memory for header compression");
    }
    return codec;
}

SpdyHeaderCodec::~SpdyHeaderCodec() {
    ::inflateEnd(&inflate_);
    ::deflateEnd(&deflate_);
}

Result<StreamHeaders> SpdyHeaderCodec::inflate(std::span<const std::byte> block) {
    // One byte more than the limit, to tell a full buffer from one that overflows.
    std::string plain(kBlockSizeMax + 1, '\0');
    inflate_.next_in = zlib_bytes(as_text(block));
    inflate_.avail_in = static_cast<uInt>(block.size());
    inflate_.next_out = zlib_bytes(plain);
    inflate_.avail_out = static_cast<uInt>(plain.size());
    while (inflate_.avail_in > 0) {
        const int done = ::inflate(&inflate_, Z_SYNC_FLUSH);
        if (done == Z_NEED_DICT) {
            const std::string words = dictionary();
            if (::inflateSetDictionary(&inflate_, zlib_bytes(words),
                                       static_cast<uInt>(words.size())) != Z_OK) {
                return protocol_error("header block with a foreign dictionary");
            }
        } else if (done != Z_OK) {
            return protocol_error("header block is no zlib data");
        }
        if (inflate_.avail_out == 0) {
            return protocol_error("header block inflates to more than " +
                                  std::to_string(kBlockSizeMax) + " bytes");
        }
    }
    plain.resize(plain.size() - inflate_.avail_out);
    return parse_headers(std::as_bytes(std::span(plain)));
}

std::string SpdyHeaderCodec::deflate(const StreamHeaders& headers) {
    std::string plain;
    put32(plain, static_cast<std::uint32_t>(headers.size()));
    for (const auto& [name, value] : headers) {
        put32(plain, static_cast<std::uint32_t>(name.size()));
        plain.append(name);
        put32(plain, static_cast<std::uint32_t>(value.size()));
        plain.append(value);
    }
    // deflateBound() does not count the flush: 16 bytes hold its empty block.
    std::string block(::deflateBound(&deflate_, static_cast<uLong>(plain.size())) + 16, '\0');
    deflate_.next_in = zlib_bytes(plain);
    deflate_.avail_in = static_cast<uInt>(plain.size());
    deflate_.next_out = zlib_bytes(block);
    deflate_.avail_out = static_cast<uInt>(block.size());
    ::deflate(&deflate_, Z_SYNC_FLUSH);
    block.resize(block.size() - deflate_.avail_out);
    return block;
}

Result<std::unique_ptr<SpdyFraming>> SpdyFraming::create() {
    auto codec = TRY(SpdyHeaderCodec::create());
    return std::unique_ptr<SpdyFraming>(new SpdyFraming(std::move(codec)));
}

void SpdyFraming::start(StreamEvents& /*events*/) {}

Result<void> SpdyFraming::feed(std::span<const std::byte> bytes, StreamEvents& events) {
    while (!bytes.empty()) {
        if (stage_ == Stage::Head) {
            const std::size_t part = std::min(bytes.size(), head_.size() - head_size_);
            std::ranges::copy(bytes.first(part), head_.begin() + static_cast<long>(head_size_));
            head_size_ += part;
            bytes = bytes.subspan(part);
            if (head_size_ == head_.size()) {
                head_size_ = 0;
                TRY(on_head(events));
            }
            continue;
        }
        const std::size_t part = std::min<std::size_t>(bytes.size(), left_);
        left_ -= static_cast<std::uint32_t>(part);
        if (stage_ == Stage::Data) {
            on_client_data(bytes.first(part), events);
        } else {
            body_.append(as_text(bytes.first(part)));
            if (left_ == 0) {
                TRY(on_control(events));
            }
        }
        bytes = bytes.subspan(part);
        if (left_ == 0) {
            stage_ = Stage::Head;
        }
    }
    return {};
}

Result<void> SpdyFraming::on_head(StreamEvents& events) {
    const std::span<const std::byte> head(head_);
    flags_ = std::to_integer<std::uint8_t>(head_[4]);
    left_ = big_endian(head.subspan(5, 3));
    const bool is_control = (head_[0] & std::byte{0x80}) != std::byte{0};
    if (!is_control) {
        stage_ = Stage::Data;
        if (left_ == 0) {
            on_client_data({}, events);
            stage_ = Stage::Head;
        }
        return {};
    }
    if ((big_endian(head.first(2)) & 0x7fffU) != kVersion) {
        return protocol_error("frame of another version");
    }
    if (left_ > kControlFrameSizeMax) {
        return protocol_error("control frame of " + std::to_string(left_) + " bytes");
    }
    stage_ = Stage::Control;
    body_.clear();
    if (left_ == 0) {
        TRY(on_control(events));
        stage_ = Stage::Head;
    }
    return {};
}

Result<void> SpdyFraming::on_control(StreamEvents& events) {
    const std::span<const std::byte> body = std::as_bytes(std::span(body_));
    switch (big_endian(std::span(head_).subspan(2, 2))) {
        case kSynStream:
            return on_syn_stream(body, events);
        case kRstStream:
            if (body.size() < 8) {
                return protocol_error("short RST_STREAM");
            }
            if (const auto found =
                    streams_.find(StreamId{big_endian(body.first(4)) & kStreamIdMask});
                found != streams_.end()) {
                const StreamId id = found->first;
                streams_.erase(found);
                events.on_reset(id);
            }
            return {};
        case kPing:
            if (body.size() != 4) {
                return protocol_error("PING of another size");
            }
            // Pings of the client are odd; an even one would answer ours, and we send none.
            if (big_endian(body) % 2 == 1) {
                put_control(kPing, 0, as_text(body));
            }
            return {};
        default:  // SETTINGS, GOAWAY, WINDOW_UPDATE, and HEADERS, which would be compressed
            if (big_endian(std::span(head_).subspan(2, 2)) == 8 && body.size() > 4) {
                TRY(codec_->inflate(body.subspan(4)));
            }
            return {};
    }
}

Result<void> SpdyFraming::on_syn_stream(std::span<const std::byte> body, StreamEvents& events) {
    if (body.size() < kSynStreamHead) {
        return protocol_error("short SYN_STREAM");
    }
    const std::uint32_t number = big_endian(body.first(4)) & kStreamIdMask;
    if (number % 2 == 0 || number <= last_id_) {
        return protocol_error("stream " + std::to_string(number) + " is not next");
    }
    last_id_ = number;
    // The codec needs every block, also that of a stream that is refused.
    const StreamHeaders headers = TRY(codec_->inflate(body.subspan(kSynStreamHead)));
    const StreamId id{number};
    if (streams_.size() >= kStreamsMax) {
        put_reset(id, kRefusedStream);
        return {};
    }
    streams_.emplace(id, Stream{});
    events.on_open(id, headers);
    if ((flags_ & kFlagFin) != 0) {
        finish_client(id, events);
    }
    return {};
}

void SpdyFraming::on_client_data(std::span<const std::byte> bytes, StreamEvents& events) {
    const StreamId id{big_endian(std::span(head_).first(4)) & kStreamIdMask};
    const auto found = streams_.find(id);
    if (found != streams_.end() && !found->second.client_finished && !bytes.empty()) {
        events.on_data(id, bytes);
    }
    if (left_ == 0 && (flags_ & kFlagFin) != 0) {
        finish_client(id, events);
    }
}

void SpdyFraming::finish_client(StreamId id, StreamEvents& events) {
    // The session may have reset the stream meanwhile.
    const auto found = streams_.find(id);
    if (found == streams_.end() || std::exchange(found->second.client_finished, true)) {
        return;
    }
    forget_if_finished(found);
    events.on_finish(id);
}

void SpdyFraming::forget_if_finished(Streams::iterator stream) {
    if (stream->second.client_finished && stream->second.server_finished) {
        streams_.erase(stream);
    }
}

void SpdyFraming::accept(StreamId id) {
    std::string body;
    put32(body, std::to_underlying(id));
    body.append(codec_->deflate({}));
    put_control(kSynReply, 0, body);
}

void SpdyFraming::send(StreamId id, std::span<const std::byte> bytes) {
    const auto found = streams_.find(id);
    if (found == streams_.end() || found->second.server_finished) {
        return;
    }
    while (!bytes.empty()) {
        const std::size_t part = std::min(bytes.size(), kDataSizeMax);
        put32(output_, std::to_underlying(id));
        put32(output_, static_cast<std::uint32_t>(part));
        output_.append(as_text(bytes.first(part)));
        bytes = bytes.subspan(part);
    }
}

void SpdyFraming::finish(StreamId id) {
    const auto found = streams_.find(id);
    if (found == streams_.end() || std::exchange(found->second.server_finished, true)) {
        return;
    }
    put32(output_, std::to_underlying(id));
    put32(output_, std::uint32_t{kFlagFin} << 24U);
    forget_if_finished(found);
}

void SpdyFraming::reset(StreamId id) {
    if (streams_.erase(id) > 0) {
        put_reset(id, kCancel);
    }
}

void SpdyFraming::say_goodbye() {
    std::string body;
    put32(body, last_id_);
    put32(body, 0);
    put_control(kGoAway, 0, body);
}

void SpdyFraming::put_reset(StreamId id, std::uint32_t status) {
    std::string body;
    put32(body, std::to_underlying(id));
    put32(body, status);
    put_control(kRstStream, 0, body);
}

void SpdyFraming::put_control(std::uint16_t type, std::uint8_t flags, std::string_view body) {
    put32(output_, 0x8000'0000U | std::uint32_t{kVersion} << 16U | type);
    put32(output_, std::uint32_t{flags} << 24U | static_cast<std::uint32_t>(body.size()));
    output_.append(body);
}

}  // namespace pepita::cri
