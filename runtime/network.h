#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernel-abi/sys/netlink.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime {

// What a pod's network namespace has, and its guest gets. Addresses are bytes as they are in a
// packet, 4 or 16 of them; numbers without a word are rtnetlink's.

struct NetworkAddress {
    std::string address;
    std::string peer;  // ""; or the other end's, which the prefix is of
    std::uint32_t prefix_length = 0;
    std::uint32_t scope = 0;
    std::string broadcast;  // "": none

    friend bool operator==(const NetworkAddress&, const NetworkAddress&) = default;
};

struct NetworkInterface {
    static constexpr std::size_t kNameMax = 15;  // IFNAMSIZ without the zero

    std::string name;
    std::string mac;  // 6 bytes
    std::uint32_t mtu = 0;
    bool has_ipv6 = false;
    std::vector<NetworkAddress> addresses;

    friend bool operator==(const NetworkInterface&, const NetworkInterface&) = default;
};

struct NetworkHop {
    std::string interface;
    std::string gateway;  // "": the destination is on the link
    std::uint32_t flags = 0;
    std::uint32_t weight = 0;  // less one; where there are several

    friend bool operator==(const NetworkHop&, const NetworkHop&) = default;
};

/// Of the table "main".
struct NetworkRoute {
    std::uint32_t family = 0;
    std::string destination;  // "" with prefix_length 0: the default route
    std::uint32_t prefix_length = 0;
    std::uint32_t type = 0;
    std::uint32_t scope = 0;
    std::uint32_t protocol = 0;
    std::uint32_t tos = 0;
    std::uint32_t priority = 0;
    std::string source;   // preferred; "": none
    std::string metrics;  // RTA_METRICS, such as an MTU
    std::vector<NetworkHop> hops;

    friend bool operator==(const NetworkRoute&, const NetworkRoute&) = default;
};

/// Permanent ones alone.
struct NetworkNeighbour {
    std::string interface;
    std::string address;
    std::string mac;

    friend bool operator==(const NetworkNeighbour&, const NetworkNeighbour&) = default;
};

struct NetworkConfig {
    static constexpr std::size_t kInterfacesMax = 16;
    static constexpr std::size_t kEntriesMax = 4096;  // of addresses, routes, neighbours each

    std::vector<NetworkInterface> interfaces;
    std::vector<NetworkRoute> routes;
    std::vector<NetworkNeighbour> neighbours;

    friend bool operator==(const NetworkConfig&, const NetworkConfig&) = default;
};

/// A tap that stands beside an interface has a name that begins so.
inline constexpr const char* kTapNamePrefix = "pepita";

/// All Ethernet interfaces that are up, and what goes with them: no port of a bridge, and no tap of
/// ours. Errors: ResourceExhausted where there is more than NetworkConfig may have; netlink's.
Result<NetworkConfig> read_network(Netlink& netlink);

/// Makes it so in the network namespace of `netlink` and of the calling thread. An interface is
/// the one with its MAC address, whatever its name was. Doing it twice changes nothing.
/// Errors: NotFound where there is none; netlink's, naming what was refused.
Result<void> configure_network(Netlink& netlink, const NetworkConfig& config);

}  // namespace pepita::runtime
