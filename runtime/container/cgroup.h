#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// How deep a container with a writable cgroup file system may nest its own.
inline constexpr int kCgroupDepthMax = 64;

/// A container's cgroup (v2): its limits and its device rules. What still runs in it is killed with
/// this object.
class Cgroup {
public:
    /// Makes `directory` and applies the limits of `resources`; one of 0 (pids, memory, quota,
    /// shares) is none, as runc has it. Errors: name the limit; Unsupported for one whose
    /// controller is missing.
    static Result<std::unique_ptr<Cgroup>> create(const std::string& directory,
                                                  const ResourcesSpec& resources);
    Cgroup(const Cgroup&) = delete;
    Cgroup& operator=(const Cgroup&) = delete;
    Cgroup(Cgroup&&) = delete;
    Cgroup& operator=(Cgroup&&) = delete;
    ~Cgroup();

    /// For clone3(2) with CLONE_INTO_CGROUP.
    FdRef fd() const { return fd_.ref(); }

    const std::string& directory() const { return directory_; }

    /// Once the root is mounted, whose disks a container may not open.
    Result<void> apply_device_rules(const std::vector<DeviceRule>& rules) const;

    /// To every process in it and in those below it.
    Result<void> signal_all(int signal) const;

    /// Sets the limits that `resources` has; device rules stay. Errors: as create().
    Result<void> update(const ResourcesSpec& resources) const { return limit(resources); }

    /// Begins to stop or to continue its processes; cgroup.events tells when they are. Linux 5.2.
    Result<void> set_frozen(bool frozen) const;

    /// Its cgroup.events: poll(2) notifies of changes (POLLPRI) since it was last read.
    Result<Fd> open_events() const;
    /// Whether no process is in it or below, by its cgroup.events.
    static bool is_empty(FdRef events);
    /// Whether every process in it stands still, by its cgroup.events.
    static bool is_frozen(FdRef events);

    /// Removes the directory with those that the container has made in it. Once it is empty.
    Result<void> remove();

    /// Of a group that another process has left: kills what is in it, waits for the end of that,
    /// a few seconds at most, and removes it.
    static Result<void> end(const std::string& directory);

private:
    Cgroup(std::string directory, Fd fd) : directory_(std::move(directory)), fd_(std::move(fd)) {}
    Result<void> limit(const ResourcesSpec& resources) const;
    Result<void> limit_memory(const ResourcesSpec& resources) const;
    Result<void> limit_cpu(const ResourcesSpec& resources) const;
    Result<void> set(const std::string& file, const std::string& value) const;

    std::string directory_;  // empty once removed
    Fd fd_;
};

/// Calls `visit` with each process of a cgroup and of those below it. One that cannot be read has
/// none.
void visit_processes(const std::string& directory, const std::function<void(pid_t)>& visit);

/// cgroup v2's cpu.weight (1 to 10000) for cpu.shares of v1 (2 to 262144), as runc converts it
/// since 1.3.2: 1024 is 100.
std::uint64_t cpu_weight(std::uint64_t shares);

/// io.weight (1 to 10000) for a weight of the specification (10 to 1000), as runc converts it.
std::uint64_t io_weight(std::uint64_t weight);

/// The value of cpu.max: "QUOTA PERIOD", with "max" for none.
std::string cpu_max(const ResourcesSpec& resources);

}  // namespace pepita::runtime::container
