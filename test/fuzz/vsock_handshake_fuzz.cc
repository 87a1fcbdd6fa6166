#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "kernel-abi/sys/check.h"
#include "vmm/vsock/handshake.h"

// What a host client says first, in pieces of any length: the first byte of input is the length of
// the first piece, and so on.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using pepita::vmm::vsock::Handshake;
    auto rest = std::as_bytes(std::span(data, size));
    std::string all;
    Handshake pieces;
    while (!rest.empty() && !pieces.is_complete()) {
        const std::size_t wanted = std::to_integer<std::size_t>(rest[0]) % 40;
        const auto piece = rest.subspan(1, std::min(wanted, rest.size() - 1));
        const std::size_t taken = pieces.take(piece);
        CHECK(taken <= piece.size() && (taken == piece.size() || pieces.is_complete()));
        for (const std::byte byte : piece.first(taken)) {
            all += std::to_integer<char>(byte);
        }
        rest = rest.subspan(1 + piece.size());
    }
    CHECK(all.size() <= Handshake::kLineMax);
    // Whole or in pieces, it is the same line.
    Handshake whole;
    CHECK(whole.take(std::as_bytes(std::span(all))) == all.size());
    CHECK(whole.is_complete() == pieces.is_complete() && whole.port() == pieces.port());
    if (const std::optional<std::uint32_t> port = whole.port()) {
        CHECK(all.starts_with("CONNECT ") && all.ends_with('\n'));
        CHECK(std::stoul(all.substr(8)) == *port);
    }
    return 0;
}
