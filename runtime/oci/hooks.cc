#include "runtime/hooks.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"
#include "runtime/state.h"

namespace pepita::runtime::oci {
namespace {

using std::chrono::steady_clock;

// In memory, so that neither side waits for the other.
Result<Fd> memory_file(std::string_view text) {
    Fd file(::memfd_create("pepita-hook", MFD_CLOEXEC));
    if (!file) {
        return Error::from_errno(errno, "memfd_create");
    }
    TRY(write_all(file.ref(), text, "the state"));
    if (::lseek(file.ref().number(), 0, SEEK_SET) != 0) {
        return Error::from_errno(errno, "lseek");
    }
    return file;
}

std::string first_line(FdRef output) {
    std::array<char, 256> text{};
    const ssize_t got = ::pread(output.number(), text.data(), text.size(), 0);
    const std::string_view all(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    const std::string_view line = all.substr(0, all.find('\n'));
    return line.empty() ? "" : ": " + in_quotes(line);
}

// False where its time is up.
bool wait_for_end(FdRef pidfd, std::optional<std::uint64_t> timeout_seconds) {
    const auto start = steady_clock::now();
    while (true) {
        int wait_ms = -1;
        if (timeout_seconds) {
            const auto left = start + std::chrono::seconds(*timeout_seconds) - steady_clock::now();
            const auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
            if (left_ms <= 0) {
                return false;
            }
            wait_ms = static_cast<int>(std::min<std::int64_t>(left_ms, INT32_MAX));
        }
        pollfd wanted{.fd = pidfd.number(), .events = POLLIN, .revents = 0};
        if (::poll(&wanted, 1, wait_ms) > 0) {
            return true;
        }
    }
}

Result<void> run_hook(const HookSpec& hook, const std::string& state) {
    const Fd input = TRY(memory_file(state));
    const Fd output = TRY(memory_file(""));
    SpawnOptions options;
    options.path = hook.path;
    options.arguments = hook.args.empty() ? std::vector{hook.path} : hook.args;
    options.environment = hook.env;
    options.fds = {{.fd = input.ref(), .number = 0},
                   {.fd = output.ref(), .number = 1},
                   {.fd = output.ref(), .number = 2}};
    Child child = TRY(spawn(std::move(options)));
    if (!wait_for_end(child.pidfd(), hook.timeout_seconds)) {
        child.send_signal(SIGKILL);
        (void)child.reap();
        return Error(
            Code::DeadlineExceeded,
            "it has not ended within " + std::to_string(hook.timeout_seconds.value_or(0)) + " s");
    }
    if (const ChildExit exit = child.reap(); exit != ChildExit()) {
        return Error(Code::FailedPrecondition, to_string(exit) + first_line(output.ref()));
    }
    return {};
}

}  // namespace

std::string hook_state(const Bundle& bundle, std::string_view id, ContainerStatus status,
                       std::uint32_t pid) {
    return dump(OrderedJson{{"pid", pid},
                            {"ociVersion", bundle.oci_version},
                            {"id", id},
                            {"status", to_string(status)},
                            {"bundle", bundle.directory},
                            {"annotations", bundle.annotations}});
}

Result<void> run_host_hooks(std::string_view kind, const std::vector<HookSpec>& hooks,
                            const std::string& state, OnHookFailure on_failure) {
    std::optional<Error> first;
    for (const HookSpec& hook : hooks) {
        Result<void> ran = run_hook(hook, state);
        if (ran) {
            continue;
        }
        if (!first) {
            first =
                std::move(ran).error().within(std::string(kind) + " hook " + in_quotes(hook.path));
        }
        if (on_failure == OnHookFailure::Stop) {
            break;
        }
    }
    return first ? Result<void>(*std::move(first)) : Result<void>();
}

}  // namespace pepita::runtime::oci

namespace pepita::runtime {

void set_container_id(Bundle& bundle, std::string id) {
    InnerHooks& inner = bundle.container.hooks;
    if (!inner.create_container.empty() || !inner.start_container.empty()) {
        inner.create_state = oci::hook_state(bundle, id, ContainerStatus::Creating, 0);
        inner.start_state = oci::hook_state(bundle, id, ContainerStatus::Created, 0);
    }
    bundle.container.id = std::move(id);
}

}  // namespace pepita::runtime
