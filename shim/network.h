#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/netlink.h"
#include "kernel-abi/sys/result.h"
#include "runtime/network.h"
#include "vmm/device_config.h"

namespace pepita::shim {

/// The network namespace of a pod: a tap stands beside each interface there, and traffic control
/// redirects what arrives at the one to the other, both ways. So the guest is at the place of the
/// namespace, and whatever made the interfaces stays in charge of them.
///
/// The taps are destroyed with their last descriptor, which pepita-vmm has. The redirections are
/// removed with this object; a killed shim's are removed when the next pod takes the interface.
/// Thread: any one; it is in the namespace during a call.
class PodNetwork {
public:
    /// A queue for each of so many processors at most.
    static constexpr std::uint32_t kQueuesMax = 4;

    /// Errors: NotFound; InvalidArgument for what is no network namespace, or this process's own,
    /// which a guest cannot share.
    static Result<std::unique_ptr<PodNetwork>> open(const std::string& path);
    PodNetwork(const PodNetwork&) = delete;
    PodNetwork& operator=(const PodNetwork&) = delete;
    PodNetwork(PodNetwork&&) = delete;
    PodNetwork& operator=(PodNetwork&&) = delete;
    ~PodNetwork();

    struct Joined {
        std::vector<vmm::DeviceConfig> devices;  // of interfaces that had none
        runtime::NetworkConfig config;           // all that there is
    };
    /// Takes the interfaces that are there by now. Where one cannot be had, those that this call
    /// took are given up again. Errors: AlreadyExists for one that another microVM has; netlink's.
    Result<Joined> join(std::uint32_t queues);

    /// Undoes what join() did for the interface of a device, which could not be attached.
    void leave(const std::string& device);

    /// Calls `on_change` after interfaces, addresses or routes have changed, those by join()
    /// included: not for each change, but after the last one. Errors: netlink's.
    using OnChange = std::move_only_function<void()>;
    Result<void> watch(EventLoop& loop, OnChange on_change);

private:
    struct Interface {
        std::string name;
        int index = 0;
    };
    PodNetwork(Fd network, Netlink netlink)
        : network_(std::move(network)), netlink_(std::move(netlink)) {}
    Result<void> join_new(const runtime::NetworkConfig& config, std::uint32_t queues,
                          std::vector<vmm::DeviceConfig>& devices);
    Result<vmm::DeviceConfig> join_one(const runtime::NetworkInterface& interface, int index,
                                       std::uint32_t queues);
    Result<void> redirect(int from, int to);
    void give_up(std::size_t first);
    void remove_redirection(const Interface& interface);
    void on_event(EventLoop& loop);

    Fd network_;
    Netlink netlink_;
    std::vector<Interface> joined_;
    std::optional<Netlink> events_;
    EventLoop::Watch watch_;  // goes before what it watches
    EventLoop::Timer settling_;
    bool is_settling_ = false;
    OnChange on_change_;
};

}  // namespace pepita::shim
