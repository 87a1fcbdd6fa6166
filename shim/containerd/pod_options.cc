#include "shim/containerd/pod_options.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/json.h"
#include "runtime/rpc/options.h"

namespace pepita::shim::containerd {
namespace {

using runtime::Number;
using runtime::option;
using runtime::OptionRule;
using runtime::PodSpec;

// Who may set an option.
constexpr std::uint32_t kNode = 1;
constexpr std::uint32_t kPod = 2;

constexpr std::uint64_t kMebibyte = 1U << 20U;

// containerd pkg/cri/annotations.
constexpr const char* kMemory = "io.kubernetes.cri.sandbox-memory";
constexpr const char* kQuota = "io.kubernetes.cri.sandbox-cpu-quota";
constexpr const char* kPeriod = "io.kubernetes.cri.sandbox-cpu-period";

struct AbsolutePath {
    static Result<void> parse(std::string& into, std::string_view text) {
        if (!text.starts_with('/')) {
            return runtime::usage_error("must be an absolute path");
        }
        into = text;
        return {};
    }
    static void print(const std::string& from, std::vector<std::string>& values) {
        values.push_back(from);
    }
};

struct Isolation {
    static Result<void> parse(runtime::IsolationChoice& into, std::string_view text) {
        const auto choice = runtime::isolation_choice(text);
        if (!choice) {
            return runtime::usage_error("must be kvm, tcg or auto");
        }
        into = *choice;
        return {};
    }
    static void print(runtime::IsolationChoice /*from*/, std::vector<std::string>& /*values*/) {}
};

constexpr auto kRules = std::to_array<OptionRule<PodSpec>>({
    option<&PodSpec::data, AbsolutePath>({.name = "data", .verbs = kNode}),
    option<&PodSpec::vmm, AbsolutePath>({.name = "vmm", .verbs = kNode}),
    option<&PodSpec::qemu, AbsolutePath>({.name = "qemu", .verbs = kNode}),
    option<&PodSpec::guest_console, AbsolutePath>({.name = "guest-console", .verbs = kNode}),
    option<&PodSpec::isolation, Isolation>({.name = "isolation", .verbs = kNode}),
    option<&PodSpec::memory_mib, Number<PodSpec::kMemoryMibMin, PodSpec::kMemoryMibMax>>(
        {.name = "memory-mib", .verbs = kNode | kPod}),
    option<&PodSpec::vcpus, Number<PodSpec::kVcpusMin, PodSpec::kVcpusMax>>(
        {.name = "vcpus", .verbs = kNode | kPod}),
    option<&PodSpec::memory_max_mib, Number<PodSpec::kMemoryMibMin, PodSpec::kMemoryMibMax>>(
        {.name = "memory-max-mib", .verbs = kNode | kPod}),
    option<&PodSpec::vcpus_max, Number<PodSpec::kVcpusMin, PodSpec::kVcpusMax>>(
        {.name = "vcpus-max", .verbs = kNode | kPod}),
    option<&PodSpec::boot_deadline,
           Number<PodSpec::kBootDeadlineMin.count(), PodSpec::kBootDeadlineMax.count()>>(
        {.name = "boot-deadline-s", .verbs = kNode | kPod}),
});

Result<void> apply(std::uint32_t by, std::string_view name, std::string_view value, PodSpec& spec) {
    const auto* const rule = std::ranges::find(kRules, name, &OptionRule<PodSpec>::name);
    if (rule == kRules.end() || (rule->verbs & by) == 0) {
        return Error(Code::InvalidArgument,
                     by == kNode ? "no such option" : "no option that a pod may set");
    }
    return rule->apply(spec, value);
}

/// A whole number above 0 that containerd has written; 0 where there is none.
std::uint64_t number_of(const std::map<std::string, std::string>& annotations, const char* name) {
    const auto found = annotations.find(name);
    return found == annotations.end()
               ? 0
               : runtime::parse_number(found->second, 1, UINT64_MAX >> 1U).value_or(0);
}

}  // namespace

Result<void> apply_config(std::string_view json, PodSpec& spec) {
    const runtime::oci::Json value = TRY(runtime::oci::parse_json(json));
    for (const auto& [name, member] : TRY(runtime::oci::Node(value, "").members())) {
        std::string text;
        if (Result<std::string> word = member.text()) {
            text = *std::move(word);
        } else if (const auto number = member.natural(UINT64_MAX >> 1U)) {
            text = std::to_string(*number);
        } else {
            return member.invalid("must be a text or a whole number");
        }
        TRY(apply(kNode, name, text, spec), "'", name, "'");
    }
    return {};
}

Result<void> apply_annotations(const std::map<std::string, std::string>& annotations,
                               PodSpec& spec) {
    if (const std::uint64_t bytes = number_of(annotations, kMemory); bytes != 0) {
        spec.memory_mib = std::clamp((bytes + kMebibyte - 1) / kMebibyte, PodSpec::kMemoryMibMin,
                                     PodSpec::kMemoryMibMax);
        spec.is_sized = true;
    }
    const std::uint64_t quota = number_of(annotations, kQuota);
    const std::uint64_t period = number_of(annotations, kPeriod);
    if (quota != 0 && period != 0) {
        spec.vcpus =
            std::clamp((quota + period - 1) / period, PodSpec::kVcpusMin, PodSpec::kVcpusMax);
    }
    for (const auto& [key, value] : annotations) {
        if (key.starts_with(kAnnotationPrefix)) {
            TRY(apply(kPod, std::string_view(key).substr(kAnnotationPrefix.size()), value, spec),
                "annotation '", key, "'");
        }
    }
    return {};
}

}  // namespace pepita::shim::containerd
