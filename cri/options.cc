#include "cri/options.h"

#include <linux/limits.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/json.h"
#include "runtime/rpc/options.h"

namespace pepita::cri {
namespace {

using runtime::action;
using runtime::Choice;
using runtime::Member;
using runtime::Named;
using runtime::Number;
using runtime::option;
using runtime::OrZero;
using runtime::PodSpec;
using runtime::Text;
using runtime::usage_error;
using runtime::oci::Node;
using Rule = runtime::OptionRule<Options>;
using Runtime = RuntimeService::Options;

template <auto Pointer>
using OfRuntime = Member<&Options::runtime, Pointer>;

constexpr std::array kLogFormats{Named{.name = "text", .value = runtime::LogFormat::Text},
                                 Named{.name = "json", .value = runtime::LogFormat::Json}};
constexpr std::array kIsolations{
    Named{.name = "auto", .value = runtime::IsolationChoice::Auto},
    Named{.name = "kvm", .value = runtime::IsolationChoice::Kvm},
    Named{.name = "tcg", .value = runtime::IsolationChoice::Tcg},
    Named{.name = "process", .value = runtime::IsolationChoice::Process}};
constexpr std::array kHostNamespaces{Named{.name = "refuse", .value = false},
                                     Named{.name = "process", .value = true}};

/// Groups of options, as OptionText::verbs.
constexpr std::uint32_t kAtStart = 1;
constexpr std::uint32_t kLive = 2;  // SIGHUP reads them again

template <Options::Action Action>
Result<void> set_action(Options& options, std::string_view /*value*/) {
    options.action = Action;
    return {};
}

constexpr auto kOptions = std::to_array<Rule>({
    option<&Options::config, Text>(
        {.name = "config",
         .value_name = "FILE",
         .help = "the configuration (default: /etc/pepita/pepita.json, where it exists)"}),
    option<&Options::socket, Text>({.name = "socket",
                                    .value_name = "PATH",
                                    .help = "where CRI is served (default: /run/pepita/cri.sock)"}),
    option<OfRuntime<&Runtime::state>, Text>(
        {.name = "state",
         .value_name = "DIR",
         .help = "what is remembered of pods and containers (default: /var/lib/pepita/cri)"}),
    option<OfRuntime<&Runtime::root>, Text>(
        {.name = "root",
         .value_name = "DIR",
         .help = "where pods that run have their sockets (default: /run/pepita)"}),
    option<OfRuntime<&Runtime::data>, Text>(
        {.name = "data",
         .value_name = "DIR",
         .help = "the guest's kernel and init (default: /var/lib/pepita)"}),
    option<OfRuntime<&Runtime::images>, Text>(
        {.name = "images",
         .value_name = "DIR",
         .help = "the store of images (default: /var/lib/pepita/images)"}),
    option<&Options::registry_hosts, Text>(
        {.name = "registry-hosts",
         .value_name = "DIR",
         .help = "a hosts.toml for each registry (default: /etc/pepita/certs.d)"}),
    option<&Options::cni_configuration, Text>(
        {.name = "cni-config",
         .value_name = "DIR",
         .help = "the pod network's configuration (default: /etc/cni/net.d)"}),
    option<&Options::cni_plugins, Text>(
        {.name = "cni-plugins",
         .value_name = "DIR",
         .help = "its programs (default: /opt/cni/bin and /usr/lib/cni)"}),
    option<&Options::cni_cache, Text>({.name = "cni-cache",
                                       .value_name = "DIR",
                                       .help = "what is attached (default: /var/lib/cni)"}),
    option<OfRuntime<&Runtime::network_namespaces>, Text>(
        {.name = "netns",
         .value_name = "DIR",
         .help = "where pods' network namespaces are mounted (default: /run/netns)"}),
    option<OfRuntime<&Runtime::isolation>, Choice<kIsolations>>(
        {.name = "isolation",
         .value_name = "MODE",
         .help = "auto, kvm, tcg or process, for pods whose handler names none (default: auto)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::serves_host_namespaces>, Choice<kHostNamespaces>>(
        {.name = "host-namespaces",
         .value_name = "MODE",
         .help = "pods that ask for namespaces of the host: refuse, or process, without a microVM "
                 "(default: refuse)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::memory_mib>, Number<PodSpec::kMemoryMibMin, PodSpec::kMemoryMibMax>>(
        {.name = "memory",
         .value_name = "MIB",
         .help = "of a pod without limits (default: 512)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::memory_max_mib>,
           Number<PodSpec::kMemoryMibMin, PodSpec::kMemoryMibMax>>(
        {.name = "memory-max",
         .value_name = "MIB",
         .help = "how far a pod may grow; one that boots larger does not (default: 2048)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::vcpus>, Number<PodSpec::kVcpusMin, PodSpec::kVcpusMax>>(
        {.name = "cpus",
         .value_name = "N",
         .help = "of a pod without limits (default: 1)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::vcpus_max>, Number<PodSpec::kVcpusMin, PodSpec::kVcpusMax>>(
        {.name = "cpus-max",
         .value_name = "N",
         .help = "how far a pod may grow; one that boots larger does not (default: 4)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::scratch_mib>,
           OrZero<Number<PodSpec::kScratchMibMin, PodSpec::kScratchMibMax>>>(
        {.name = "scratch",
         .value_name = "MIB",
         .help = "for what a pod's containers write; 0: in its memory (default: 4096)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::boot_deadline>,
           Number<PodSpec::kBootDeadlineMin.count(), PodSpec::kBootDeadlineMax.count()>>(
        {.name = "boot-deadline",
         .value_name = "SECONDS",
         .help = "for a pod's guest to answer (default: 120)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::seccomp>, Text>(
        {.name = "seccomp",
         .value_name = "FILE",
         .help = "the profile RuntimeDefault (default: pepita's own)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::shim>, Text>(
        {.name = "shim",
         .value_name = "PATH",
         .help = "the program pepita-shim (default: beside this one)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::vmm>, Text>(
        {.name = "vmm",
         .value_name = "PATH",
         .help = "the program pepita-vmm (default: beside pepita-shim)",
         .verbs = kLive}),
    option<OfRuntime<&Runtime::qemu>, Text>(
        {.name = "qemu",
         .value_name = "PATH",
         .help = "for tcg (default: /usr/bin/qemu-system-x86_64)",
         .verbs = kLive}),
    option<&Options::stream_address, Text>(
        {.name = "stream-address",
         .value_name = "ADDRESS",
         .help = "where exec, attach and port-forward are served (default: 127.0.0.1)"}),
    option<&Options::stream_port, Number<0, UINT16_MAX>>(
        {.name = "stream-port", .value_name = "PORT", .help = "0: any (default: 0)"}),
    option<&Options::metrics, Text>(
        {.name = "metrics",
         .value_name = "PLACE",
         .help =
             "where Prometheus reads metrics: ADDRESS:PORT or a socket's path (default: nowhere)"}),
    option<OfRuntime<&Runtime::log_format>, Choice<kLogFormats>>(
        {.name = "log-format", .value_name = "FORMAT", .help = "text or json (default: text)"}),
    action<Options>({.name = "help", .letter = 'h', .help = "print this"},
                    set_action<Options::Action::Help>),
    action<Options>({.name = "version", .help = "print the version"},
                    set_action<Options::Action::Version>),
});
constexpr std::span<const Rule> kRules = kOptions;

/// A member's value as the option has it.
Result<std::string> text_of(const Node& value) {
    if (Result<std::string> text = value.text()) {
        return text;
    }
    if (const Result<std::uint64_t> number = value.natural(UINT64_MAX)) {
        return std::to_string(*number);
    }
    return usage_error("must be a string or a whole number");
}

Result<void> apply_member(std::string_view name, const Node& value, Options& options) {
    const auto rule = std::ranges::find(kRules, name, &Rule::name);
    if (rule == kRules.end() || rule->print == nullptr || name == "config") {
        return usage_error("is unknown");
    }
    return rule->apply(options, TRY(text_of(value)));
}

Result<void> apply_config(const std::string& path, Options& options) {
    const auto json =
        TRY(runtime::oci::parse_json(TRY(read_file(path)), runtime::oci::Comments::Allowed));
    for (const auto& [name, value] : TRY(Node(json, "").members())) {
        TRY(apply_member(name, value, options), "member ", runtime::oci::in_quotes(name));
    }
    return {};
}

std::string own_directory() {
    std::array<char, PATH_MAX> path{};
    const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
    const std::string_view self(path.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    return std::string(self.substr(0, self.rfind('/')));
}

}  // namespace

Result<Options> parse_options(std::span<const std::string> arguments,
                              const std::string& usual_config) {
    Options options;
    TRY(runtime::parse_options(arguments, kRules, options));
    std::string config = options.config;
    if (config.empty() && ::access(usual_config.c_str(), F_OK) == 0) {
        config = usual_config;
    }
    if (!config.empty() && options.action == Options::Action::Serve) {
        options = Options();
        TRY(apply_config(config, options), "configuration '", config, "'");
        TRY(runtime::parse_options(arguments, kRules, options));
    }
    if (options.runtime.shim.empty()) {
        options.runtime.shim = own_directory() + "/pepita-shim";
    }
    // As it is installed, and as the build has it.
    for (const char* place : {"/../share/pepita", "/../../deploy"}) {
        const std::string profile = own_directory() + place + "/seccomp-default.json";
        if (options.runtime.seccomp.empty() && ::access(profile.c_str(), R_OK) == 0) {
            options.runtime.seccomp = profile;
        }
    }
    return options;
}

std::vector<std::string> print_options(const Options& options) {
    return runtime::print_options(kRules, options);
}

OptionChanges changes(const Options& from, const Options& to) {
    OptionChanges changes;
    for (const Rule& rule : kRules) {
        std::vector<std::string> before;
        std::vector<std::string> after;
        if (rule.print != nullptr) {
            rule.print(from, before);
            rule.print(to, after);
        }
        if (before != after) {
            (rule.verbs == kLive ? changes.live : changes.restart).emplace_back(rule.name);
        }
    }
    return changes;
}

std::string help_text() {
    std::string text =
        "Usage: pepita-cri [OPTION...]\n\n"
        "Serves the kubelet's container runtime interface, CRI v1: every pod is a microVM.\n"
        "Pods go on when it ends, and are found again when it starts.\n\n";
    runtime::append_help(text, kRules, kAtStart);
    text += "\nOf pods that are made from then on; a SIGHUP has the configuration read again:\n\n";
    runtime::append_help(text, kRules, kLive);
    return text;
}

}  // namespace pepita::cri
