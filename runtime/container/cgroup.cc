#include "runtime/container/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/device_filter.h"

namespace pepita::runtime::container {
namespace {

constexpr std::uint64_t kSharesMin = 2;
constexpr std::uint64_t kSharesMax = 262'144;
constexpr std::uint64_t kWeightMin = 1;
constexpr std::uint64_t kWeightMax = 10'000;
constexpr std::uint64_t kDefaultPeriodUs = 100'000;
constexpr std::size_t kProcsMax = std::size_t{64} << 20U;  // beyond any pid_max
constexpr int kEndWaits = 50;
constexpr int kEndWaitMs = 100;
constexpr std::size_t kEventsMax = 256;  // "populated 1\nfrozen 0\n"

std::string limit_text(std::int64_t value) { return value < 0 ? "max" : std::to_string(value); }

Result<Fd> open_directory(FdRef parent, const std::string& name) {
    Fd fd(::openat(parent.number(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) {
        return Error::from_errno(errno, "open cgroup '" + name + "'");
    }
    return fd;
}

// The cgroups right below one.
std::vector<std::string> children_of(FdRef cgroup) {
    std::vector<std::string> names;
    Result<Fd> fd = open_directory(cgroup, ".");
    DIR* const opened = fd ? ::fdopendir(fd->ref().number()) : nullptr;
    if (opened == nullptr) {
        return names;
    }
    (void)fd->release();  // closedir(3) closes it
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(opened, ::closedir);
    while (const dirent* entry = ::readdir(entries.get())) {
        const std::string_view name = entry->d_name;
        if (entry->d_type == DT_DIR && name != "." && name != "..") {
            names.emplace_back(name);
        }
    }
    return names;
}

// The kernel holds the depth of both of these to kCgroupDepthMax; the check is for one that was
// made before the limit. What cannot be opened is gone.

void visit_below(FdRef cgroup, int depth, const std::function<void(pid_t)>& visit) {
    const Fd procs(::openat(cgroup.number(), "cgroup.procs", O_RDONLY | O_CLOEXEC));
    const std::string pids =
        procs ? read_all(procs.ref(), kProcsMax, "cgroup.procs").value_or("") : "";
    const char* at = pids.data();
    const char* const end = at + pids.size();
    while (at < end) {
        int pid = 0;
        const auto [next, error] = std::from_chars(at, end, pid);
        if (error != std::errc() || pid <= 0) {
            break;
        }
        visit(pid);
        at = next + 1;
    }
    for (const std::string& name : children_of(cgroup)) {
        const Result<Fd> child = open_directory(cgroup, name);
        if (child && depth < kCgroupDepthMax) {
            visit_below(child->ref(), depth + 1, visit);
        }
    }
}

void remove_children(FdRef cgroup, int depth) {
    for (const std::string& name : children_of(cgroup)) {
        const Result<Fd> child = open_directory(cgroup, name);
        if (child && depth < kCgroupDepthMax) {
            remove_children(child->ref(), depth + 1);
        }
        (void)::unlinkat(cgroup.number(), name.c_str(), AT_REMOVEDIR);
    }
}

bool has_event(FdRef events, std::string_view line) {
    std::array<char, kEventsMax> text{};
    const ssize_t got = ::pread(events.number(), text.data(), text.size(), 0);
    return got > 0 && std::string_view(text.data(), static_cast<std::size_t>(got)).contains(line);
}

}  // namespace

void visit_processes(const std::string& directory, const std::function<void(pid_t)>& visit) {
    const Fd cgroup(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (cgroup) {
        visit_below(cgroup.ref(), 0, visit);
    }
}

std::uint64_t cpu_weight(std::uint64_t shares) {
    // opencontainers/cgroups ConvertCPUSharesToCgroupV2Value: 2, 1024 and 262144 become 1, 100 and
    // 10000, and what is between lies on a parabola of the logarithms.
    if (shares <= kSharesMin) {
        return kWeightMin;
    }
    if (shares >= kSharesMax) {
        return kWeightMax;
    }
    const double log = std::log2(static_cast<double>(shares));
    const double exponent = (((log * log) + (125 * log)) / 612.0) - (7.0 / 34.0);
    return static_cast<std::uint64_t>(std::ceil(std::pow(10, exponent)));
}

std::uint64_t io_weight(std::uint64_t weight) {
    // opencontainers/cgroups ConvertBlkIOToIOWeightValue.
    return 1 + ((weight - 10) * 9999 / 990);
}

std::string cpu_max(const ResourcesSpec& resources) {
    const std::int64_t quota = resources.cpu_quota_us.value_or(-1);
    const std::uint64_t period = resources.cpu_period_us.value_or(0);
    return limit_text(quota == 0 ? -1 : quota) + " " +
           std::to_string(period == 0 ? kDefaultPeriodUs : period);
}

Result<std::unique_ptr<Cgroup>> Cgroup::create(const std::string& directory,
                                               const ResourcesSpec& resources) {
    bool is_made = ::mkdir(directory.c_str(), 0755) == 0;
    if (!is_made && errno == EEXIST) {
        // An empty one is what somebody who was killed has left.
        if (const Result<Fd> left = open_file(directory.c_str(), O_RDONLY | O_DIRECTORY)) {
            remove_children(left->ref(), 0);
        }
        (void)::rmdir(directory.c_str());
        is_made = ::mkdir(directory.c_str(), 0755) == 0;
    }
    if (!is_made) {
        return Error::from_errno(errno, "make cgroup '" + directory + "'");
    }
    Result<Fd> fd = open_file(directory.c_str(), O_RDONLY | O_DIRECTORY);
    if (!fd) {
        (void)::rmdir(directory.c_str());
        return std::move(fd).error();
    }
    std::unique_ptr<Cgroup> cgroup(new Cgroup(directory, *std::move(fd)));
    TRY(cgroup->set("cgroup.max.depth", std::to_string(kCgroupDepthMax)));
    TRY(cgroup->limit(resources));
    return cgroup;
}

Result<void> Cgroup::apply_device_rules(const std::vector<DeviceRule>& rules) const {
    TRY(attach_device_filter(fd(), rules), "device rules");
    return {};
}

Cgroup::~Cgroup() {
    if (!directory_.empty()) {
        (void)signal_all(SIGKILL).has_value();
        (void)remove().has_value();
    }
}

Result<void> Cgroup::set(const std::string& file, const std::string& value) const {
    Result<void> written = write_file(directory_ + "/" + file, value);
    if (!written && written.error().sys_errno() == ENOENT) {
        return Error(Code::Unsupported, "limit '" + file + "': the cgroup has no such controller");
    }
    return written;
}

Result<void> Cgroup::limit(const ResourcesSpec& resources) const {
    TRY(limit_memory(resources));
    if (const std::int64_t pids = resources.pids_limit.value_or(0); pids != 0) {
        TRY(set("pids.max", limit_text(pids)));
    }
    TRY(limit_cpu(resources));
    if (resources.block_io_weight) {
        // As runc: BFQ's own scale is that of the specification.
        Result<void> set_weight = set("io.bfq.weight", std::to_string(*resources.block_io_weight));
        if (!set_weight && set_weight.error().code() == Code::Unsupported) {
            set_weight = set("io.weight", std::to_string(io_weight(*resources.block_io_weight)));
        }
        TRY(std::move(set_weight));
    }
    for (const HugepageLimit& pages : resources.hugepage_limits) {
        TRY(set("hugetlb." + pages.page_size + ".max", std::to_string(pages.limit_bytes)));
    }
    for (const UnifiedLimit& unified : resources.unified) {
        TRY(set(unified.file, unified.value));
    }
    return {};
}

// As runc takes it: 0 is no limit.
Result<void> Cgroup::limit_memory(const ResourcesSpec& resources) const {
    const std::int64_t memory = resources.memory_limit_bytes.value_or(0);
    if (const std::int64_t both = resources.memory_swap_bytes.value_or(memory < 0 ? -1 : 0);
        both != 0) {
        if (both > 0 && memory == 0) {
            return Error(Code::InvalidArgument,
                         "a limit of memory and swap needs one of memory: it is their sum");
        }
        // The specification's is the sum with the memory, version 2's is of swap alone. A kernel
        // without the file has no swap, so any limit holds.
        const std::int64_t swap = both < 0 || memory < 0 ? -1 : both - memory;
        Result<void> limited = set("memory.swap.max", limit_text(swap));
        if (!limited && limited.error().code() != Code::Unsupported) {
            return limited;
        }
    }
    if (memory != 0) {
        TRY(set("memory.max", limit_text(memory)));
    }
    if (const std::int64_t low = resources.memory_reservation_bytes.value_or(0); low != 0) {
        TRY(set("memory.low", limit_text(low)));
    }
    return {};
}

Result<void> Cgroup::limit_cpu(const ResourcesSpec& resources) const {
    if (resources.cpu_idle) {
        TRY(set("cpu.idle", std::to_string(*resources.cpu_idle)));
    }
    // One that is idle has no weight.
    const bool is_idle = resources.cpu_idle.value_or(0) != 0;
    if (const std::uint64_t shares = resources.cpu_shares.value_or(0); shares != 0 && !is_idle) {
        TRY(set("cpu.weight", std::to_string(cpu_weight(shares))));
    }
    if (resources.cpu_quota_us.value_or(0) != 0 || resources.cpu_period_us.value_or(0) != 0) {
        TRY(set("cpu.max", cpu_max(resources)));
    }
    if (resources.cpu_burst_us) {
        TRY(set("cpu.max.burst", std::to_string(*resources.cpu_burst_us)));
    }
    return {};
}

Result<void> Cgroup::signal_all(int signal) const {
    // cgroup.kill (Linux 5.14) leaves no gap for a process that forks meanwhile.
    if (signal == SIGKILL && write_file(directory_ + "/cgroup.kill", "1")) {
        return {};
    }
    visit_below(fd_.ref(), 0, [signal](pid_t pid) { (void)::kill(pid, signal); });
    return {};
}

Result<Fd> Cgroup::open_events() const {
    return open_file((directory_ + "/cgroup.events").c_str(), O_RDONLY);
}

bool Cgroup::is_empty(FdRef events) { return !has_event(events, "populated 1"); }

bool Cgroup::is_frozen(FdRef events) { return has_event(events, "frozen 1"); }

Result<void> Cgroup::set_frozen(bool frozen) const {
    return write_file(directory_ + "/cgroup.freeze", frozen ? "1" : "0");
}

Result<void> Cgroup::end(const std::string& directory) {
    Cgroup left(directory, TRY(open_file(directory.c_str(), O_RDONLY | O_DIRECTORY)));
    TRY(left.signal_all(SIGKILL));
    const Fd events = TRY(left.open_events());
    for (int waits = 0; !is_empty(events.ref()) && waits < kEndWaits; ++waits) {
        pollfd changed{.fd = events.ref().number(), .events = POLLPRI, .revents = 0};
        (void)::poll(&changed, 1, kEndWaitMs);
    }
    return left.remove();
}

Result<void> Cgroup::remove() {
    if (directory_.empty()) {
        return {};
    }
    remove_children(fd_.ref(), 0);
    if (::rmdir(directory_.c_str()) != 0) {
        return Error::from_errno(errno, "remove cgroup '" + directory_ + "'");
    }
    directory_.clear();
    return {};
}

}  // namespace pepita::runtime::container
