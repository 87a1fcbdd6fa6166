#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime {

/// A process on the host, told from a later one with the same pid by when it started.
struct HostProcess {
    std::uint32_t pid = 0;          // 0: none
    std::uint64_t start_ticks = 0;  // since boot; proc(5), stat field 22

    friend bool operator==(const HostProcess&, const HostProcess&) = default;
};

/// Errors: NotFound where there is no such process, or it is over and only not reaped.
Result<HostProcess> identify_process(std::uint32_t pid);

/// Whether it still runs, and has not only left its pid to another.
bool is_alive(const HostProcess& process);

/// Kills `process` unless it is over, whoever may have its pid now. True if it was there.
Result<bool> kill_process(const HostProcess& process);

/// runtime.md, "State"; Paused is runc's.
enum class ContainerStatus : std::uint8_t { Creating, Created, Running, Stopped, Paused };

std::string_view to_string(ContainerStatus status);

/// What <root>/<id>/state.json holds. The shim writes it; pepita-run reads it where no shim
/// answers.
struct ContainerState {
    std::string oci_version;
    std::string id;
    ContainerStatus status = ContainerStatus::Creating;
    std::uint32_t pid = 0;  // the proxy's (runtime/proxy.h); 0 once it is stopped
    std::string pod;        // whose microVM it is in; the shim's directory has this name
    std::string bundle;
    std::map<std::string, std::string> annotations;
    std::string created;               // RFC 3339
    std::string isolation;             // "kvm" or "tcg": what was taken, not what was asked
    std::string isolation_reason;      // for people, in one line
    std::vector<std::string> cgroups;  // directories of the host that the pod's processes are in
    HostProcess shim;
    HostProcess vmm;

    friend bool operator==(const ContainerState&, const ContainerState&) = default;
};

inline constexpr const char* kStateFile = "state.json";
inline constexpr const char* kShimSocket = "shim.sock";

/// Replaces `directory`'s state.json as one step: readers see the old one or the new one.
Result<void> write_state(FdRef directory, const ContainerState& state);

/// Errors: NotFound without the file; DataLoss for one that write_state() has not written.
Result<ContainerState> read_state(FdRef directory);

/// The state as the OCI runtime specification words it, for `pepita-run state`.
std::string to_oci_json(const ContainerState& state);
std::string to_oci_json(std::span<const ContainerState> states);

}  // namespace pepita::runtime
