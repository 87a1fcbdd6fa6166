#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

class CniRuns;

// What a CNI result says (spec 1.1 §Success).

struct CniInterface {
    std::string name;
    std::string mac;
    std::string sandbox;    // path of the network namespace; "" for the host's
    std::uint32_t mtu = 0;  // 0: unknown
    friend bool operator==(const CniInterface&, const CniInterface&) = default;
};

struct CniAddress {
    std::string address;  // with its prefix length: "10.1.0.5/16"
    std::string gateway;
    std::optional<std::size_t> interface;  // index into interfaces
    friend bool operator==(const CniAddress&, const CniAddress&) = default;
};

struct CniRoute {
    std::string destination;  // with its prefix length
    std::string gateway;
    std::uint32_t mtu = 0;
    std::uint32_t advmss = 0;
    std::optional<std::uint32_t> priority;
    std::optional<std::uint32_t> table;
    std::optional<std::uint32_t> scope;
    friend bool operator==(const CniRoute&, const CniRoute&) = default;
};

struct CniDns {
    std::vector<std::string> name_servers;
    std::string domain;
    std::vector<std::string> search;
    std::vector<std::string> options;
    friend bool operator==(const CniDns&, const CniDns&) = default;
};

struct CniResult {
    std::vector<CniInterface> interfaces;
    std::vector<CniAddress> ips;
    std::vector<CniRoute> routes;
    CniDns dns;
    friend bool operator==(const CniResult&, const CniResult&) = default;
};

struct CniPortMapping {
    std::uint16_t host_port = 0;
    std::uint16_t container_port = 0;
    std::string protocol = "tcp";
    std::string host_ip;
};

/// Bits per second, and bits.
struct CniBandwidth {
    std::uint64_t ingress_rate = 0;
    std::uint64_t ingress_burst = 0;
    std::uint64_t egress_rate = 0;
    std::uint64_t egress_burst = 0;
};

/// Runtime configuration. A plugin is given those of its declared capabilities that are not empty.
struct CniCapabilities {
    std::vector<CniPortMapping> port_mappings;
    std::optional<CniBandwidth> bandwidth;
    CniDns dns;
    std::vector<std::string> ips;
    std::string mac;
    std::string cgroup_path;
    std::map<std::string, std::string> pod_annotations;
};

/// One network interface of one pod.
struct CniAttachment {
    std::string container_id;
    std::string netns;  // its path; "" once it is gone
    std::string interface = "eth0";
    std::vector<std::pair<std::string, std::string>> args;  // CNI_ARGS
    CniCapabilities capabilities;
};

/// CNI_ARGS as the kubelet's runtimes give them.
std::vector<std::pair<std::string, std::string>> kubernetes_args(const std::string& pod_namespace,
                                                                 const std::string& pod_name,
                                                                 const std::string& pod_uid,
                                                                 const std::string& sandbox_id);

/// The node's pod network by CNI, spec 1.1 down to 0.4. The configuration is read anew for each
/// operation, so what changes in its directory holds from the next one on; what was attached is
/// detached by the configuration that attached it, which is cached with the result on disk, in
/// libcni's format. Thread: that of `loop`; callbacks are called on it, once, never from within.
class Cni {
public:
    struct Options {
        std::string config_directory = "/etc/cni/net.d";
        std::vector<std::string> plugin_directories = {"/opt/cni/bin", "/usr/lib/cni"};
        std::string cache_directory = "/var/lib/cni";
        /// For one plugin. It is killed then, with its children.
        std::chrono::milliseconds plugin_timeout{120'000};
    };
    using OnResult = std::move_only_function<void(Result<CniResult>)>;
    using OnDone = std::move_only_function<void(Result<void>)>;

    Cni(EventLoop& loop, Options options);
    Cni(const Cni&) = delete;
    Cni& operator=(const Cni&) = delete;
    Cni(Cni&&) = delete;
    Cni& operator=(Cni&&) = delete;
    /// Kills plugins in progress; their callbacks are not called.
    ~Cni();

    /// Where it fails, what was done is undone. Errors: FailedPrecondition without a network;
    /// the plugin's own, with its name, message and code.
    void add(CniAttachment attachment, OnResult on_result);
    /// An attachment that is gone, or never was, is no error.
    void remove(const CniAttachment& attachment, OnDone on_done);
    /// Whether the attachment is as it was made. Errors: NotFound without a cached result.
    void check(const CniAttachment& attachment, OnDone on_done);
    /// Removes the attachments of the network that are none of `valid` (container and interface),
    /// then lets the plugins do the same with what they know.
    void collect(std::vector<std::pair<std::string, std::string>> valid, OnDone on_done);
    /// Whether an add() would find a network and plugins that are ready.
    void status(OnDone on_done);

    /// The result of an attachment that is there. Errors: NotFound; InvalidArgument for a file that
    /// is damaged.
    Result<CniResult> cached(const std::string& container_id, const std::string& interface) const;

private:
    void remove_stale(std::vector<CniAttachment> stale, std::optional<Error> failure,
                      OnDone on_done);
    void undo(const CniAttachment& attachment, Error error, OnResult on_result);

    EventLoop& loop_;
    Options options_;
    std::unique_ptr<CniRuns> runs_;
};

}  // namespace pepita::cri
