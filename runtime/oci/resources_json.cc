#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/oci/linux_json.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {
namespace {

constexpr std::int64_t kMajorMax = 0xfff;  // 12 and 20 bits of the kernel's dev_t
constexpr std::int64_t kMinorMax = 0xf'ffff;
constexpr std::int64_t kAny = -1;
constexpr std::uint64_t kBlockIoWeightMin = 10;
constexpr std::uint64_t kBlockIoWeightMax = 1000;
constexpr std::string_view kFileLetters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

Result<std::optional<std::int64_t>> read_rule_number(const Object& object, std::string_view name,
                                                     std::int64_t max) {
    std::optional<std::int64_t> out;
    if (const auto node = object.find(name)) {
        const std::int64_t number = TRY(node->integer(kAny, max));
        if (number != kAny) {
            out = number;
        }
    }
    return out;
}

Result<DeviceRule> read_device_rule(const Node& node) {
    const Object object = TRY(node.object());
    DeviceRule rule;
    rule.access = "rwm";
    rule.allow = TRY(TRY(object.require("allow")).boolean());
    if (const auto type = object.find("type")) {
        const std::string text = TRY(type->text());
        if (text != "a" && text != "b" && text != "c") {
            return type->invalid("must be a, b or c");
        }
        rule.type = text.front();
    }
    rule.major = TRY(read_rule_number(object, "major", kMajorMax));
    rule.minor = TRY(read_rule_number(object, "minor", kMinorMax));
    if (const auto access = object.find("access")) {
        rule.access = TRY(access->text());
        if (rule.access.empty() || rule.access.find_first_not_of("rwm") != std::string::npos) {
            return access->invalid("must be made of r, w and m");
        }
    }
    return rule;
}

template <typename T>
Result<void> read_integer(const Object& object, std::string_view name, T min, T max,
                          std::optional<T>& into) {
    if (const auto node = object.find(name)) {
        if constexpr (std::is_signed_v<T>) {
            into = TRY(node->integer(min, max));
        } else {
            const std::uint64_t value = TRY(node->natural(max));
            if (value < min) {
                return node->invalid("must be at least " + std::to_string(min));
            }
            into = value;
        }
    }
    return {};
}

Result<void> read_memory(const Object& memory, ResourcesSpec& out) {
    // Of cgroup v1: "kernel" is deprecated, and swappiness belongs to the machine in version 2.
    TRY(memory.refuse({"kernel", "kernelTCP", "swappiness", "disableOOMKiller"}));
    TRY(read_integer<std::int64_t>(memory, "limit", -1, INT64_MAX, out.memory_limit_bytes));
    TRY(read_integer<std::int64_t>(memory, "swap", -1, INT64_MAX, out.memory_swap_bytes));
    TRY(read_integer<std::int64_t>(memory, "reservation", -1, INT64_MAX,
                                   out.memory_reservation_bytes));
    // It is the sum of both.
    const std::int64_t limit = out.memory_limit_bytes.value_or(0);
    const std::int64_t swap = out.memory_swap_bytes.value_or(0);
    if (limit > 0 && swap > 0 && swap < limit) {
        return TRY(memory.require("swap")).invalid("must not be below 'limit'");
    }
    return {};
}

Result<void> read_cpu(const Object& cpu, ResourcesSpec& out, Bundle& bundle) {
    // cgroup v2 has no limits for real-time groups.
    TRY(cpu.refuse({"realtimeRuntime", "realtimePeriod"}));
    TRY(read_integer<std::uint64_t>(cpu, "shares", 0, UINT64_MAX, out.cpu_shares));
    TRY(read_integer<std::int64_t>(cpu, "quota", -1, INT64_MAX, out.cpu_quota_us));
    TRY(read_integer<std::uint64_t>(cpu, "period", 0, UINT64_MAX, out.cpu_period_us));
    TRY(read_integer<std::uint64_t>(cpu, "burst", 0, UINT64_MAX, out.cpu_burst_us));
    TRY(read_integer<std::int64_t>(cpu, "idle", 0, 1, out.cpu_idle));
    bundle.cpuset_cpus = TRY(cpu.text_or_empty("cpus"));
    bundle.cpuset_mems = TRY(cpu.text_or_empty("mems"));
    return {};
}

Result<void> read_block_io(const Object& block, ResourcesSpec& out) {
    // They name devices of the host, and the guest has its own.
    TRY(block.refuse({"leafWeight", "weightDevice", "throttleReadBpsDevice",
                      "throttleWriteBpsDevice", "throttleReadIOPSDevice",
                      "throttleWriteIOPSDevice"}));
    if (const auto weight = block.find("weight"); weight && !weight->asks_nothing()) {
        out.block_io_weight = TRY(weight->natural(kBlockIoWeightMax));
        if (*out.block_io_weight == 0) {
            out.block_io_weight.reset();  // as runc: none
        } else if (*out.block_io_weight < kBlockIoWeightMin) {
            return weight->invalid("must be 10 to 1000");
        }
    }
    return {};
}

Result<void> read_hugepages(const Node& node, ResourcesSpec& out) {
    for (const Node& element : TRY(node.elements())) {
        const Object object = TRY(element.object());
        const Node size = TRY(object.require("pageSize"));
        HugepageLimit limit{.page_size = TRY(size.text()),
                            .limit_bytes = TRY(TRY(object.require("limit")).natural(UINT64_MAX))};
        // <number>KB, MB or GB: a part of a file's name.
        const std::size_t digits = limit.page_size.find_first_not_of("0123456789");
        const std::string unit = digits == std::string::npos ? "" : limit.page_size.substr(digits);
        if (digits == 0 || (unit != "KB" && unit != "MB" && unit != "GB")) {
            return size.invalid("must be a number with KB, MB or GB");
        }
        out.hugepage_limits.push_back(std::move(limit));
    }
    return {};
}

Result<void> read_unified(const Node& node, ResourcesSpec& out) {
    for (const auto& [name, value] : TRY(node.members())) {
        // "memory.high": a file of the container's cgroup and of no controller of none.
        if (name.find_first_not_of(kFileLetters) != std::string::npos || !name.contains('.') ||
            name.starts_with('.') || name.starts_with("cgroup.")) {
            return value.invalid("must be the name of a controller's file");
        }
        out.unified.push_back({.file = name, .value = TRY(value.text())});
    }
    return {};
}

}  // namespace

Result<ResourcesSpec> read_resources(const Object& resources, Bundle& bundle) {
    // "network" is of cgroup v1; the guest has no RDMA device.
    TRY(resources.refuse({"network", "rdma"}));
    ResourcesSpec out;
    if (const auto devices = resources.find("devices")) {
        for (const Node& element : TRY(devices->elements())) {
            out.devices.push_back(TRY(read_device_rule(element)));
        }
    }
    TRY(read_memory(TRY(resources.object_or_empty("memory")), out));
    TRY(read_cpu(TRY(resources.object_or_empty("cpu")), out, bundle));
    TRY(read_block_io(TRY(resources.object_or_empty("blockIO")), out));
    if (const auto pids = resources.find("pids")) {
        const Object object = TRY(pids->object());
        out.pids_limit = TRY(TRY(object.require("limit")).integer(-1, INT64_MAX));
    }
    if (const auto limits = resources.find("hugepageLimits")) {
        TRY(read_hugepages(*limits, out));
    }
    if (const auto unified = resources.find("unified")) {
        TRY(read_unified(*unified, out));
    }
    return out;
}

}  // namespace pepita::runtime::oci

namespace pepita::runtime {

Result<ResourcesSpec> parse_resources(std::string_view json) {
    const oci::Json document = TRY(oci::parse_json(json), "resources");
    const oci::Object object = TRY(oci::Node(document, "resources").object());
    Bundle cpuset;
    return oci::read_resources(object, cpuset);
}

}  // namespace pepita::runtime
