#include "runtime/container/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/device_filter.h"
#include "runtime/container/files.h"

namespace pepita::runtime::container {
namespace {

constexpr std::uint64_t kSharesMin = 2;
constexpr std::uint64_t kSharesMax = 262'144;
constexpr std::uint64_t kDefaultPeriodUs = 100'000;
constexpr std::chrono::seconds kEmptyDeadline{5};

std::string limit_text(std::int64_t value) { return value < 0 ? "max" : std::to_string(value); }

}  // namespace

std::uint64_t cpu_weight(std::uint64_t shares) {
    // opencontainers/cgroups ConvertCPUSharesToCgroupV2Value: [2, 262144] onto [1, 10000].
    const std::uint64_t inside = std::clamp(shares, kSharesMin, kSharesMax);
    return 1 + ((inside - kSharesMin) * 9999 / (kSharesMax - kSharesMin));
}

Result<std::unique_ptr<Cgroup>> Cgroup::create(const std::string& directory,
                                               const ResourcesSpec& resources) {
    if (::mkdir(directory.c_str(), 0755) != 0) {
        return Error::from_errno(errno, "make cgroup '" + directory + "'");
    }
    Fd fd = TRY(open_file(directory.c_str(), O_RDONLY | O_DIRECTORY));
    std::unique_ptr<Cgroup> cgroup(new Cgroup(directory, std::move(fd)));
    TRY(cgroup->limit(resources));
    TRY(attach_device_filter(cgroup->fd(), resources.devices), "device rules");
    return cgroup;
}

Cgroup::~Cgroup() { (void)remove().has_value(); }

Result<void> Cgroup::set(const std::string& file, const std::string& value) const {
    Result<void> written = write_file(directory_ + "/" + file, value);
    if (!written && written.error().sys_errno() == ENOENT) {
        return Error(Code::Unsupported, "limit '" + file + "': the kernel has no such controller");
    }
    return written;
}

Result<void> Cgroup::limit(const ResourcesSpec& resources) const {
    if (resources.memory_limit_bytes) {
        TRY(set("memory.max", limit_text(*resources.memory_limit_bytes)));
    }
    if (resources.pids_limit) {
        TRY(set("pids.max", limit_text(*resources.pids_limit)));
    }
    if (resources.cpu_shares && *resources.cpu_shares != 0) {
        TRY(set("cpu.weight", std::to_string(cpu_weight(*resources.cpu_shares))));
    }
    if (resources.cpu_quota_us || resources.cpu_period_us) {
        TRY(set("cpu.max", limit_text(resources.cpu_quota_us.value_or(-1)) + " " +
                               std::to_string(resources.cpu_period_us.value_or(kDefaultPeriodUs))));
    }
    return {};
}

Result<void> Cgroup::signal_all(int signal) const {
    if (signal == SIGKILL && write_file(directory_ + "/cgroup.kill", "1")) {
        return {};
    }
    const std::string pids = TRY(read_file(directory_ + "/cgroup.procs"));
    const char* at = pids.data();
    const char* const end = at + pids.size();
    while (at < end) {
        int pid = 0;
        const auto [next, error] = std::from_chars(at, end, pid);
        if (error != std::errc() || pid <= 0) {
            break;
        }
        (void)::kill(pid, signal);
        at = next + 1;
    }
    return {};
}

Result<void> Cgroup::wait_until_empty() const {
    const std::string path = directory_ + "/cgroup.events";
    const Fd events = TRY(open_file(path.c_str(), O_RDONLY));
    const auto deadline = std::chrono::steady_clock::now() + kEmptyDeadline;
    while (TRY(read_file(path)).find("populated 1") != std::string::npos) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) {
            return Error(Code::DeadlineExceeded, "cgroup '" + directory_ + "' is still in use");
        }
        char byte = 0;
        (void)!::pread(events.ref().number(), &byte, 1, 0);  // the file is told of changes after it
        pollfd changed{.fd = events.ref().number(), .events = POLLPRI, .revents = 0};
        (void)::poll(&changed, 1, static_cast<int>(left.count()));
    }
    return {};
}

Result<void> Cgroup::remove() {
    if (directory_.empty()) {
        return {};
    }
    TRY(signal_all(SIGKILL));
    TRY(wait_until_empty());
    if (::rmdir(directory_.c_str()) != 0) {
        return Error::from_errno(errno, "remove cgroup '" + directory_ + "'");
    }
    directory_.clear();
    return {};
}

}  // namespace pepita::runtime::container
