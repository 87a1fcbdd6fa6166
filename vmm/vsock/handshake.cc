#include "vmm/vsock/handshake.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace pepita::vmm::vsock {

std::size_t Handshake::take(std::span<const std::byte> bytes) {
    std::size_t taken = 0;
    while (taken < bytes.size() && !complete_) {
        const char next = std::to_integer<char>(bytes[taken++]);
        if (next == '\n') {
            complete_ = true;
            break;
        }
        line_.push_back(next);
        complete_ = line_.size() == kLineMax;
    }
    return taken;
}

std::optional<std::uint32_t> Handshake::port() const {
    constexpr std::string_view verb = "CONNECT ";
    std::string_view rest = line_;
    if (!complete_ || line_.size() == kLineMax || !rest.starts_with(verb)) {
        return std::nullopt;
    }
    rest.remove_prefix(verb.size());
    std::uint32_t port = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), port);
    if (error != std::errc{} || end != rest.data() + rest.size()) {
        return std::nullopt;
    }
    return port;
}

std::string accepted_line(std::uint32_t host_port) {
    return "OK " + std::to_string(host_port) + "\n";
}

}  // namespace pepita::vmm::vsock
