#include "shim/containerd/command_line.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "storage/digest.h"

namespace pepita::shim::containerd {
namespace {

constexpr const char* kContainerdState = "/run/containerd";

struct Flag {
    std::string_view name;
    std::string CommandLine::* member;
};
constexpr auto kFlags =
    std::to_array<Flag>({{.name = "namespace", .member = &CommandLine::name_space},
                         {.name = "id", .member = &CommandLine::id},
                         {.name = "bundle", .member = &CommandLine::bundle},
                         {.name = "address", .member = &CommandLine::address},
                         {.name = "publish-binary", .member = &CommandLine::publish_binary}});

Error refuse(const std::string& what) { return {Code::InvalidArgument, what}; }

Result<void> read_verb(std::span<const std::string> rest, CommandLine& out) {
    if (rest.size() > 1) {
        return refuse("unexpected argument '" + rest[1] + "'");
    }
    if (rest.empty()) {
        return {};
    }
    if (rest[0] != "start" && rest[0] != "delete") {
        return refuse("unknown verb '" + rest[0] + "': must be start or delete");
    }
    out.verb = rest[0] == "start" ? CommandLine::Verb::Start : CommandLine::Verb::Delete;
    return {};
}

/// One flag at the front, dropped with its value.
Result<void> read_flag(std::span<const std::string>& rest, CommandLine& out) {
    std::string_view word = rest.front();
    rest = rest.subspan(1);
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    if (name == "v" || name == "info") {
        out.verb = name == "v" ? CommandLine::Verb::Version : CommandLine::Verb::Info;
        return {};
    }
    if (name == "debug") {
        return {};  // all that there is to log is logged anyway
    }
    const auto* const flag = std::ranges::find(kFlags, name, &Flag::name);
    if (flag == kFlags.end()) {
        return refuse("unknown flag '-" + std::string(name) + "'");
    }
    if (equals != std::string_view::npos) {
        out.*flag->member = word.substr(equals + 1);
        return {};
    }
    if (rest.empty()) {
        return refuse("flag '-" + std::string(name) + "' needs a value");
    }
    out.*flag->member = rest.front();
    rest = rest.subspan(1);
    return {};
}

}  // namespace

Result<CommandLine> parse_command_line(std::span<const std::string> arguments) {
    CommandLine out;
    while (!arguments.empty() && arguments.front().size() > 1 && arguments.front()[0] == '-') {
        TRY(read_flag(arguments, out));
    }
    if (out.verb == CommandLine::Verb::Version || out.verb == CommandLine::Verb::Info) {
        return out;
    }
    TRY(read_verb(arguments, out));
    TRY(runtime::check_container_id(out.name_space), "flag '-namespace'");
    TRY(runtime::check_container_id(out.id), "flag '-id'");
    return out;
}

Result<std::string> socket_path(const CommandLine& line, const std::string& id,
                                const std::string& directory) {
    const std::string name = line.address + "/" + line.name_space + "/" + id;
    const auto digest = TRY(storage::sha256(std::as_bytes(std::span(name))));
    return (directory.empty() ? kContainerdState : directory) + "/s/" + digest.hex();
}

std::string pods_root(const std::string& name_space) {
    return "/run/pepita/containerd/" + name_space;
}

}  // namespace pepita::shim::containerd
