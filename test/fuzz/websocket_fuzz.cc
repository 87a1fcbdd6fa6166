// A client's bytes after the WebSocket handshake, for channels and for the SPDY tunnel.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cri/streaming/exec_session.h"
#include "cri/streaming/forward_session.h"
#include "cri/streaming/framing.h"
#include "cri/streaming/websocket.h"
#include "kernel-abi/sys/check.h"

namespace {

using pepita::cri::ChannelFraming;
using pepita::cri::StreamId;

/// Answers as sessions do: within the callbacks.
class Session final : public pepita::cri::StreamEvents {
public:
    explicit Session(pepita::cri::Framing& framing) : framing_(framing) {}
    void on_open(StreamId id, const pepita::cri::StreamHeaders& /*headers*/) override {
        framing_.accept(id);
    }
    void on_data(StreamId id, std::span<const std::byte> bytes) override {
        CHECK(!bytes.empty());
        (void)resizes_.feed(bytes);
        framing_.send(id, bytes);
    }
    void on_finish(StreamId id) override { framing_.finish(id); }
    void on_reset(StreamId id) override { framing_.reset(id); }

private:
    pepita::cri::Framing& framing_;
    pepita::cri::ResizeReader resizes_;
};

std::unique_ptr<pepita::cri::Framing> make(std::uint8_t kind) {
    if (kind % 3 == 0) {
        return *pepita::cri::TunnelFraming::create();
    }
    if (kind % 3 == 1) {
        return *ChannelFraming::create(ChannelFraming::Version::V4,
                                       pepita::cri::ForwardSession::channels({80, 8080}));
    }
    return *ChannelFraming::create(
        ChannelFraming::Version::V5,
        pepita::cri::ExecSession::channels({.in = true, .out = true, .err = false, .tty = true}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) {
        return 0;
    }
    const auto framing = make(data[0]);
    Session session(*framing);
    framing->start(session);
    const std::size_t piece = data[1] + std::size_t{1};
    std::span<const std::byte> rest = std::as_bytes(std::span(data, size)).subspan(2);
    while (!rest.empty()) {
        const std::size_t part = std::min(piece, rest.size());
        if (!framing->feed(rest.first(part), session)) {
            break;
        }
        rest = rest.subspan(part);
    }
    framing->say_goodbye();
    return 0;
}
