#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/netlink.h"
#include "kernel-abi/sys/result.h"
#include "runtime/network.h"

namespace pepita::runtime {
namespace {

constexpr std::size_t kMacLength = 6;

/// By the kernel's number.
using Interfaces = std::map<int, NetworkInterface>;

template <typename Header>
NetlinkRequest list(std::uint16_t type, const Header& header = {}) {
    return {type, 0, header};
}

void add_link(Interfaces& interfaces, const NetlinkMessage& message) {
    const auto header = message.header<ifinfomsg>();
    if (!header || message.type() != RTM_NEWLINK || header->ifi_type != ARPHRD_ETHER ||
        (header->ifi_flags & IFF_UP) == 0) {
        return;
    }
    const NetlinkAttributes attributes = message.attributes<ifinfomsg>();
    NetworkInterface interface;
    interface.name = attributes.text(IFLA_IFNAME);
    interface.mac = attributes.bytes(IFLA_ADDRESS);
    interface.mtu = attributes.value<std::uint32_t>(IFLA_MTU).value_or(0);
    if (attributes.find(IFLA_MASTER) || interface.name.starts_with(kTapNamePrefix) ||
        interface.mac.size() != kMacLength) {
        return;
    }
    interfaces[header->ifi_index] = std::move(interface);
}

void add_address(Interfaces& interfaces, const NetlinkMessage& message) {
    const auto header = message.header<ifaddrmsg>();
    if (!header || message.type() != RTM_NEWADDR) {
        return;
    }
    const auto interface = interfaces.find(static_cast<int>(header->ifa_index));
    if (interface == interfaces.end()) {
        return;
    }
    const NetlinkAttributes attributes = message.attributes<ifaddrmsg>();
    // Without IFA_LOCAL it is IPv6, and the address is the interface's own.
    const std::string local = attributes.bytes(IFA_LOCAL);
    const std::string address = attributes.bytes(IFA_ADDRESS);
    NetworkAddress& added = interface->second.addresses.emplace_back();
    added.address = local.empty() ? address : local;
    added.peer = local.empty() || local == address ? "" : address;
    added.prefix_length = header->ifa_prefixlen;
    added.scope = header->ifa_scope;
    added.broadcast = attributes.bytes(IFA_BROADCAST);
    interface->second.has_ipv6 |= header->ifa_family == AF_INET6;
}

/// A gateway may be of the other family: RTA_VIA has it behind that family's number.
std::string gateway_of(const NetlinkAttributes& attributes) {
    const std::string via = attributes.bytes(RTA_VIA);
    return via.size() > sizeof(rtvia) ? via.substr(sizeof(rtvia)) : attributes.bytes(RTA_GATEWAY);
}

/// False where one of them leads over an interface that the guest does not get.
bool read_hops(const Interfaces& interfaces, std::span<const std::byte> bytes,
               std::vector<NetworkHop>& hops) {
    while (bytes.size() >= sizeof(rtnexthop)) {
        rtnexthop hop{};
        std::memcpy(&hop, bytes.data(), sizeof(hop));
        const auto interface = interfaces.find(hop.rtnh_ifindex);
        if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > bytes.size() ||
            interface == interfaces.end()) {
            return false;
        }
        const NetlinkAttributes attributes(bytes.subspan(sizeof(hop), hop.rtnh_len - sizeof(hop)));
        hops.push_back({.interface = interface->second.name,
                        .gateway = gateway_of(attributes),
                        .flags = hop.rtnh_flags & std::uint32_t{RTNH_F_ONLINK},
                        .weight = hop.rtnh_hops});
        bytes = bytes.subspan(std::min<std::size_t>(RTNH_ALIGN(hop.rtnh_len), bytes.size()));
    }
    return true;
}

bool is_for_guest(const rtmsg& header, const NetlinkAttributes& attributes) {
    const std::uint32_t table =
        attributes.value<std::uint32_t>(RTA_TABLE).value_or(header.rtm_table);
    if (table != RT_TABLE_MAIN || (header.rtm_flags & RTM_F_CLONED) != 0) {
        return false;
    }
    switch (header.rtm_type) {
        case RTN_UNICAST:
            return true;
        case RTN_BLACKHOLE:
        case RTN_UNREACHABLE:
        case RTN_PROHIBIT:
            return header.rtm_protocol != RTPROT_KERNEL;  // every kernel has those
        default:
            return false;
    }
}

void add_route(const Interfaces& interfaces, const NetlinkMessage& message, NetworkConfig& config) {
    const auto header = message.header<rtmsg>();
    const NetlinkAttributes attributes = message.attributes<rtmsg>();
    if (!header || message.type() != RTM_NEWROUTE || !is_for_guest(*header, attributes)) {
        return;
    }
    NetworkRoute route;
    if (const auto hops = attributes.find(RTA_MULTIPATH)) {
        if (!read_hops(interfaces, *hops, route.hops)) {
            return;
        }
    } else if (header->rtm_type == RTN_UNICAST) {
        const auto interface = interfaces.find(attributes.value<int>(RTA_OIF).value_or(0));
        if (interface == interfaces.end()) {
            return;
        }
        route.hops.push_back({.interface = interface->second.name,
                              .gateway = gateway_of(attributes),
                              .flags = header->rtm_flags & std::uint32_t{RTNH_F_ONLINK},
                              .weight = 0});
    }
    route.family = header->rtm_family;
    route.destination = attributes.bytes(RTA_DST);
    route.prefix_length = header->rtm_dst_len;
    route.type = header->rtm_type;
    route.scope = header->rtm_scope;
    route.protocol = header->rtm_protocol;
    route.tos = header->rtm_tos;
    route.priority = attributes.value<std::uint32_t>(RTA_PRIORITY).value_or(0);
    route.source = attributes.bytes(RTA_PREFSRC);
    route.metrics = attributes.bytes(RTA_METRICS);
    config.routes.push_back(std::move(route));
}

void add_neighbour(const Interfaces& interfaces, const NetlinkMessage& message,
                   NetworkConfig& config) {
    const auto header = message.header<ndmsg>();
    if (!header || message.type() != RTM_NEWNEIGH || (header->ndm_state & NUD_PERMANENT) == 0 ||
        (header->ndm_family != AF_INET && header->ndm_family != AF_INET6)) {
        return;
    }
    const auto interface = interfaces.find(header->ndm_ifindex);
    const NetlinkAttributes attributes = message.attributes<ndmsg>();
    if (interface == interfaces.end() || attributes.bytes(NDA_LLADDR).size() != kMacLength) {
        return;
    }
    config.neighbours.push_back({.interface = interface->second.name,
                                 .address = attributes.bytes(NDA_DST),
                                 .mac = attributes.bytes(NDA_LLADDR)});
}

/// A gateway is known to be on the link by a route that has none, so those come first; else the
/// order stays.
std::vector<NetworkRoute> in_order(const std::vector<NetworkRoute>& routes) {
    const auto has_gateway = [](const NetworkRoute& route) {
        return std::ranges::any_of(route.hops,
                                   [](const NetworkHop& hop) { return !hop.gateway.empty(); });
    };
    std::vector<NetworkRoute> ordered;
    for (const bool wanted : {false, true}) {
        std::ranges::copy_if(routes, std::back_inserter(ordered), [&](const NetworkRoute& route) {
            return has_gateway(route) == wanted;
        });
    }
    return ordered;
}

Result<void> check_limit(std::size_t count, std::size_t limit, const char* what) {
    if (count > limit) {
        return Error(Code::ResourceExhausted, "the network has " + std::to_string(count) + " " +
                                                  what + ", and a guest gets at most " +
                                                  std::to_string(limit));
    }
    return {};
}

}  // namespace

Result<NetworkConfig> read_network(Netlink& netlink) {
    Interfaces interfaces;
    NetworkConfig config;
    TRY(netlink.dump(
            list<ifinfomsg>(RTM_GETLINK), [&] { interfaces.clear(); },
            [&](const NetlinkMessage& message) { add_link(interfaces, message); }),
        "list interfaces");
    const auto forget_addresses = [&] {
        for (auto& [index, interface] : interfaces) {
            interface.addresses.clear();
        }
    };
    TRY(netlink.dump(list<ifaddrmsg>(RTM_GETADDR), forget_addresses,
                     [&](const NetlinkMessage& message) { add_address(interfaces, message); }),
        "list addresses");
    TRY(netlink.dump(
            list<rtmsg>(RTM_GETROUTE), [&] { config.routes.clear(); },
            [&](const NetlinkMessage& message) { add_route(interfaces, message, config); }),
        "list routes");
    TRY(netlink.dump(
            list<ndmsg>(RTM_GETNEIGH), [&] { config.neighbours.clear(); },
            [&](const NetlinkMessage& message) { add_neighbour(interfaces, message, config); }),
        "list neighbours");
    config.routes = in_order(config.routes);
    TRY(check_limit(interfaces.size(), NetworkConfig::kInterfacesMax, "interfaces"));
    TRY(check_limit(config.routes.size(), NetworkConfig::kEntriesMax, "routes"));
    TRY(check_limit(config.neighbours.size(), NetworkConfig::kEntriesMax, "neighbours"));
    for (auto& [index, interface] : interfaces) {
        TRY(check_limit(interface.addresses.size(), NetworkConfig::kEntriesMax, "addresses"));
        config.interfaces.push_back(std::move(interface));
    }
    return config;
}

}  // namespace pepita::runtime
