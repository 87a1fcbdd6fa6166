#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime {

/// What an operator may ask a pod to run in.
enum class IsolationChoice : std::uint8_t {
    Auto,
    Kvm,
    Tcg,
    Process,  // no microVM: the containers share the host's kernel
};

/// "auto", "kvm", "tcg" or "process"; nullopt for another word.
std::optional<IsolationChoice> isolation_choice(std::string_view name);

enum class LogFormat : std::uint8_t { Text, Json };

/// When a pod ends by itself: when it is stopped, or also when its last container is deleted.
enum class PodEnd : std::uint8_t { WhenStopped, WithLastContainer };

/// A pod: a microVM and its place on the host, without any container. A client sends it to
/// pepita-shim with the request that begins the pod. Plain values; paths are absolute.
struct PodSpec {
    static constexpr std::uint64_t kMemoryMibMin = 64;
    static constexpr std::uint64_t kMemoryMibMax = 65'536;
    static constexpr std::uint64_t kVcpusMin = 1;
    static constexpr std::uint64_t kVcpusMax = 8;
    static constexpr std::uint64_t kScratchMibMin = 16;  // or 0
    static constexpr std::uint64_t kScratchMibMax = 65'536;
    static constexpr std::chrono::seconds kBootDeadlineMin{1};
    static constexpr std::chrono::seconds kBootDeadlineMax{3600};

    std::string name;                      // as a container's id: check_container_id()
    std::string root = "/run/pepita";      // <root>/<name>/ is the pod's own
    std::string data = "/var/lib/pepita";  // guest/ kernels/ tmp/
    std::string vmm;                       // the program pepita-vmm; empty: beside pepita-shim
    std::string qemu = "/usr/bin/qemu-system-x86_64";  // for tcg
    IsolationChoice isolation = IsolationChoice::Auto;
    std::uint64_t memory_mib = 512;  // of its containers together
    std::uint64_t vcpus = 1;
    /// Whether these two are limits of the pod, and not a default.
    bool is_sized = false;
    /// What they may grow to while it runs. Less than them: they do not grow.
    std::uint64_t memory_max_mib = 2048;
    std::uint64_t vcpus_max = 4;
    std::uint64_t scratch_mib = 1024;  // of the writable layer; 0: the guest's memory holds it
    std::chrono::seconds boot_deadline{60};
    std::string guest_console;  // a file that the guest's console is appended to; empty: no console
    LogFormat log_format = LogFormat::Text;  // of the shim's standard error
    PodEnd end = PodEnd::WithLastContainer;
    /// A container's root is a disk made of its directory; what it writes is lost with it. Else it
    /// is the directory itself.
    bool packs_roots = false;
    std::string network_namespace;  // whose interfaces the guest has; empty: the first container's
    /// The host's cgroup of the shim and all that it starts, spelled as linux.cgroupsPath. Made
    /// where it is missing, and then removed when the microVM has ended. Empty: the shim's own;
    /// with IsolationChoice::Process one of the pod's name.
    std::string cgroup;

    friend bool operator==(const PodSpec&, const PodSpec&) = default;
};

/// Errors: InvalidArgument that names the member and its bounds.
Result<void> check(const PodSpec& spec);

/// The message `pepita.pod.v1.PodSpec`, serialized.
std::string encode(const PodSpec& spec);
/// Errors: InvalidArgument for bytes that are no such message. Does not check().
Result<PodSpec> decode_pod_spec(std::string_view bytes);

}  // namespace pepita::runtime
