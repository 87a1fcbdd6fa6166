#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
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
#include "kernel-abi/sys/hex.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/foreground.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/process_io.h"
#include "runtime/cli/report.h"
#include "runtime/cli/shim_link.h"
#include "runtime/cli/verbs.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/proxy.h"
#include "runtime/state.h"
#include "runtime/store.h"
#include "runtime/task_api.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{60};

std::string new_exec_id() {
    std::uint64_t number = 0;
    (void)::getrandom(&number, sizeof(number), 0);  // never short of 256 bytes
    return "exec-" + hex(number).substr(2);
}

/// As runc: ambient ones only where they can be inherited.
void add_capabilities(ProcessSpec& process, std::uint64_t more) {
    if (more == 0) {
        return;
    }
    Capabilities sets = process.capabilities.value_or(Capabilities());
    sets.bounding |= more;
    sets.effective |= more;
    sets.permitted |= more;
    sets.ambient |= more & sets.inheritable;
    process.capabilities = sets;
}

/// The process that the command line asks for: the container's own, but for what it says.
Result<ProcessSpec> make_process(const Command& command, const ContainerState& state) {
    if (!command.process_file.empty()) {
        ProcessSpec process = TRY(load_process(command.process_file), "option '--process'");
        process.terminal = command.tty ? Terminal::Yes : process.terminal;
        return process;
    }
    ProcessSpec process = TRY(load_bundle(state.bundle)).container.process;
    process.terminal = command.tty ? Terminal::Yes : Terminal::No;
    process.window = {};
    process.args = command.args;
    for (const std::string& entry : command.env) {
        set_variable(process.env, entry);
    }
    if (!command.cwd.empty()) {
        process.cwd = command.cwd;
    }
    if (command.user) {
        process.user.reset();
        process.uid = command.user->uid;
        process.gid = command.user->gid.value_or(process.gid);
    }
    process.additional_gids.insert(process.additional_gids.end(), command.additional_gids.begin(),
                                   command.additional_gids.end());
    add_capabilities(process, command.capabilities);
    process.no_new_privileges = process.no_new_privileges || command.no_new_privileges;
    // Arguments come from a shell, which promises nothing: hold them to the rules of a file.
    if (TRY(parse_process(to_json(process))) != process) {
        return Error(Code::InvalidArgument, "command and environment must be UTF-8");
    }
    return process;
}

/// One exec, from the question to the exit.
class Exec {
public:
    Exec(const Command& command, ShimLink& link, ProcessSpec process,
         std::vector<std::string> cgroups)
        : command_(command),
          link_(link),
          cgroups_(std::move(cgroups)),
          process_(std::move(process)),
          id_{.container = command.id, .exec = new_exec_id()} {}

    Result<int> perform(EventLoop& loop) {
        TRY(check_console(command_, process_.terminal, command_.detach));
        const auto foreground = TRY(Foreground::create(loop, id_, process_.terminal));
        foreground->attach(link_);
        std::optional<Proxy> proxy;
        TaskExec request{.id = id_, .process = process_, .io = {}};
        request.io = TRY(make_io(command_, process_.terminal));
        if (command_.detach || !command_.pid_file.empty() || !command_.pidfd_socket.empty()) {
            proxy = TRY(start_proxy(cgroups_));
            attach_proxy(request.io, *proxy);
        }
        TRY(link_.ask<void>([&](TaskClient& client,
                                auto done) { client.exec(std::move(request), std::move(done)); },
                            kDeadline));
        Result<int> status = start_and_wait(*foreground, proxy);
        if (proxy && command_.detach && status && *status == 0) {
            proxy->process.release();
        }
        return status;
    }

private:
    Result<int> start_and_wait(Foreground& foreground, const std::optional<Proxy>& proxy) {
        if (!command_.detach) {
            TRY(foreground.take_terminal());
        }
        foreground.starting();
        const TaskStarted started = TRY(link_.ask<TaskStarted>(
            [&](TaskClient& client, auto done) { client.start(id_, std::move(done)); }, kDeadline));
        if (auto failure = exec_failure(started, process_.args.front())) {
            report(command_, failure->message);
            remove();
            return failure->exit_status;
        }
        foreground.started();
        if (proxy) {
            TRY(announce_pid(command_, proxy->process));
        }
        if (command_.detach) {
            return 0;
        }
        auto exit = link_.ask<TaskExit>(
            [&](TaskClient& client, auto done) { client.wait(id_, std::move(done)); });
        if (!exit && link_.is_closed()) {
            return Error(Code::Unavailable, "the shim ended before the process did");
        }
        if (!exit) {
            return std::move(exit).error();
        }
        remove();
        return static_cast<int>(exit->exit_status);
    }

    /// Only memory of the shim's is at stake.
    void remove() {
        (void)link_
            .ask<TaskExit>(
                [&](TaskClient& client, auto done) { client.remove(id_, std::move(done)); },
                kDeadline)
            .has_value();
    }

    const Command& command_;
    ShimLink& link_;
    std::vector<std::string> cgroups_;  // of the container's pod, on the host
    ProcessSpec process_;
    ProcessId id_;
};

}  // namespace

Result<int> exec(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const auto store = TRY(oci::ContainerStore::open(command.root));
    const Fd directory = TRY(store.open_container(command.id));
    const std::unique_ptr<ShimLink> link = TRY(connect(*loop, directory.ref()));
    if (link == nullptr) {
        return Error(Code::FailedPrecondition, "container not running");
    }
    const ContainerState state = TRY(read_state(directory.ref()));
    return Exec(command, *link, TRY(make_process(command, state)), state.cgroups).perform(*loop);
}

}  // namespace pepita::runtime::cli
