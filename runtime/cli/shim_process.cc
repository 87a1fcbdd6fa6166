#include "runtime/cli/shim_process.h"

#include <linux/limits.h>
#include <stdlib.h>  // getenv
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/report.h"
#include "runtime/oci/host_cgroup.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::string_view kProgram = "/pepita-shim";

std::string own_directory() {
    std::array<char, PATH_MAX> path{};
    const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
    const std::string_view self(path.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    return std::string(self.substr(0, self.rfind('/')));
}

std::vector<std::string> places() {
    // Beside us; or beside our folder, as the build has it.
    std::vector<std::string> out{own_directory(), own_directory() + "/../shim", PEPITA_LIBEXEC_DIR};
    const char* variable = ::getenv("PATH");
    std::string_view path = variable == nullptr ? "" : variable;
    while (!path.empty()) {
        const std::size_t colon = path.find(':');
        const std::string_view directory = path.substr(0, colon);
        if (directory.starts_with('/')) {  // never from the working directory
            out.emplace_back(directory);
        }
        path.remove_prefix(colon == std::string_view::npos ? path.size() : colon + 1);
    }
    return out;
}

std::vector<std::string> environment_copy() {
    std::vector<std::string> out;
    for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
        // Who calls us in a shim's stead tells of events itself.
        if (!std::string_view(*entry).starts_with("TTRPC_ADDRESS=")) {
            out.emplace_back(*entry);
        }
    }
    return out;
}

Result<void> leave_caller(std::span<const std::string> cgroups) {
    TRY(oci::enter_cgroups(cgroups));
    constexpr mode_t mask = 022;
    (void)::umask(mask);
    if (::setsid() == -1 || ::chdir("/") != 0) {
        return Error::from_errno(errno, "start the shim");
    }
    return {};
}

}  // namespace

Result<std::string> find_shim(const Command& command) {
    if (!command.shim.empty()) {
        return command.shim;
    }
    for (const std::string& directory : places()) {
        std::string path = directory + std::string(kProgram);
        if (::access(path.c_str(), X_OK) == 0) {
            return path;
        }
    }
    return Error(Code::NotFound, "no pepita-shim in '" + own_directory() + "', '" +
                                     PEPITA_LIBEXEC_DIR + "' and PATH; name it with --shim");
}

Result<ShimProcess> start_shim(const Command& command, std::span<const std::string> cgroups) {
    auto [ours, theirs] = TRY(socket_pair());
    SpawnOptions options;
    options.path = TRY(find_shim(command));
    options.arguments = {"pepita-shim"};
    options.environment = environment_copy();
    options.lifetime = Lifetime::OutlivesUs;
    options.prepare = [cgroups] { return leave_caller(cgroups); };
    options.fds = {{.fd = theirs.ref(), .number = kShimSocketNumber}};
    Fd log;
    if (!command.log.empty()) {
        log = TRY(open_to_append(command.log, kLogMode));
        options.fds.push_back({.fd = log.ref(), .number = STDERR_FILENO});
    }
    Result<Child> child = spawn(std::move(options));
    if (!child) {
        // What spawn() names is the program's own name, which does not say which one.
        return std::move(child).error().within("start '" + TRY(find_shim(command)) + "'");
    }
    return ShimProcess{.process = *std::move(child), .socket = std::move(ours)};
}

}  // namespace pepita::runtime::cli
