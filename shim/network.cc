#include "shim/network.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/netlink.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_net.h"
#include "runtime/network.h"
#include "vmm/device_config.h"

namespace pepita::shim {
namespace {

constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";

/// A plugin that makes an interface takes several steps.
constexpr std::chrono::milliseconds kSettlingTime{100};

/// The calling thread is in another network namespace while this lives.
class InNamespace {
public:
    static Result<std::unique_ptr<InNamespace>> enter(FdRef network) {
        Fd home = TRY(open_file(kOwnNamespace, O_RDONLY));
        if (::setns(network.number(), CLONE_NEWNET) != 0) {
            return Error::from_errno(errno, "enter the network namespace");
        }
        return std::unique_ptr<InNamespace>(new InNamespace(std::move(home)));
    }
    InNamespace(const InNamespace&) = delete;
    InNamespace& operator=(const InNamespace&) = delete;
    InNamespace(InNamespace&&) = delete;
    InNamespace& operator=(InNamespace&&) = delete;
    // A shim that stayed there would do the host's work in a pod's network.
    ~InNamespace() { CHECK(::setns(home_.ref().number(), CLONE_NEWNET) == 0); }

private:
    explicit InNamespace(Fd home) : home_(std::move(home)) {}
    Fd home_;
};

Result<bool> are_same(FdRef a, FdRef b) {
    struct stat one{};
    struct stat other{};
    if (::fstat(a.number(), &one) != 0 || ::fstat(b.number(), &other) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

Result<void> check_is_network(FdRef file, const std::string& path) {
    if (::ioctl(file.number(), NS_GET_NSTYPE) != CLONE_NEWNET) {
        return Error(Code::InvalidArgument, "'" + path + "' is no network namespace");
    }
    const Fd own = TRY(open_file(kOwnNamespace, O_RDONLY));
    if (TRY(are_same(file, own.ref()))) {
        return Error(Code::InvalidArgument,
                     "'" + path + "' is the host's network namespace, which no microVM can share");
    }
    return {};
}

/// One queue of a tap. The first makes it, and no other microVM can have one of that name.
Result<Fd> open_tap(const std::string& name, bool is_first, bool has_more) {
    Fd tap = TRY(open_file("/dev/net/tun", O_RDWR | O_NONBLOCK));
    ifreq request{};
    std::memcpy(static_cast<char*>(request.ifr_name), name.data(),
                std::min(name.size(), sizeof(request.ifr_name) - 1));
    request.ifr_flags =
        static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (is_first ? IFF_TUN_EXCL : 0) |
                           (has_more ? IFF_MULTI_QUEUE : 0));
    if (::ioctl(tap.ref().number(), TUNSETIFF, &request) != 0) {
        if (errno == EBUSY) {
            return Error(Code::AlreadyExists, "another microVM has it");
        }
        return Error::from_errno(errno, "make tap '" + name + "'");
    }
    const int header = sizeof(abi::VirtioNetHdrV1);
    if (::ioctl(tap.ref().number(), TUNSETVNETHDRSZ, &header) != 0) {
        return Error::from_errno(errno, "TUNSETVNETHDRSZ");
    }
    return tap;
}

NetlinkRequest traffic_request(std::uint16_t type, std::uint16_t flags, int index,
                               std::uint32_t parent) {
    tcmsg header{};
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = index;
    header.tcm_parent = parent;
    header.tcm_handle = parent == TC_H_INGRESS ? TC_H_MAKE(TC_H_INGRESS, 0) : 0;
    constexpr std::uint32_t priority = 1;
    header.tcm_info = parent == TC_H_INGRESS ? 0 : TC_H_MAKE(priority << 16U, htons(ETH_P_ALL));
    return {type, flags, header};
}

NetlinkRequest ingress_request(std::uint16_t type, std::uint16_t flags, int index) {
    NetlinkRequest request = traffic_request(type, flags, index, TC_H_INGRESS);
    request.put_text(TCA_KIND, "ingress");
    return request;
}

Result<void> raise(Netlink& netlink, int tap, std::uint32_t mtu) {
    ifinfomsg header{};
    header.ifi_index = tap;
    NetlinkRequest quiet(RTM_NEWLINK, 0, header);
    quiet.nest(IFLA_AF_SPEC, [&quiet] {
        quiet.nest(AF_INET6, [&quiet] {
            quiet.put(IFLA_INET6_ADDR_GEN_MODE, std::uint8_t{IN6_ADDR_GEN_MODE_NONE});
        });
    });
    // The namespace's own IPv6 must not speak on it; a host without IPv6 refuses.
    (void)netlink.execute(quiet).has_value();
    header.ifi_flags = IFF_UP;
    header.ifi_change = IFF_UP;
    NetlinkRequest request(RTM_NEWLINK, 0, header);
    request.put(IFLA_MTU, mtu);
    return netlink.execute(request);
}

/// Every frame goes out at `to`, and nowhere else.
void put_redirection(NetlinkRequest& request, std::uint16_t attribute, int to) {
    request.nest(attribute, [&] {
        request.nest(1, [&] {  // the first action
            request.put_text(TCA_ACT_KIND, "mirred");
            request.nest(TCA_ACT_OPTIONS, [&] {
                tc_mirred mirred{};
                mirred.action = TC_ACT_STOLEN;
                mirred.eaction = TCA_EGRESS_REDIR;
                mirred.ifindex = static_cast<std::uint32_t>(to);
                request.put(TCA_MIRRED_PARMS, mirred);
            });
        });
    });
}

NetlinkRequest filter_request(int from, const char* kind,
                              const std::function<void(NetlinkRequest&)>& fill) {
    NetlinkRequest request = traffic_request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, from,
                                             TC_H_MAKE(TC_H_INGRESS, 0) & TC_H_MAJ_MASK);
    request.put_text(TCA_KIND, kind);
    request.nest(TCA_OPTIONS, [&] { fill(request); });
    return request;
}

/// "match any" of the classifier u32: a selector with one key, whose mask is 0.
/// Source: Linux include/uapi/linux/pkt_cls.h, struct tc_u32_sel.
constexpr std::array<std::uint8_t, 32> kMatchAny{TC_U32_TERMINAL, 0, 1};
static_assert(sizeof(tc_u32_sel) + sizeof(tc_u32_key) == kMatchAny.size());
static_assert(offsetof(tc_u32_sel, nkeys) == 2);

std::string device_id(int index) { return "net" + std::to_string(index); }

}  // namespace

Result<std::unique_ptr<PodNetwork>> PodNetwork::open(const std::string& path) {
    // Not blocking: a FIFO in its place must not hold us up.
    Fd network = TRY(open_file(path.c_str(), O_RDONLY | O_NONBLOCK));
    TRY(check_is_network(network.ref(), path));
    const auto inside = TRY(InNamespace::enter(network.ref()));
    Netlink netlink = TRY(Netlink::open());
    return std::unique_ptr<PodNetwork>(new PodNetwork(std::move(network), std::move(netlink)));
}

PodNetwork::~PodNetwork() { give_up(0); }

void PodNetwork::remove_redirection(const Interface& interface) {
    const Result<void> removed =
        netlink_.execute(ingress_request(RTM_DELQDISC, 0, interface.index));
    // An interface that is gone has no redirection either.
    if (!removed && removed.error().sys_errno() != ENODEV) {
        log::warn("a redirection stays",
                  {{"interface", interface.name}, {"error", removed.error().message()}});
    }
}

void PodNetwork::give_up(std::size_t first) {
    for (std::size_t i = first; i < joined_.size(); ++i) {
        remove_redirection(joined_[i]);
    }
    joined_.resize(first);
}

void PodNetwork::leave(const std::string& device) {
    const auto found = std::ranges::find_if(
        joined_, [&device](const Interface& it) { return device_id(it.index) == device; });
    if (found != joined_.end()) {
        remove_redirection(*found);
        joined_.erase(found);
    }
}

Result<void> PodNetwork::watch(EventLoop& loop, OnChange on_change) {
    const auto inside = TRY(InNamespace::enter(network_.ref()));
    const Netlink& events =
        events_.emplace(TRY(Netlink::open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                          RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE)));
    on_change_ = std::move(on_change);
    watch_ =
        TRY(loop.watch(events.fd(), EPOLLIN, [this, &loop](std::uint32_t) { on_event(loop); }));
    return {};
}

void PodNetwork::on_event(EventLoop& loop) {
    // Whatever it is, and also where some were lost, all is read again.
    if (events_) {
        (void)events_->drain([](const NetlinkMessage&) {}).has_value();
    }
    if (!std::exchange(is_settling_, true)) {
        settling_ = loop.after(kSettlingTime, [this] {
            is_settling_ = false;
            on_change_();
        });
    }
}

Result<PodNetwork::Joined> PodNetwork::join(std::uint32_t queues) {
    Joined joined;
    joined.config = TRY(runtime::read_network(netlink_));
    const std::size_t before = joined_.size();
    if (Result<void> done = join_new(joined.config, queues, joined.devices); !done) {
        give_up(before);
        return std::move(done).error();
    }
    return joined;
}

Result<void> PodNetwork::join_new(const runtime::NetworkConfig& config, std::uint32_t queues,
                                  std::vector<vmm::DeviceConfig>& devices) {
    const auto inside = TRY(InNamespace::enter(network_.ref()));
    for (const runtime::NetworkInterface& interface : config.interfaces) {
        const auto index = static_cast<int>(::if_nametoindex(interface.name.c_str()));
        const bool is_joined =
            std::ranges::find(joined_, index, &Interface::index) != joined_.end();
        if (!is_joined) {
            devices.push_back(
                TRY(join_one(interface, index, queues), "interface '", interface.name, "'"));
        }
    }
    return {};
}

Result<vmm::DeviceConfig> PodNetwork::join_one(const runtime::NetworkInterface& interface,
                                               int index, std::uint32_t queues) {
    const std::string name = runtime::kTapNamePrefix + std::to_string(index);
    vmm::DeviceConfig device;
    device.id = device_id(index);
    vmm::NetConfig net;
    std::memcpy(net.mac.data(), interface.mac.data(), net.mac.size());
    net.mtu = static_cast<std::uint16_t>(
        std::clamp<std::uint64_t>(interface.mtu, vmm::NetConfig::kMtuMin, vmm::NetConfig::kMtuMax));
    device.kind = net;
    queues = std::clamp(queues, 1U, kQueuesMax);
    for (std::uint32_t i = 0; i < queues; ++i) {
        device.fds.push_back({.number = -1, .fd = TRY(open_tap(name, i == 0, queues > 1))});
    }
    const auto tap = static_cast<int>(::if_nametoindex(name.c_str()));
    TRY(raise(netlink_, tap, interface.mtu), "raise its tap");
    joined_.push_back({.name = interface.name, .index = index});
    TRY(redirect(tap, index), "redirect to it");
    TRY(redirect(index, tap), "redirect from it");
    return device;
}

Result<void> PodNetwork::redirect(int from, int to) {
    constexpr std::uint16_t make = NLM_F_CREATE | NLM_F_EXCL;
    Result<void> made = netlink_.execute(ingress_request(RTM_NEWQDISC, make, from));
    if (!made && made.error().sys_errno() == EEXIST) {
        // Of a shim that was killed: nobody else has its tap.
        TRY(netlink_.execute(ingress_request(RTM_DELQDISC, 0, from)));
        made = netlink_.execute(ingress_request(RTM_NEWQDISC, make, from));
    }
    TRY(std::move(made));
    const Result<void> matched =
        netlink_.execute(filter_request(from, "matchall", [to](NetlinkRequest& request) {
            put_redirection(request, TCA_MATCHALL_ACT, to);
        }));
    if (matched) {
        return {};
    }
    return netlink_.execute(filter_request(from, "u32", [to](NetlinkRequest& request) {
        request.put(TCA_U32_SEL, kMatchAny);
        put_redirection(request, TCA_U32_ACT, to);
    }));
}

}  // namespace pepita::shim
