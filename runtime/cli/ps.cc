#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/report.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/rpc/json.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{15};
constexpr std::size_t kOutputMax = std::size_t{16} << 20U;

/// What the host's ps prints, with its options.
Result<std::string> run_ps(const std::vector<std::string>& arguments) {
    const Fd output(::memfd_create("ps", MFD_CLOEXEC));
    if (!output) {
        return Error::from_errno(errno, "memfd_create");
    }
    SpawnOptions options;
    options.path = "/bin/ps";
    options.arguments = {"ps"};
    options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
    if (arguments.empty()) {
        options.arguments.emplace_back("-ef");  // as runc
    }
    options.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C"};
    options.fds = {{.fd = output.ref(), .number = 1}, {.fd = FdRef(2), .number = 2}};
    Child child = TRY(spawn(std::move(options)), "start 'ps'");
    if (const ChildExit exit = child.reap(); exit.by_signal || exit.value != 0) {
        return Error(Code::Aborted, "ps: " + to_string(exit));
    }
    const std::string path = "/proc/self/fd/" + std::to_string(output.ref().number());
    const Fd reader = TRY(open_file(path.c_str(), O_RDONLY));
    return read_all(reader.ref(), kOutputMax, "ps");
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    while (true) {
        const std::size_t start = line.find_first_not_of(' ');
        if (start == std::string_view::npos) {
            return words;
        }
        line.remove_prefix(start);
        const std::size_t end = std::min(line.find(' '), line.size());
        words.push_back(line.substr(0, end));
        line.remove_prefix(end);
    }
}

/// The head of ps's table, and the lines of these processes.
Result<std::string> rows_of(std::string_view table, const std::vector<TaskProcess>& processes) {
    std::string out;
    std::optional<std::size_t> column;
    while (!table.empty()) {
        const std::string_view line = table.substr(0, table.find('\n'));
        table.remove_prefix(std::min(line.size() + 1, table.size()));
        const std::vector<std::string_view> words = words_of(line);
        if (!column) {
            const auto title = std::ranges::find(words, "PID");
            if (title == words.end()) {
                return Error(Code::InvalidArgument, "ps prints no column 'PID' with these options");
            }
            column = static_cast<std::size_t>(title - words.begin());
            out.append(line).append("\n");
            continue;
        }
        std::uint32_t pid = 0;
        const std::string_view word = words.size() > *column ? words[*column] : "";
        (void)std::from_chars(word.data(), word.data() + word.size(), pid);
        if (pid != 0 && std::ranges::find(processes, pid, &TaskProcess::pid) != processes.end()) {
            out.append(line).append("\n");
        }
    }
    return out;
}

}  // namespace

Result<int> ps(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const std::unique_ptr<ShimLink> link = TRY(connect_running(*loop, command));
    const auto processes = TRY(link->ask<std::vector<TaskProcess>>(
        [&](TaskClient& client, auto done) { client.pids(command.id, std::move(done)); },
        kDeadline));
    if (command.list_format == Format::Table) {
        return print(TRY(rows_of(TRY(run_ps(command.args)), processes))) ? 0 : 1;
    }
    oci::OrderedJson pids = oci::OrderedJson::array();
    for (const TaskProcess& process : processes) {
        pids.push_back(process.pid);
    }
    return print(oci::dump(pids) + "\n") ? 0 : 1;
}

}  // namespace pepita::runtime::cli
