#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace pepita::vmm::vsock {

/// The line with which a host client says which port of the guest it wants: "CONNECT <port>\n".
/// Source: Firecracker, docs/vsock.md.
class Handshake {
public:
    static constexpr std::size_t kLineMax = 32;  // with its newline

    /// Takes bytes up to the end of the line, and says how many: what follows is the stream's.
    std::size_t take(std::span<const std::byte> bytes);

    /// The line is whole, or too long to be one.
    bool is_complete() const { return complete_; }
    /// None where the line is not what it should be.
    std::optional<std::uint32_t> port() const;
    std::size_t room() const { return kLineMax - line_.size(); }

private:
    std::string line_;  // without its newline
    bool complete_ = false;
};

/// The answer once the guest has accepted.
std::string accepted_line(std::uint32_t host_port);

}  // namespace pepita::vmm::vsock
