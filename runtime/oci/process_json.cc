#include "runtime/oci/process_json.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/oci/names.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {
namespace {

constexpr std::uint64_t kIdMax = 0xffff'fffe;  // -1 means "leave it" to the kernel
constexpr std::uint64_t kConsoleMax = 0xffff;  // struct winsize has 16 bits

struct NamedNumber {
    std::string_view name;
    std::uint32_t number;
};
constexpr std::array kPolicies{NamedNumber{.name = "SCHED_OTHER", .number = SCHED_OTHER},
                               NamedNumber{.name = "SCHED_FIFO", .number = SCHED_FIFO},
                               NamedNumber{.name = "SCHED_RR", .number = SCHED_RR},
                               NamedNumber{.name = "SCHED_BATCH", .number = SCHED_BATCH},
                               NamedNumber{.name = "SCHED_IDLE", .number = SCHED_IDLE},
                               NamedNumber{.name = "SCHED_DEADLINE", .number = 6}};
constexpr std::array kSchedulerFlags{
    NamedNumber{.name = "SCHED_FLAG_RESET_ON_FORK", .number = 0x01},
    NamedNumber{.name = "SCHED_FLAG_RECLAIM", .number = 0x02},
    NamedNumber{.name = "SCHED_FLAG_DL_OVERRUN", .number = 0x04},
    NamedNumber{.name = "SCHED_FLAG_KEEP_POLICY", .number = 0x08},
    NamedNumber{.name = "SCHED_FLAG_KEEP_PARAMS", .number = 0x10},
    NamedNumber{.name = "SCHED_FLAG_UTIL_CLAMP_MIN", .number = 0x20},
    NamedNumber{.name = "SCHED_FLAG_UTIL_CLAMP_MAX", .number = 0x40}};
constexpr std::array kIoClasses{NamedNumber{.name = "IOPRIO_CLASS_RT", .number = 1},
                                NamedNumber{.name = "IOPRIO_CLASS_BE", .number = 2},
                                NamedNumber{.name = "IOPRIO_CLASS_IDLE", .number = 3}};

Result<std::uint32_t> read_named(const Node& node, std::span<const NamedNumber> names) {
    const std::string text = TRY(node.text());
    const auto known = std::ranges::find(names, text, &NamedNumber::name);
    if (known == names.end()) {
        return node.invalid("no such name: " + in_quotes(text));
    }
    return known->number;
}

std::string_view name_of(std::uint32_t number, std::span<const NamedNumber> names) {
    const auto known = std::ranges::find(names, number, &NamedNumber::number);
    return known == names.end() ? "" : known->name;
}

Result<std::uint32_t> read_id(const Node& node) {
    return static_cast<std::uint32_t>(TRY(node.natural(kIdMax)));
}

Result<std::uint32_t> read_id_or_root(const Object& user, std::string_view name) {
    const auto node = user.find(name);
    return node ? read_id(*node) : 0;
}

Result<UserLookup> read_lookup(const Node& node) {
    const Object object = TRY(node.object());
    const Node user = TRY(object.require("user"));
    UserLookup lookup{.user = TRY(user.text()),
                      .group = TRY(object.text_or_empty("group")),
                      .adds_groups = TRY(object.boolean_or_false("addsGroups"))};
    if (lookup.user.empty()) {
        return user.invalid("must not be empty");
    }
    for (const std::string* name : {&lookup.user, &lookup.group}) {
        if (name->size() > UserLookup::kNameMax ||
            name->find_first_of(":,\n") != std::string::npos) {
            return node.invalid(in_quotes(*name) + " is no name of a user or a group");
        }
    }
    return lookup;
}

Result<void> read_user(const Object& user, ProcessSpec& process) {
    // "username" is of Windows: config.md has it ignored here, as runc does.
    if (const auto lookup = user.find(kUserLookupMember)) {
        process.user = TRY(read_lookup(*lookup));
    }
    process.uid = TRY(read_id_or_root(user, "uid"));
    process.gid = TRY(read_id_or_root(user, "gid"));
    if (const auto mask = user.find("umask")) {
        process.umask = static_cast<std::uint32_t>(TRY(mask->natural(0777)));
    }
    if (const auto groups = user.find("additionalGids")) {
        const std::vector<Node> elements = TRY(groups->elements());
        if (elements.size() > UserIds::kGroupsMax) {
            return groups->invalid("must have at most " + std::to_string(UserIds::kGroupsMax) +
                                   " groups");
        }
        for (const Node& group : elements) {
            process.additional_gids.push_back(TRY(read_id(group)));
        }
    }
    return {};
}

Result<void> read_args(const Object& object, ProcessSpec& process) {
    TRY(object.refuse({"commandLine"}));  // Windows
    const Node args = TRY(object.require("args"));
    process.args = TRY(args.texts());
    if (process.args.empty() || process.args.front().empty()) {
        return args.invalid("must begin with the name of a program");
    }
    return {};
}

Result<void> read_env(const Object& object, ProcessSpec& process) {
    const auto env = object.find("env");
    if (!env) {
        return {};
    }
    for (const Node& element : TRY(env->elements())) {
        std::string entry = TRY(element.text());
        if (entry.find('=', 1) == std::string::npos || entry.front() == '=') {
            return element.invalid("must be KEY=VALUE");
        }
        set_variable(process.env, std::move(entry));
    }
    return {};
}

Result<std::uint64_t> read_capability_set(const Object& sets, std::string_view name) {
    const auto set = sets.find(name);
    std::uint64_t bits = 0;
    if (!set) {
        return bits;
    }
    for (const Node& element : TRY(set->elements())) {
        const std::string capability = TRY(element.text());
        const auto number = capability_number(capability);
        if (!number) {
            return element.invalid("no such capability: " + in_quotes(capability));
        }
        bits |= std::uint64_t{1} << *number;
    }
    return bits;
}

Result<Capabilities> read_capabilities(const Object& sets) {
    return Capabilities{
        .bounding = TRY(read_capability_set(sets, "bounding")),
        .effective = TRY(read_capability_set(sets, "effective")),
        .inheritable = TRY(read_capability_set(sets, "inheritable")),
        .permitted = TRY(read_capability_set(sets, "permitted")),
        .ambient = TRY(read_capability_set(sets, "ambient")),
    };
}

Result<std::vector<Rlimit>> read_rlimits(const Node& node) {
    std::vector<Rlimit> out;
    std::uint32_t seen = 0;
    for (const Node& element : TRY(node.elements())) {
        const Object entry = TRY(element.object());
        const Node type = TRY(entry.require("type"));
        const std::string name = TRY(type.text());
        const auto resource = rlimit_number(name);
        if (!resource) {
            return type.invalid("no such limit: " + in_quotes(name));
        }
        if ((seen & (1U << *resource)) != 0) {
            return type.invalid(in_quotes(name) + " is there twice");
        }
        seen |= 1U << *resource;
        const Node soft = TRY(entry.require("soft"));
        const Node hard = TRY(entry.require("hard"));
        out.push_back({.resource = *resource,
                       .soft = TRY(soft.natural(UINT64_MAX)),
                       .hard = TRY(hard.natural(UINT64_MAX))});
        if (out.back().soft > out.back().hard) {
            return soft.invalid("must not be above 'hard'");
        }
    }
    return out;
}

Result<void> check_size(const Node& node, const ProcessSpec& process) {
    std::size_t size = 0;
    for (const std::vector<std::string>* strings : {&process.args, &process.env}) {
        for (const std::string& text : *strings) {
            size += text.size() + 1;
        }
    }
    if (size > ProcessSpec::kStringsBytesMax) {
        return node.invalid("arguments and environment have " + std::to_string(size) +
                            " bytes, at most " + std::to_string(ProcessSpec::kStringsBytesMax) +
                            " are supported");
    }
    return {};
}

Result<void> read_console(const Object& object, ProcessSpec& process) {
    process.terminal = TRY(object.boolean_or_false("terminal")) ? Terminal::Yes : Terminal::No;
    const auto size = object.find("consoleSize");
    if (!size) {
        return {};
    }
    const Object console = TRY(size->object());
    const std::uint64_t rows = TRY(TRY(console.require("height")).natural(kConsoleMax));
    const std::uint64_t columns = TRY(TRY(console.require("width")).natural(kConsoleMax));
    process.window = {.rows = static_cast<std::uint32_t>(rows),
                      .columns = static_cast<std::uint32_t>(columns)};
    return {};
}

Result<SchedulerSpec> read_scheduler(const Object& object) {
    SchedulerSpec out;
    out.policy = TRY(read_named(TRY(object.require("policy")), kPolicies));
    if (const auto nice = object.find("nice")) {
        out.nice = static_cast<std::int32_t>(TRY(nice->integer(-20, 19)));
    }
    if (const auto priority = object.find("priority")) {
        out.priority = static_cast<std::uint32_t>(TRY(priority->natural(99)));
    }
    if (const auto flags = object.find("flags")) {
        for (const Node& element : TRY(flags->elements())) {
            out.flags |= TRY(read_named(element, kSchedulerFlags));
        }
    }
    for (const auto& [name, into] :
         {std::pair("runtime", &out.runtime_ns), std::pair("deadline", &out.deadline_ns),
          std::pair("period", &out.period_ns)}) {
        if (const auto node = object.find(name)) {
            *into = TRY(node->natural(INT64_MAX));
        }
    }
    return out;
}

Result<IoPrioritySpec> read_io_priority(const Object& object) {
    IoPrioritySpec out;
    out.io_class = TRY(read_named(TRY(object.require("class")), kIoClasses));
    if (const auto priority = object.find("priority")) {
        out.priority = static_cast<std::uint32_t>(TRY(priority->natural(7)));
    }
    return out;
}

OrderedJson to_json(const SchedulerSpec& scheduler) {
    OrderedJson out{{"policy", name_of(scheduler.policy, kPolicies)},
                    {"nice", scheduler.nice},
                    {"priority", scheduler.priority},
                    {"flags", OrderedJson::array()},
                    {"runtime", scheduler.runtime_ns},
                    {"deadline", scheduler.deadline_ns},
                    {"period", scheduler.period_ns}};
    for (const auto& [name, flag] : kSchedulerFlags) {
        if ((scheduler.flags & flag) != 0) {
            out["flags"].push_back(name);
        }
    }
    return out;
}

OrderedJson names_of(std::uint64_t capabilities) {
    OrderedJson out = OrderedJson::array();
    for (std::uint32_t number = 0; number < 64; ++number) {
        const auto name = capability_name(number);
        if (name && (capabilities & (std::uint64_t{1} << number)) != 0) {
            out.emplace_back(*name);
        }
    }
    return out;
}

}  // namespace

Result<std::string> read_container_path(const Node& node) {
    std::string path = TRY(node.text());
    if (!path.starts_with('/')) {
        return node.invalid("must be an absolute path");
    }
    if (path.ends_with("/..") || path.contains("/../")) {
        return node.invalid("must not contain '..'");
    }
    return path;
}

Result<ProcessSpec> read_process(const Node& node) {
    const Object object = TRY(node.object());
    TRY(object.refuse({"execCPUAffinity"}));  // names CPUs of the host
    ProcessSpec process;
    TRY(read_console(object, process));
    TRY(read_user(TRY(object.object_or_empty("user")), process));
    TRY(read_args(object, process));
    TRY(read_env(object, process));
    TRY(check_size(node, process));
    const Node cwd = TRY(object.require("cwd"));
    process.cwd = TRY(cwd.text());
    if (!process.cwd.starts_with('/')) {
        return cwd.invalid("must be an absolute path");
    }
    if (const auto sets = object.find("capabilities")) {
        process.capabilities = TRY(read_capabilities(TRY(sets->object())));
    }
    if (const auto rlimits = object.find("rlimits")) {
        process.rlimits = TRY(read_rlimits(*rlimits));
    }
    process.no_new_privileges = TRY(object.boolean_or_false("noNewPrivileges"));
    if (const auto score = object.find("oomScoreAdj")) {
        process.oom_score_adj = static_cast<std::int32_t>(TRY(score->integer(-1000, 1000)));
    }
    process.apparmor_profile = TRY(object.text_or_empty("apparmorProfile"));
    process.selinux_label = TRY(object.text_or_empty("selinuxLabel"));
    if (const auto scheduler = object.find("scheduler")) {
        process.scheduler = TRY(read_scheduler(TRY(scheduler->object())));
    }
    if (const auto priority = object.find("ioPriority")) {
        process.io_priority = TRY(read_io_priority(TRY(priority->object())));
    }
    return process;
}

}  // namespace pepita::runtime::oci

namespace pepita::runtime {

std::span<const std::string_view> capability_names() { return oci::capability_names(); }

void set_variable(std::vector<std::string>& env, std::string entry) {
    const std::string_view name(entry.data(), entry.find('=') + 1);
    const auto before = std::ranges::find_if(
        env, [&](const std::string& other) { return other.starts_with(name); });
    if (before == env.end()) {
        env.push_back(std::move(entry));
    } else {
        *before = std::move(entry);
    }
}

Result<ProcessSpec> parse_process(std::string_view json) {
    const oci::Json document = TRY(oci::parse_json(json), "process");
    return oci::read_process(oci::Node(document, "process"));
}

std::string to_json(const ProcessSpec& process) {
    using oci::OrderedJson;
    OrderedJson out = {{"terminal", process.terminal == Terminal::Yes}};
    if (process.window != WindowSize()) {
        out["consoleSize"] = {{"height", process.window.rows}, {"width", process.window.columns}};
    }
    OrderedJson& user = out["user"] = {{"uid", process.uid}, {"gid", process.gid}};
    if (process.umask) {
        user["umask"] = *process.umask;
    }
    if (!process.additional_gids.empty()) {
        user["additionalGids"] = process.additional_gids;
    }
    if (process.user) {
        user[kUserLookupMember] = {{"user", process.user->user},
                                   {"group", process.user->group},
                                   {"addsGroups", process.user->adds_groups}};
    }
    out["args"] = process.args;
    out["env"] = process.env;
    out["cwd"] = process.cwd;
    if (process.capabilities) {
        out["capabilities"] = {{"bounding", oci::names_of(process.capabilities->bounding)},
                               {"effective", oci::names_of(process.capabilities->effective)},
                               {"inheritable", oci::names_of(process.capabilities->inheritable)},
                               {"permitted", oci::names_of(process.capabilities->permitted)},
                               {"ambient", oci::names_of(process.capabilities->ambient)}};
    }
    OrderedJson rlimits = OrderedJson::array();
    for (const Rlimit& limit : process.rlimits) {
        rlimits.push_back({{"type", oci::rlimit_name(limit.resource).value_or("")},
                           {"hard", limit.hard},
                           {"soft", limit.soft}});
    }
    out["rlimits"] = std::move(rlimits);
    out["noNewPrivileges"] = process.no_new_privileges;
    if (process.oom_score_adj) {
        out["oomScoreAdj"] = *process.oom_score_adj;
    }
    if (!process.apparmor_profile.empty()) {
        out["apparmorProfile"] = process.apparmor_profile;
    }
    if (!process.selinux_label.empty()) {
        out["selinuxLabel"] = process.selinux_label;
    }
    if (process.scheduler) {
        out["scheduler"] = oci::to_json(*process.scheduler);
    }
    if (process.io_priority) {
        out["ioPriority"] = {
            {"class", oci::name_of(process.io_priority->io_class, oci::kIoClasses)},
            {"priority", process.io_priority->priority}};
    }
    return oci::dump(out);
}

}  // namespace pepita::runtime
