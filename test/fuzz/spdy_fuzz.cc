// A client's bytes after the upgrade: frames and compressed headers, in pieces of every size.
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "cri/streaming/framing.h"
#include "cri/streaming/spdy.h"
#include "kernel-abi/sys/check.h"

namespace {

using pepita::cri::SpdyFraming;
using pepita::cri::StreamId;

/// Answers as sessions do: within the callbacks.
class Session final : public pepita::cri::StreamEvents {
public:
    explicit Session(SpdyFraming& framing) : framing_(framing) {}
    void on_open(StreamId id, const pepita::cri::StreamHeaders& headers) override {
        CHECK(++open_ <= SpdyFraming::kStreamsMax * 1024);
        if (pepita::cri::header(headers, "streamtype") == "error") {
            return framing_.reset(id);
        }
        framing_.accept(id);
    }
    void on_data(StreamId id, std::span<const std::byte> bytes) override {
        CHECK(!bytes.empty());
        framing_.send(id, bytes);
    }
    void on_finish(StreamId id) override { framing_.finish(id); }
    void on_reset(StreamId id) override { framing_.send(id, {}); }

private:
    SpdyFraming& framing_;
    std::size_t open_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    auto framing = pepita::cri::SpdyFraming::create();
    CHECK(framing.has_value());
    Session session(**framing);
    const std::size_t piece = data[0] + std::size_t{1};
    std::span<const std::byte> rest = std::as_bytes(std::span(data, size)).subspan(1);
    while (!rest.empty()) {
        const std::size_t part = std::min(piece, rest.size());
        if (!(*framing)->feed(rest.first(part), session)) {
            break;
        }
        rest = rest.subspan(part);
    }
    (*framing)->say_goodbye();
    return 0;
}
