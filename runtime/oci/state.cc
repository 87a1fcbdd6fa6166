#include "runtime/state.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime {
namespace {

using oci::Node;
using oci::Object;
using oci::OrderedJson;

OrderedJson to_json(const HostProcess& process) {
    return {{"pid", process.pid}, {"startTicks", process.start_ticks}};
}

OrderedJson to_oci(const ContainerState& state) {
    OrderedJson out = {{"ociVersion", state.oci_version},
                       {"id", state.id},
                       {"status", to_string(state.status)},
                       {"pid", state.pid},
                       {"bundle", state.bundle}};
    if (!state.annotations.empty()) {
        out["annotations"] = state.annotations;
    }
    out["created"] = state.created;
    if (!state.isolation.empty()) {  // a member of our own, which the specification allows
        out["isolation"] = state.isolation;
        out["isolationReason"] = state.isolation_reason;
    }
    return out;
}

Result<HostProcess> read_process(const Object& state, std::string_view name) {
    const Object process = TRY(TRY(state.require(name)).object());
    const std::uint64_t pid = TRY(TRY(process.require("pid")).natural(INT32_MAX));
    return HostProcess{.pid = static_cast<std::uint32_t>(pid),
                       .start_ticks = TRY(TRY(process.require("startTicks")).natural(UINT64_MAX))};
}

Result<ContainerStatus> read_status(const Node& node) {
    const std::string text = TRY(node.text());
    for (const auto status :
         {ContainerStatus::Creating, ContainerStatus::Created, ContainerStatus::Running,
          ContainerStatus::Stopped, ContainerStatus::Paused}) {
        if (text == to_string(status)) {
            return status;
        }
    }
    return node.invalid("no such status: " + oci::in_quotes(text));
}

Result<std::string> required_text(const Object& state, std::string_view name) {
    return TRY(state.require(name)).text();
}

Result<ContainerState> parse_state(std::string_view text) {
    const oci::Json document = TRY(oci::parse_json(text));
    const Object object = TRY(Node(document, "").object());
    ContainerState state;
    state.oci_version = TRY(required_text(object, "ociVersion"));
    state.id = TRY(required_text(object, "id"));
    state.status = TRY(read_status(TRY(object.require("status"))));
    state.pid = static_cast<std::uint32_t>(TRY(TRY(object.require("pid")).natural(INT32_MAX)));
    state.pod = TRY(object.text_or_empty("pod"));
    if (state.pod.empty()) {
        state.pod = state.id;
    }
    state.bundle = TRY(required_text(object, "bundle"));
    if (const auto annotations = object.find("annotations")) {
        for (const auto& [name, value] : TRY(annotations->members())) {
            state.annotations.emplace(name, TRY(value.text()));
        }
    }
    state.created = TRY(required_text(object, "created"));
    state.isolation = TRY(object.text_or_empty("isolation"));  // none until it is chosen
    if (!state.isolation.empty()) {
        state.isolation_reason = TRY(object.text_or_empty("isolationReason"));
    }
    if (const auto cgroups = object.find("cgroups")) {
        state.cgroups = TRY(cgroups->texts());
    }
    state.shim = TRY(read_process(object, "shim"));
    state.vmm = TRY(read_process(object, "vmm"));
    return state;
}

}  // namespace

Result<HostProcess> identify_process(std::uint32_t pid) {
    const std::string path = "/proc/" + std::to_string(pid) + "/stat";
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
    const std::string stat = TRY(read_all(file.ref(), 4096, path));
    // "pid (name) state ppid ...": the name may hold anything, so count from its last bracket on.
    std::size_t at = stat.rfind(')');
    const std::string_view state = std::string_view(stat).substr(std::min(at, stat.size()), 3);
    if (state == ") Z" || state == ") X") {
        return Error(Code::NotFound, "process " + std::to_string(pid) + " is over");
    }
    constexpr int start_time_field = 22;
    constexpr int name_field = 2;
    for (int field = name_field; field < start_time_field && at != std::string::npos; ++field) {
        at = stat.find(' ', at + 1);
    }
    HostProcess process{.pid = pid};
    if (at == std::string::npos) {
        return Error(Code::Internal, "'" + path + "' has no start time");
    }
    const auto [end, error] =
        std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), process.start_ticks);
    if (error != std::errc()) {
        return Error(Code::Internal, "'" + path + "' has no start time");
    }
    return process;
}

bool is_alive(const HostProcess& process) {
    const Result<HostProcess> now = identify_process(process.pid);
    return process.pid != 0 && now.has_value() && *now == process;
}

Result<bool> kill_process(const HostProcess& process) {
    if (process.pid == 0) {
        return false;
    }
    // Held first, compared then: what we compare is what we kill.
    const Fd held(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
    const Result<HostProcess> now = identify_process(process.pid);
    if (!held || !now || *now != process) {
        return false;
    }
    if (::syscall(SYS_pidfd_send_signal, held.ref().number(), SIGKILL, nullptr, 0) != 0) {
        if (errno == ESRCH) {
            return false;
        }
        return Error::from_errno(errno, "kill process " + std::to_string(process.pid));
    }
    return true;
}

std::string_view to_string(ContainerStatus status) {
    switch (status) {
        case ContainerStatus::Creating:
            return "creating";
        case ContainerStatus::Created:
            return "created";
        case ContainerStatus::Running:
            return "running";
        case ContainerStatus::Stopped:
            return "stopped";
        case ContainerStatus::Paused:
            return "paused";
    }
    __builtin_unreachable();
}

Result<void> write_state(FdRef directory, const ContainerState& state) {
    OrderedJson json = to_oci(state);
    json["pod"] = state.pod;
    json["cgroups"] = state.cgroups;
    json["shim"] = to_json(state.shim);
    json["vmm"] = to_json(state.vmm);
    return replace_file(directory, kStateFile, oci::dump(json, 2) + "\n", 0600);
}

Result<ContainerState> read_state(FdRef directory) {
    const Fd file(
        ::openat(directory.number(), kStateFile, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) {
        return Error::from_errno(errno, std::string("open '") + kStateFile + "'");
    }
    Result<std::string> text = read_all(file.ref(), oci::kJsonSizeMax, kStateFile);
    if (!text && text.error().code() == Code::OutOfRange) {
        return Error(Code::DataLoss, text.error().message());
    }
    Result<ContainerState> state = parse_state(TRY(std::move(text)));
    if (!state) {
        return Error(Code::DataLoss, std::string(kStateFile) + ": " + state.error().message());
    }
    return state;
}

std::string to_oci_json(const ContainerState& state) { return oci::dump(to_oci(state), 2) + "\n"; }

std::string to_oci_json(std::span<const ContainerState> states) {
    OrderedJson out = OrderedJson::array();
    for (const ContainerState& state : states) {
        out.push_back(to_oci(state));
    }
    return oci::dump(out, 2) + "\n";
}

}  // namespace pepita::runtime
