#include "shim/network.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/netlink.h"
#include "kernel-abi/sys/result.h"
#include "runtime/network.h"
#include "vmm/device_config.h"

namespace pepita::shim {
namespace {

using runtime::NetworkConfig;
using runtime::read_network;

const std::string kMac{2, 0, 0, 0, 9, 2};
const std::string kOtherMac{2, 0, 0, 0, 9, 3};
constexpr std::size_t kHeader = 12;

std::string path_of(const Fd& fd) { return "/proc/self/fd/" + std::to_string(fd.ref().number()); }

/// A network namespace, and a socket to ask about it.
struct Namespace {
    Fd fd;
    Netlink netlink;

    void enter() const { CHECK(::setns(fd.ref().number(), CLONE_NEWNET) == 0); }

    static Namespace make() {
        CHECK(::unshare(CLONE_NEWNET) == 0);
        Fd fd = *open_file("/proc/thread-self/ns/net", O_RDONLY);
        return {.fd = std::move(fd), .netlink = *Netlink::open()};
    }
};

/// The test's thread is in namespaces of its own: `pod` is a pod's, `wire` has the other ends.
class PodNetworkTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "only root makes network namespaces";
        }
        home_ = *open_file("/proc/thread-self/ns/net", O_RDONLY);
        wire_ = std::make_unique<Namespace>(Namespace::make());
        pod_ = std::make_unique<Namespace>(Namespace::make());
        outside_ = std::make_unique<Namespace>(Namespace::make());
    }
    void TearDown() override {
        if (home_) {
            CHECK(::setns(home_.ref().number(), CLONE_NEWNET) == 0);
        }
    }

    /// A pair: `name` here, with this MAC, and another on the wire, of the same name or `on_wire`.
    void add_pair(Namespace& to, const std::string& name, const std::string& mac,
                  std::uint32_t mtu = 1500, const std::string& on_wire = "") {
        const std::string& peer_name = on_wire.empty() ? name : on_wire;
        NetlinkRequest request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, ifinfomsg{});
        request.put_text(IFLA_IFNAME, name);
        request.put_bytes(IFLA_ADDRESS, mac);
        request.put(IFLA_MTU, mtu);
        request.nest(IFLA_LINKINFO, [&] {
            request.put_text(IFLA_INFO_KIND, "veth");
            request.nest(IFLA_INFO_DATA, [&] {
                NetlinkRequest peer(0, 0, ifinfomsg{});
                peer.put_text(IFLA_IFNAME, peer_name);
                peer.put(IFLA_MTU, mtu);
                peer.put(IFLA_NET_NS_FD, wire_->fd.ref().number());
                request.put(VETH_INFO_PEER, peer.body());
            });
        });
        ASSERT_TRUE(to.netlink.execute(request).has_value());
        raise(to, name);
        raise(*wire_, peer_name);
    }
    static int index_of(const Namespace& of, const std::string& name) {
        of.enter();
        return static_cast<int>(::if_nametoindex(name.c_str()));
    }
    static void raise(Namespace& of, const std::string& name) {
        ifinfomsg header{};
        header.ifi_index = index_of(of, name);
        header.ifi_flags = IFF_UP;
        header.ifi_change = IFF_UP;
        EXPECT_TRUE(of.netlink.execute(NetlinkRequest(RTM_NEWLINK, 0, header)).has_value());
    }
    static void add_address(Namespace& to, const std::string& name, const std::string& address,
                            std::uint8_t prefix) {
        ifaddrmsg header{};
        header.ifa_family = address.size() == 4 ? AF_INET : AF_INET6;
        header.ifa_prefixlen = prefix;
        header.ifa_index = static_cast<unsigned>(index_of(to, name));
        NetlinkRequest request(RTM_NEWADDR, NLM_F_CREATE, header);
        request.put_bytes(IFA_LOCAL, address);
        request.put_bytes(IFA_ADDRESS, address);
        request.put(IFA_FLAGS, std::uint32_t{IFA_F_NODAD});
        EXPECT_TRUE(to.netlink.execute(request).has_value());
    }
    static void add_default_route(Namespace& to, const std::string& gateway, std::uint32_t mtu) {
        rtmsg header{};
        header.rtm_family = AF_INET;
        header.rtm_table = RT_TABLE_MAIN;
        header.rtm_protocol = RTPROT_STATIC;
        header.rtm_type = RTN_UNICAST;
        NetlinkRequest request(RTM_NEWROUTE, NLM_F_CREATE, header);
        request.put_bytes(RTA_GATEWAY, gateway);
        request.nest(RTA_METRICS, [&] { request.put(RTAX_MTU, mtu); });
        EXPECT_TRUE(to.netlink.execute(request).has_value());
    }
    static int ingress_count(Namespace& of) {
        int count = 0;
        EXPECT_TRUE(of.netlink
                        .dump(
                            NetlinkRequest(RTM_GETQDISC, 0, tcmsg{}), [&] { count = 0; },
                            [&](const NetlinkMessage& message) {
                                count +=
                                    message.attributes<tcmsg>().text(TCA_KIND) == "ingress" ? 1 : 0;
                            })
                        .has_value());
        return count;
    }
    std::unique_ptr<PodNetwork> open() {
        outside_->enter();
        auto network = PodNetwork::open(path_of(pod_->fd));
        EXPECT_TRUE(network.has_value()) << network.error().message();
        return *std::move(network);
    }

    Fd home_;
    std::unique_ptr<Namespace> wire_;
    std::unique_ptr<Namespace> pod_;
    std::unique_ptr<Namespace> outside_;  // where the shim would be
};

/// A frame as bytes, for both of the test's ends.
std::string frame() {
    return std::string(6, '\xff') + kOtherMac + std::string{'\x88', '\xb5'} + std::string(50, 'x');
}

/// What each kernel makes for itself, some time after a device is up.
NetworkConfig without_link_local(NetworkConfig config) {
    const auto is_link_local = [](const std::string& address) {
        return address.starts_with("\xfe\x80");
    };
    for (auto& interface : config.interfaces) {
        std::erase_if(interface.addresses,
                      [&](const auto& one) { return is_link_local(one.address); });
    }
    std::erase_if(config.routes, [&](const auto& one) { return is_link_local(one.destination); });
    return config;
}

std::string error_of(const std::string& path) {
    const auto network = PodNetwork::open(path);
    return network ? "none" : network.error().message();
}

TEST_F(PodNetworkTest, WhatIsNoNamespaceIsRefused) {
    outside_->enter();
    EXPECT_NE(error_of("/nonexistent").find("No such file"), std::string::npos);
    EXPECT_EQ(error_of("/dev/null"), "'/dev/null' is no network namespace");
    EXPECT_EQ(error_of("/proc/self/ns/mnt"), "'/proc/self/ns/mnt' is no network namespace");
    EXPECT_NE(error_of("/proc/thread-self/ns/net").find("is the host's"), std::string::npos);
}

TEST_F(PodNetworkTest, ConfiguresWhatItRead) {
    add_pair(*pod_, "eth0", kMac, 1400);
    add_pair(*pod_, "net1", kOtherMac, 9000);
    add_address(*pod_, "eth0", {10, 9, 0, 2}, 24);
    add_address(*pod_, "net1", std::string("\xfd\0\x9\0\0\0\0\0\0\0\0\0\0\0\0\x2", 16), 64);
    add_default_route(*pod_, {10, 9, 0, 1}, 1300);
    const NetworkConfig config = without_link_local(*read_network(pod_->netlink));
    ASSERT_EQ(config.interfaces.size(), 2U);
    EXPECT_EQ(config.interfaces[0].mtu, 1400U);
    EXPECT_EQ(config.interfaces[1].name, "net1");
    ASSERT_FALSE(config.routes.empty());
    EXPECT_FALSE(config.routes.back().metrics.empty());

    // Another namespace, in which each device has the name that the other wants.
    Namespace guest = Namespace::make();
    add_pair(guest, "net1", kMac, 1500, "a");
    add_pair(guest, "eth0", kOtherMac, 9000, "b");
    guest.enter();
    const Result<void> configured = configure_network(guest.netlink, config);
    ASSERT_TRUE(configured.has_value()) << configured.error().message();
    NetworkConfig read = without_link_local(*read_network(guest.netlink));
    const auto by_name = [](const auto& a, const auto& b) { return a.name < b.name; };
    std::ranges::sort(read.interfaces, by_name);
    EXPECT_EQ(read.interfaces, config.interfaces);
    EXPECT_EQ(read.routes.size(), config.routes.size());
    EXPECT_EQ(read.routes.back(), config.routes.back());
    EXPECT_TRUE(configure_network(guest.netlink, config).has_value());  // changes nothing
    EXPECT_EQ(without_link_local(*read_network(guest.netlink)).routes, read.routes);
}

TEST_F(PodNetworkTest, AnInterfaceWithoutADeviceIsNamed) {
    add_pair(*pod_, "eth0", kMac);
    const NetworkConfig config = *read_network(pod_->netlink);
    outside_->enter();
    const Result<void> configured = configure_network(outside_->netlink, config);
    ASSERT_FALSE(configured.has_value());
    EXPECT_EQ(configured.error().message(), "interface 'eth0': no device has its MAC address");
}

TEST_F(PodNetworkTest, JoinsAnInterfaceWithATapBothWays) {
    add_pair(*pod_, "eth0", kMac, 1400);
    const auto network = open();
    auto joined = network->join(1);
    ASSERT_TRUE(joined.has_value()) << joined.error().message();
    ASSERT_EQ(joined->devices.size(), 1U);
    const auto& device = std::get<vmm::NetConfig>(joined->devices[0].kind);
    EXPECT_EQ(std::string(device.mac.begin(), device.mac.end()), kMac);
    EXPECT_EQ(device.mtu, 1400);
    const FdRef tap = joined->devices[0].fds.at(0).fd.ref();

    wire_->enter();
    const Fd wire(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5)));
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(0x88b5);
    address.sll_ifindex = static_cast<int>(::if_nametoindex("eth0"));
    // SAFETY: the address of a family as sockaddr.
    ASSERT_EQ(
        ::bind(wire.ref().number(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
        0);
    const std::string sent = std::string(kHeader, '\0') + frame();
    ASSERT_EQ(::write(tap.number(), sent.data(), sent.size()), static_cast<ssize_t>(sent.size()));
    std::string got(2000, '\0');
    got.resize(static_cast<std::size_t>(
        std::max<ssize_t>(::recv(wire.ref().number(), got.data(), got.size(), 0), 0)));
    EXPECT_EQ(got, frame());

    ASSERT_EQ(::send(wire.ref().number(), frame().data(), frame().size(), 0),
              static_cast<ssize_t>(frame().size()));
    std::string received;
    while (!received.ends_with(frame())) {  // others are of IPv6; the test's time limit ends it
        received.assign(2000, '\0');
        const ssize_t size = ::read(tap.number(), received.data(), received.size());
        received.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    }
    EXPECT_EQ(received.size(), kHeader + frame().size());
}

TEST_F(PodNetworkTest, AnInterfaceHasOneMicrovm) {
    add_pair(*pod_, "eth0", kMac);
    const auto first = open();
    const auto joined = first->join(2);
    ASSERT_TRUE(joined.has_value());
    EXPECT_EQ(joined->devices[0].fds.size(), 2U);
    const auto second = open();
    const auto refused = second->join(1);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message(), "interface 'eth0': another microVM has it");
    EXPECT_EQ(ingress_count(*pod_), 2);  // the first one's are still there
}

TEST_F(PodNetworkTest, TakesWhatAppearsLater) {
    add_pair(*pod_, "eth0", kMac);
    const auto network = open();
    const auto first = network->join(1);
    ASSERT_TRUE(first.has_value());
    add_pair(*pod_, "net1", kOtherMac);
    outside_->enter();
    const auto second = network->join(1);
    ASSERT_TRUE(second.has_value());
    EXPECT_EQ(second->devices.size(), 1U);
    EXPECT_EQ(second->config.interfaces.size(), 2U);
}

TEST_F(PodNetworkTest, LeavesTheNamespaceAsItWas) {
    add_pair(*pod_, "eth0", kMac);
    {
        const auto network = open();
        EXPECT_TRUE(network->join(1).has_value());  // its tap is gone at once
    }
    EXPECT_EQ(ingress_count(*pod_), 0);
    EXPECT_EQ(read_network(pod_->netlink)->interfaces.size(), 1U);
}

// What a shim that was killed leaves: the redirection, without its tap.
TEST_F(PodNetworkTest, TakesOverTheRedirectionOfAKilledShim) {
    add_pair(*pod_, "eth0", kMac);
    auto killed = open();
    EXPECT_TRUE(killed->join(1).has_value());
    EXPECT_EQ(ingress_count(*pod_), 1);
    const auto network = open();
    const auto joined = network->join(1);
    EXPECT_TRUE(joined.has_value()) << joined.error().message();
    EXPECT_EQ(ingress_count(*pod_), 2);
}

TEST_F(PodNetworkTest, AWrongRequestHasTheKernelsWords) {
    outside_->enter();
    ifinfomsg header{};
    header.ifi_index = 4711;
    const Result<void> done = outside_->netlink.execute(NetlinkRequest(RTM_NEWLINK, 0, header));
    ASSERT_FALSE(done.has_value());
    EXPECT_EQ(done.error().code(), Code::NotFound);
}

}  // namespace
}  // namespace pepita::shim
