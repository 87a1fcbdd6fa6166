#include "runtime/oci/seccomp_json.h"

#include <linux/seccomp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/syscall_filter_program.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {
namespace {

using Kind = SyscallAction::Kind;
using Operator = SyscallComparison::Operator;

constexpr std::uint64_t kErrnoMax = 4095;  // MAX_ERRNO, and SECCOMP_RET_DATA for Trace has more

template <typename T>
struct Named {
    std::string_view name;
    T value;
};

constexpr std::array kActions{
    Named<Kind>{.name = "SCMP_ACT_KILL", .value = Kind::KillThread},
    Named<Kind>{.name = "SCMP_ACT_KILL_THREAD", .value = Kind::KillThread},
    Named<Kind>{.name = "SCMP_ACT_KILL_PROCESS", .value = Kind::KillProcess},
    Named<Kind>{.name = "SCMP_ACT_TRAP", .value = Kind::Trap},
    Named<Kind>{.name = "SCMP_ACT_ERRNO", .value = Kind::Errno},
    Named<Kind>{.name = "SCMP_ACT_TRACE", .value = Kind::Trace},
    Named<Kind>{.name = "SCMP_ACT_ALLOW", .value = Kind::Allow},
    Named<Kind>{.name = "SCMP_ACT_LOG", .value = Kind::Log}};

constexpr std::array kOperators{
    Named<Operator>{.name = "SCMP_CMP_NE", .value = Operator::NotEqual},
    Named<Operator>{.name = "SCMP_CMP_LT", .value = Operator::Less},
    Named<Operator>{.name = "SCMP_CMP_LE", .value = Operator::LessOrEqual},
    Named<Operator>{.name = "SCMP_CMP_EQ", .value = Operator::Equal},
    Named<Operator>{.name = "SCMP_CMP_GE", .value = Operator::GreaterOrEqual},
    Named<Operator>{.name = "SCMP_CMP_GT", .value = Operator::Greater},
    Named<Operator>{.name = "SCMP_CMP_MASKED_EQ", .value = Operator::MaskedEqual}};

constexpr std::array kFlags{
    Named<std::uint32_t>{.name = "SECCOMP_FILTER_FLAG_TSYNC", .value = SECCOMP_FILTER_FLAG_TSYNC},
    Named<std::uint32_t>{.name = "SECCOMP_FILTER_FLAG_LOG", .value = SECCOMP_FILTER_FLAG_LOG},
    Named<std::uint32_t>{.name = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                         .value = SECCOMP_FILTER_FLAG_SPEC_ALLOW}};

template <typename T, std::size_t N>
Result<T> read_name(const Node& node, const std::array<Named<T>, N>& names, const char* what) {
    const std::string text = TRY(node.text());
    const auto* const known = std::ranges::find(names, text, &Named<T>::name);
    if (known == names.end()) {
        return node.invalid(std::string("no such ") + what + ": " + in_quotes(text));
    }
    return known->value;
}

Result<SyscallAction> read_action(const Object& object, std::string_view name,
                                  std::string_view errno_name) {
    const Node node = TRY(object.require(name));
    if (TRY(node.text()) == "SCMP_ACT_NOTIFY") {
        return node.unsupported(
            "SCMP_ACT_NOTIFY is not supported: its listener would be a process of the host");
    }
    SyscallAction action{.kind = TRY(read_name(node, kActions, "action"))};
    const bool has_value = action.kind == Kind::Errno || action.kind == Kind::Trace;
    if (const auto value = object.find(errno_name)) {
        action.value = static_cast<std::uint16_t>(TRY(value->natural(kErrnoMax)));
        if (!has_value && action.value != 0) {
            return value->invalid("the action has no errno");
        }
    } else if (has_value) {
        action.value = EPERM;  // config-linux.md
    }
    return action;
}

Result<SyscallComparison> read_comparison(const Node& node) {
    const Object object = TRY(node.object());
    SyscallComparison out;
    out.argument = static_cast<unsigned>(
        TRY(TRY(object.require("index")).natural(SyscallComparison::kArgumentsMax - 1)));
    out.value = TRY(TRY(object.require("value")).natural(UINT64_MAX));
    if (const auto two = object.find("valueTwo")) {
        out.value_two = TRY(two->natural(UINT64_MAX));
    }
    out.comparison = TRY(read_name(TRY(object.require("op")), kOperators, "operator"));
    return out;
}

Result<SyscallProfile::Rule> read_rule(const Node& node) {
    const Object object = TRY(node.object());
    SyscallProfile::Rule rule;
    const Node names = TRY(object.require("names"));
    rule.names = TRY(names.texts());
    if (rule.names.empty()) {
        return names.invalid("must name a system call");
    }
    rule.action = TRY(read_action(object, "action", "errnoRet"));
    if (const auto args = object.find("args")) {
        for (const Node& element : TRY(args->elements())) {
            rule.comparisons.push_back(TRY(read_comparison(element)));
        }
    }
    return rule;
}

// "SCMP_ARCH_X86_64" is libseccomp's "x86_64". Those that the guest does not run need no filter.
Result<std::string> read_architecture(const Node& node) {
    constexpr std::string_view prefix = "SCMP_ARCH_";
    const std::string text = TRY(node.text());
    std::string name;
    if (text.starts_with(prefix)) {
        name = text.substr(prefix.size());
        std::ranges::transform(name, name.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
    }
    if (name.empty() || !is_syscall_architecture(name)) {
        return node.invalid("no such architecture: " + in_quotes(text));
    }
    return name;
}

// As runc does, absent is not the same as empty.
Result<std::uint32_t> read_flags(const Object& object) {
    const auto flags = object.find("flags");
    if (!flags) {
        return SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    }
    std::uint32_t out = 0;
    for (const Node& element : TRY(flags->elements())) {
        if (TRY(element.text()) == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") {
            return element.unsupported("it is of SCMP_ACT_NOTIFY, which is not supported");
        }
        out |= TRY(read_name(element, kFlags, "flag"));
    }
    return out;
}

template <typename T, std::size_t N>
std::vector<std::string_view> names_of(const std::array<Named<T>, N>& names) {
    std::vector<std::string_view> out;
    out.reserve(N);
    for (const Named<T>& one : names) {
        out.push_back(one.name);
    }
    return out;
}

}  // namespace

std::vector<std::string_view> seccomp_actions() { return names_of(kActions); }
std::vector<std::string_view> seccomp_operators() { return names_of(kOperators); }
std::vector<std::string_view> seccomp_flags() { return names_of(kFlags); }

Result<SeccompSpec> read_seccomp(const Node& node) {
    const Object object = TRY(node.object());
    TRY(object.refuse({"listenerPath", "listenerMetadata"}));
    SyscallProfile profile;
    profile.default_action = TRY(read_action(object, "defaultAction", "defaultErrnoRet"));
    if (const auto architectures = object.find("architectures")) {
        for (const Node& element : TRY(architectures->elements())) {
            profile.architectures.push_back(TRY(read_architecture(element)));
        }
    }
    SeccompSpec out{.program = {}, .flags = TRY(read_flags(object))};
    if (const auto rules = object.find("syscalls")) {
        for (const Node& element : TRY(rules->elements())) {
            profile.rules.push_back(TRY(read_rule(element)));
        }
    }
    Result<std::string> program = compile(profile);
    if (!program) {
        return node.invalid(program.error().message());
    }
    out.program = *std::move(program);
    return out;
}

}  // namespace pepita::runtime::oci
