#include "shim/containerd/verbs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/pod_cgroup.h"
#include "runtime/pod_role.h"
#include "runtime/shim_api.h"
#include "runtime/state.h"
#include "runtime/store.h"
#include "runtime/task_api.h"
#include "shim/containerd/command_line.h"

namespace pepita::shim::containerd {
namespace {

using runtime::BootstrapParams;
using runtime::PodRole;

constexpr mode_t kSocketMode = 0600;
constexpr std::uint32_t kKilled = 137;

std::vector<std::string> environment_with(const std::string& ttrpc_address) {
    constexpr std::string_view name = "TTRPC_ADDRESS=";
    std::vector<std::string> out;
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
        if (ttrpc_address.empty() || !std::string_view(*entry).starts_with(name)) {
            out.emplace_back(*entry);
        }
    }
    if (!ttrpc_address.empty()) {
        out.push_back(std::string(name) + ttrpc_address);
    }
    return out;
}

Result<void> leave_caller() {
    constexpr mode_t mask = 022;
    (void)::umask(mask);
    if (::setsid() == -1 || ::chdir("/") != 0) {
        return Error::from_errno(errno, "start the shim");
    }
    // As containerd's own shims: killed for memory sooner than containerd. May be forbidden.
    if (const auto text = read_file("/proc/self/oom_score_adj")) {
        if (text->starts_with('-')) {
            (void)write_file("/proc/self/oom_score_adj", "0").has_value();
        }
    }
    return {};
}

/// containerd makes it, and reads it.
Result<Fd> open_log(const std::string& bundle) {
    auto log = open_file((bundle + "/log").c_str(), O_RDWR | O_NONBLOCK);
    return log ? std::move(log) : open_file("/dev/null", O_WRONLY);
}

Result<Fd> listen_at(const std::string& path) {
    const std::string directory = path.substr(0, path.rfind('/'));
    TRY(make_directory(directory.substr(0, directory.rfind('/')), 0711));
    TRY(make_directory(directory, 0711));
    auto listener = listen_unix(path, kSocketMode);
    if (listener || listener.error().code() != Code::AlreadyExists) {
        return listener;
    }
    if (connect_unix(path)) {
        return Error(Code::AlreadyExists, "a shim serves '" + path + "' already");
    }
    // A killed one's.
    if (::unlink(path.c_str()) != 0) {
        return Error::from_errno(errno, "remove '" + path + "'");
    }
    return listen_unix(path, kSocketMode);
}

Result<void> start_server(const CommandLine& line, const std::string& bundle,
                          const std::string& path, const std::string& ttrpc_address) {
    const Fd listener = TRY(listen_at(path));
    const Fd log = TRY(open_log(bundle));
    SpawnOptions options;
    options.path = "/proc/self/exe";
    options.arguments = {"containerd-shim-pepita-v2",
                         "-namespace",
                         line.name_space,
                         "-id",
                         line.id,
                         "-address",
                         line.address,
                         "-bundle",
                         bundle};
    options.environment = environment_with(ttrpc_address);
    options.lifetime = Lifetime::OutlivesUs;
    options.prepare = leave_caller;
    options.fds = {{.fd = listener.ref(), .number = kListenerNumber},
                   {.fd = log.ref(), .number = STDERR_FILENO}};
    auto child = spawn(std::move(options));
    if (!child) {
        (void)::unlink(path.c_str());
        return std::move(child).error();
    }
    child->release();
    return {};
}

Result<std::string> bundle_directory(const CommandLine& line) {
    if (!line.bundle.empty()) {
        return line.bundle;
    }
    std::error_code error;
    const std::filesystem::path directory = std::filesystem::current_path(error);
    if (error) {
        return Error::from_errno(error.value(), "find the working directory");
    }
    return directory.string();
}

}  // namespace

Result<std::string> start(const CommandLine& line, std::string_view input) {
    const std::optional<BootstrapParams> params =
        runtime::bootstrap_params(input, line.id, line.name_space);
    const std::string bundle = TRY(bundle_directory(line));
    const runtime::Bundle read = TRY(runtime::load_bundle(bundle));
    const PodRole role = runtime::pod_role(read.annotations);
    const bool is_member = role.kind == PodRole::Kind::Member;
    const std::string path = TRY(
        socket_path(line, is_member ? role.pod : line.id, params ? params->socket_directory : ""));
    if (is_member) {
        TRY(connect_unix(path), "join the pod '", role.pod, "'");
    } else {
        TRY(start_server(line, bundle, path, params ? params->ttrpc_address : ""));
    }
    const std::string address = "unix://" + path;
    // containerd before 2.0 looks there when it is restarted.
    TRY(replace_file(FdRef(AT_FDCWD), bundle + "/address", address, kSocketMode));
    return params ? runtime::bootstrap_result(address) : address;
}

Result<std::string> remove(const CommandLine& line) {
    const std::string bundle = TRY(bundle_directory(line));
    const auto store = TRY(runtime::oci::ContainerStore::open(pods_root(line.name_space)));
    runtime::TaskExit exit{.exit_status = kKilled};
    bool is_pods = true;
    if (const auto directory = store.open_container(line.id)) {
        if (const auto state = runtime::read_state(directory->ref())) {
            exit.pid = state->pid;
            is_pods = state->pod == line.id;
            // A member's pod may live on.
            if (is_pods) {
                (void)TRY(runtime::kill_process(state->shim));
                (void)TRY(runtime::kill_process(state->vmm));
            }
        }
        TRY(store.remove(line.id));
    }
    const auto read = runtime::load_bundle(bundle);
    if (is_pods && (!read || runtime::pod_role(read->annotations).kind != PodRole::Kind::Member)) {
        (void)::unlink(TRY(socket_path(line, line.id)).c_str());
        if (read && !read->cgroups_path.empty()) {
            TRY(runtime::PodCgroup::remove(read->cgroups_path));
        }
    }
    exit.exited_at_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
    return runtime::delete_result(exit);
}

}  // namespace pepita::shim::containerd
