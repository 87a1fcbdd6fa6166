#include "runtime/guest/pod_limits.h"

#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::guest {
namespace {

constexpr std::uint64_t kDefaultPeriodUs = 100'000;
constexpr std::uint64_t kCpusMax = 64;  // CONFIG_NR_CPUS of our kernel

/// "1" or "0"; NotFound where there is no such CPU.
Result<void> set_online(const std::string& file, const char* value) {
    const std::string now = TRY(read_file(file));
    return now.starts_with(value) ? Result<void>() : write_file(file, value);
}

/// The first has no file: it is always online.
Result<void> set_cpus_online(std::uint64_t count, const std::string& cpus) {
    for (std::uint64_t number = 1; number < kCpusMax; ++number) {
        Result<void> set = set_online(cpus + "/cpu" + std::to_string(number) + "/online",
                                      number < count ? "1" : "0");
        if (!set && set.error().code() == Code::NotFound) {
            return number >= count
                       ? Result<void>()
                       : Error(Code::OutOfRange, std::to_string(count) + " CPUs: the machine has " +
                                                     std::to_string(number));
        }
        TRY(std::move(set), "CPU ", std::to_string(number));
    }
    return {};
}

}  // namespace

Result<void> limit_pod(const ResourcesSpec& limits, const std::string& cgroup,
                       const std::string& sys) {
    if (const std::int64_t memory = limits.memory_limit_bytes.value_or(0); memory > 0) {
        TRY(write_file(cgroup + "/memory.max", std::to_string(memory)), "limit the pod's memory");
    }
    if (const std::int64_t quota = limits.cpu_quota_us.value_or(0); quota > 0) {
        const std::uint64_t period = limits.cpu_period_us.value_or(0);
        const std::uint64_t by = period == 0 ? kDefaultPeriodUs : period;
        TRY(set_cpus_online((static_cast<std::uint64_t>(quota) - 1) / by + 1,
                            sys + "/devices/system/cpu"));
    }
    return {};
}

}  // namespace pepita::runtime::guest
