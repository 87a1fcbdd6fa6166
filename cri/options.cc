#include "cri/options.h"

#include <linux/limits.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"
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
using Rule = runtime::OptionRule<Options>;
using Runtime = RuntimeService::Options;

template <auto Pointer>
using OfRuntime = Member<&Options::runtime, Pointer>;

constexpr std::array kLogFormats{Named{.name = "text", .value = false},
                                 Named{.name = "json", .value = true}};
constexpr std::array kIsolations{
    Named{.name = "auto", .value = runtime::IsolationChoice::Auto},
    Named{.name = "kvm", .value = runtime::IsolationChoice::Kvm},
    Named{.name = "tcg", .value = runtime::IsolationChoice::Tcg},
    Named{.name = "process", .value = runtime::IsolationChoice::Process}};
constexpr std::array kHostNamespaces{Named{.name = "refuse", .value = false},
                                     Named{.name = "process", .value = true}};

template <Options::Action Action>
Result<void> set_action(Options& options, std::string_view /*value*/) {
    options.action = Action;
    return {};
}

constexpr auto kOptions = std::to_array<Rule>({
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
         .help = "auto, kvm, tcg or process, for pods whose handler names none (default: auto)"}),
    option<OfRuntime<&Runtime::serves_host_namespaces>, Choice<kHostNamespaces>>(
        {.name = "host-namespaces",
         .value_name = "MODE",
         .help = "pods that ask for namespaces of the host: refuse, or process, without a microVM "
                 "(default: refuse)"}),
    option<OfRuntime<&Runtime::memory_mib>, Number<PodSpec::kMemoryMibMin, PodSpec::kMemoryMibMax>>(
        {.name = "memory", .value_name = "MIB", .help = "of a pod without limits (default: 512)"}),
    option<OfRuntime<&Runtime::vcpus>, Number<PodSpec::kVcpusMin, PodSpec::kVcpusMax>>(
        {.name = "cpus", .value_name = "N", .help = "of a pod without limits (default: 1)"}),
    option<OfRuntime<&Runtime::scratch_mib>,
           OrZero<Number<PodSpec::kScratchMibMin, PodSpec::kScratchMibMax>>>(
        {.name = "scratch",
         .value_name = "MIB",
         .help = "for what a pod's containers write; 0: in its memory (default: 4096)"}),
    option<OfRuntime<&Runtime::boot_deadline>,
           Number<PodSpec::kBootDeadlineMin.count(), PodSpec::kBootDeadlineMax.count()>>(
        {.name = "boot-deadline",
         .value_name = "SECONDS",
         .help = "for a pod's guest to answer (default: 120)"}),
    option<OfRuntime<&Runtime::seccomp>, Text>(
        {.name = "seccomp",
         .value_name = "FILE",
         .help = "the profile RuntimeDefault (default: pepita's own)"}),
    option<OfRuntime<&Runtime::shim>, Text>(
        {.name = "shim",
         .value_name = "PATH",
         .help = "the program pepita-shim (default: beside this one)"}),
    option<OfRuntime<&Runtime::vmm>, Text>(
        {.name = "vmm",
         .value_name = "PATH",
         .help = "the program pepita-vmm (default: beside pepita-shim)"}),
    option<OfRuntime<&Runtime::qemu>, Text>(
        {.name = "qemu",
         .value_name = "PATH",
         .help = "for tcg (default: /usr/bin/qemu-system-x86_64)"}),
    option<&Options::stream_address, Text>(
        {.name = "stream-address",
         .value_name = "ADDRESS",
         .help = "where exec, attach and port-forward are served (default: 127.0.0.1)"}),
    option<&Options::stream_port, Number<0, UINT16_MAX>>(
        {.name = "stream-port", .value_name = "PORT", .help = "0: any (default: 0)"}),
    option<&Options::logs_json, Choice<kLogFormats>>(
        {.name = "log-format", .value_name = "FORMAT", .help = "text or json (default: text)"}),
    action<Options>({.name = "help", .letter = 'h', .help = "print this"},
                    set_action<Options::Action::Help>),
    action<Options>({.name = "version", .help = "print the version"},
                    set_action<Options::Action::Version>),
});
constexpr std::span<const Rule> kRules = kOptions;

std::string own_directory() {
    std::array<char, PATH_MAX> path{};
    const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
    const std::string_view self(path.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    return std::string(self.substr(0, self.rfind('/')));
}

}  // namespace

Result<Options> parse_options(std::span<const std::string> arguments) {
    Options options;
    TRY(runtime::parse_options(arguments, kRules, options));
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

std::string help_text() {
    std::string text =
        "Usage: pepita-cri [OPTION...]\n\n"
        "Serves the kubelet's container runtime interface, CRI v1: every pod is a microVM.\n"
        "Pods go on when it ends, and are found again when it starts.\n\n";
    runtime::append_help(text, kRules, ~0U);
    return text;
}

}  // namespace pepita::cri
