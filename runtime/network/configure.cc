#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/netlink.h"
#include "kernel-abi/sys/result.h"
#include "runtime/network.h"

namespace pepita::runtime {
namespace {

constexpr std::uint16_t kMake = NLM_F_CREATE | NLM_F_REPLACE;

struct Link {
    int index = 0;
    std::string name;
    std::string mac;
    bool is_taken = false;
};

/// By name, once they have theirs.
using Indices = std::map<std::string, int>;

std::uint8_t family_of(std::string_view address) {
    return address.size() == 4 ? AF_INET : AF_INET6;
}

Result<std::vector<Link>> list_links(Netlink& netlink) {
    std::vector<Link> links;
    TRY(netlink.dump(
            NetlinkRequest(RTM_GETLINK, 0, ifinfomsg{}), [&] { links.clear(); },
            [&](const NetlinkMessage& message) {
                const auto header = message.header<ifinfomsg>();
                if (header && header->ifi_type == ARPHRD_ETHER) {
                    const NetlinkAttributes attributes = message.attributes<ifinfomsg>();
                    links.push_back({.index = header->ifi_index,
                                     .name = attributes.text(IFLA_IFNAME),
                                     .mac = attributes.bytes(IFLA_ADDRESS)});
                }
            }),
        "list interfaces");
    return links;
}

Result<void> set_link(Netlink& netlink, int index, unsigned flags,
                      const std::function<void(NetlinkRequest&)>& fill) {
    ifinfomsg header{};
    header.ifi_index = index;
    header.ifi_flags = flags;
    header.ifi_change = flags;
    NetlinkRequest request(RTM_NEWLINK, 0, header);
    fill(request);
    return netlink.execute(request);
}

Result<void> rename_link(Netlink& netlink, int index, const std::string& name) {
    return set_link(netlink, index, 0,
                    [&](NetlinkRequest& request) { request.put_text(IFLA_IFNAME, name); });
}

/// Each interface gets the device with its MAC, and the device its name. Two may want each other's
/// names, so that one first gets a name that nobody wants.
Result<Indices> name_links(Netlink& netlink, const NetworkConfig& config) {
    std::vector<Link> links = TRY(list_links(netlink));
    std::vector<std::pair<int, std::string>> renamed;
    Indices indices;
    for (const NetworkInterface& interface : config.interfaces) {
        auto link = std::ranges::find_if(links, [&](const Link& it) {
            return it.mac == interface.mac && !it.is_taken && it.name == interface.name;
        });
        if (link == links.end()) {
            link = std::ranges::find_if(
                links, [&](const Link& it) { return it.mac == interface.mac && !it.is_taken; });
        }
        if (link == links.end()) {
            return Error(Code::NotFound,
                         "interface '" + interface.name + "': no device has its MAC address");
        }
        link->is_taken = true;
        indices[interface.name] = link->index;
        if (link->name != interface.name) {
            renamed.emplace_back(link->index, interface.name);
        }
    }
    for (const auto& [index, name] : renamed) {
        TRY(rename_link(netlink, index, kTapNamePrefix + std::to_string(index)), "rename '", name,
            "'");
    }
    for (const auto& [index, name] : renamed) {
        TRY(rename_link(netlink, index, name), "rename '", name, "'");
    }
    return indices;
}

/// Its IPv6 addresses are those of the configuration, or it has no IPv6 at all.
Result<void> set_ipv6(Netlink& netlink, int index, const NetworkInterface& interface) {
    const std::string off = "/proc/sys/net/ipv6/conf/" + interface.name + "/disable_ipv6";
    if (::access(off.c_str(), F_OK) != 0) {
        return interface.has_ipv6 ? Error(Code::Unsupported, "the guest's kernel has no IPv6")
                                  : Result<void>();
    }
    TRY(write_file(off, interface.has_ipv6 ? "0" : "1"));
    return set_link(netlink, index, 0, [](NetlinkRequest& request) {
        request.nest(IFLA_AF_SPEC, [&request] {
            request.nest(AF_INET6, [&request] {
                request.put(IFLA_INET6_ADDR_GEN_MODE, std::uint8_t{IN6_ADDR_GEN_MODE_NONE});
            });
        });
    });
}

Result<void> add_address(Netlink& netlink, int index, const NetworkAddress& address) {
    ifaddrmsg header{};
    header.ifa_family = family_of(address.address);
    header.ifa_prefixlen = static_cast<std::uint8_t>(address.prefix_length);
    header.ifa_scope = static_cast<std::uint8_t>(address.scope);
    header.ifa_index = static_cast<unsigned>(index);
    NetlinkRequest request(RTM_NEWADDR, kMake, header);
    request.put_bytes(IFA_LOCAL, address.address);
    request.put_bytes(IFA_ADDRESS, address.peer.empty() ? address.address : address.peer);
    if (!address.broadcast.empty()) {
        request.put_bytes(IFA_BROADCAST, address.broadcast);
    }
    // The routes come by themselves; the address was in use before, by nobody else.
    request.put(IFA_FLAGS, std::uint32_t{IFA_F_NOPREFIXROUTE | IFA_F_NODAD | IFA_F_PERMANENT});
    return netlink.execute(request);
}

Result<void> configure_interface(Netlink& netlink, int index, const NetworkInterface& interface) {
    TRY(set_link(netlink, index, 0,
                 [&](NetlinkRequest& request) { request.put(IFLA_MTU, interface.mtu); }),
        "set the MTU ", std::to_string(interface.mtu));
    TRY(set_ipv6(netlink, index, interface));
    TRY(set_link(netlink, index, IFF_UP, [](NetlinkRequest&) {}), "raise");
    for (const NetworkAddress& address : interface.addresses) {
        TRY(add_address(netlink, index, address), "add an address");
    }
    return {};
}

Result<int> index_of(const Indices& indices, const std::string& name) {
    const auto found = indices.find(name);
    if (found == indices.end()) {
        return Error(Code::InvalidArgument, "interface '" + name + "' is not among those given");
    }
    return found->second;
}

void put_gateway(NetlinkRequest& request, std::uint32_t family, const std::string& gateway) {
    if (gateway.empty()) {
        return;
    }
    const std::uint16_t its_family = family_of(gateway);
    if (its_family == family) {
        request.put_bytes(RTA_GATEWAY, gateway);
        return;
    }
    std::string via(sizeof(its_family), '\0');
    std::memcpy(via.data(), &its_family, sizeof(its_family));
    request.put_bytes(RTA_VIA, via.append(gateway));
}

Result<void> put_hops(NetlinkRequest& request, const NetworkRoute& route, const Indices& indices) {
    if (route.hops.size() == 1) {
        request.put(RTA_OIF, TRY(index_of(indices, route.hops.front().interface)));
        put_gateway(request, route.family, route.hops.front().gateway);
        return {};
    }
    std::string all;
    for (const NetworkHop& hop : route.hops) {
        NetlinkRequest one(0, 0, rtnexthop{});
        put_gateway(one, route.family, hop.gateway);
        rtnexthop header{};
        header.rtnh_len = static_cast<std::uint16_t>(one.body().size());
        header.rtnh_flags = static_cast<std::uint8_t>(hop.flags);
        header.rtnh_hops = static_cast<std::uint8_t>(hop.weight);
        header.rtnh_ifindex = TRY(index_of(indices, hop.interface));
        std::string bytes(one.body().size(), '\0');
        std::memcpy(bytes.data(), one.body().data(), bytes.size());
        std::memcpy(bytes.data(), &header, sizeof(header));
        all.append(bytes);
    }
    request.put_bytes(RTA_MULTIPATH, all);
    return {};
}

Result<void> add_route(Netlink& netlink, const NetworkRoute& route, const Indices& indices) {
    rtmsg header{};
    header.rtm_family = static_cast<std::uint8_t>(route.family);
    header.rtm_dst_len = static_cast<std::uint8_t>(route.prefix_length);
    header.rtm_tos = static_cast<std::uint8_t>(route.tos);
    header.rtm_table = RT_TABLE_MAIN;
    header.rtm_protocol = static_cast<std::uint8_t>(route.protocol);
    header.rtm_scope = static_cast<std::uint8_t>(route.scope);
    header.rtm_type = static_cast<std::uint8_t>(route.type);
    header.rtm_flags = route.hops.size() == 1 ? route.hops.front().flags : 0;
    NetlinkRequest request(RTM_NEWROUTE, kMake, header);
    if (!route.destination.empty()) {
        request.put_bytes(RTA_DST, route.destination);
    }
    if (route.priority != 0) {
        request.put(RTA_PRIORITY, route.priority);
    }
    if (!route.source.empty()) {
        request.put_bytes(RTA_PREFSRC, route.source);
    }
    if (!route.metrics.empty()) {
        request.put_bytes(RTA_METRICS, route.metrics);
    }
    if (!route.hops.empty()) {
        TRY(put_hops(request, route, indices));
    }
    return netlink.execute(request);
}

Result<void> add_neighbour(Netlink& netlink, const NetworkNeighbour& neighbour,
                           const Indices& indices) {
    ndmsg header{};
    header.ndm_family = family_of(neighbour.address);
    header.ndm_ifindex = TRY(index_of(indices, neighbour.interface));
    header.ndm_state = NUD_PERMANENT;
    NetlinkRequest request(RTM_NEWNEIGH, kMake, header);
    request.put_bytes(NDA_DST, neighbour.address);
    request.put_bytes(NDA_LLADDR, neighbour.mac);
    return netlink.execute(request);
}

}  // namespace

Result<void> configure_network(Netlink& netlink, const NetworkConfig& config) {
    const Indices indices = TRY(name_links(netlink, config));
    for (const NetworkInterface& interface : config.interfaces) {
        TRY(configure_interface(netlink, indices.at(interface.name), interface), "interface '",
            interface.name, "'");
    }
    for (const NetworkRoute& route : config.routes) {
        TRY(add_route(netlink, route, indices), "add a route");
    }
    for (const NetworkNeighbour& neighbour : config.neighbours) {
        TRY(add_neighbour(netlink, neighbour, indices), "add a neighbour");
    }
    return {};
}

}  // namespace pepita::runtime
