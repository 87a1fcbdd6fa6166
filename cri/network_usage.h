#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// What went through an interface of a pod.
struct InterfaceUsage {
    std::string name;
    std::uint64_t received_bytes = 0;
    std::uint64_t received_packets = 0;
    std::uint64_t receive_errors = 0;
    std::uint64_t receive_drops = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t sent_packets = 0;
    std::uint64_t send_errors = 0;
    std::uint64_t send_drops = 0;

    friend bool operator==(const InterfaceUsage&, const InterfaceUsage&) = default;
};

/// Of a text as /proc/net/dev: all but the loopback and the taps that hand packets to a microVM.
std::vector<InterfaceUsage> parse_network_usage(std::string_view text);

/// The same, of the network namespace that is mounted at `path`: the host counts what a pod sends
/// and receives, whatever its guest says. The calling thread enters it and returns.
Result<std::vector<InterfaceUsage>> read_network_usage(const std::string& path);

}  // namespace pepita::cri
