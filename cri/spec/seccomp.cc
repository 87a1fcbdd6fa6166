#include "cri/spec/seccomp.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "cri/spec/member.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;
using runtime::oci::Json;
using runtime::oci::Node;
using runtime::oci::Object;
using runtime::oci::OrderedJson;

using Names = std::set<std::string>;

constexpr const char* kMember = "linux.security_context.seccomp";
constexpr std::string_view kArchitecture = "amd64";  // of all guests
constexpr std::string_view kSeccompArchitecture = "SCMP_ARCH_X86_64";
constexpr std::array<unsigned, 2> kOldestKernel{6, 1};  // of all guests

// "4.8": whether each guest's kernel is that new.
Result<bool> has_kernel(const Node& node) {
    const std::string text = TRY(node.text());
    std::array<unsigned, 2> wanted{};
    const char* at = text.data();
    const char* const end = at + text.size();
    for (unsigned& number : wanted) {
        const auto parsed = std::from_chars(at, end, number);
        if (parsed.ptr == at) {
            return node.invalid(in_quotes(text) + " is no version of a kernel");
        }
        at = std::min(parsed.ptr + 1, end);  // the dot
    }
    return kOldestKernel >= wanted;
}

struct Conditions {
    std::vector<std::string> capabilities;
    std::vector<std::string> architectures;
    std::optional<bool> has_kernel;
};

Result<Conditions> read_conditions(const Object& rule, std::string_view name) {
    const Object object = TRY(rule.object_or_empty(name));
    Conditions out{.capabilities = TRY(object.texts_or_empty("caps")),
                   .architectures = TRY(object.texts_or_empty("arches")),
                   .has_kernel = std::nullopt};
    if (const auto kernel = object.find("minKernel"); kernel && !kernel->asks_nothing()) {
        out.has_kernel = TRY(has_kernel(*kernel));
    }
    return out;
}

Result<bool> applies(const Object& rule, const Names& held) {
    const Conditions includes = TRY(read_conditions(rule, "includes"));
    const Conditions excludes = TRY(read_conditions(rule, "excludes"));
    const auto holds = [&held](const std::string& name) { return held.contains(name); };
    const auto is_ours = [](const std::string& name) { return name == kArchitecture; };
    const bool is_included =
        std::ranges::all_of(includes.capabilities, holds) &&
        (includes.architectures.empty() || std::ranges::any_of(includes.architectures, is_ours)) &&
        includes.has_kernel.value_or(true);
    return is_included && std::ranges::none_of(excludes.capabilities, holds) &&
           std::ranges::none_of(excludes.architectures, is_ours) &&
           !excludes.has_kernel.value_or(false);
}

// OCI's rule, without what a profile has beyond it.
Result<OrderedJson> rule_json(const Object& rule, const Json& json) {
    std::vector<std::string> names = TRY(rule.texts_or_empty("names"));
    if (std::string name = TRY(rule.text_or_empty("name")); !name.empty()) {
        names.push_back(std::move(name));
    }
    OrderedJson out{{"names", std::move(names)}};
    for (const char* member : {"action", "errnoRet", "args"}) {
        if (rule.find(member)) {
            out[member] = json[member];
        }
    }
    return out;
}

Result<OrderedJson> rules_json(const Object& profile, const Json& json, const Names& held) {
    OrderedJson out = OrderedJson::array();
    const auto rules = profile.find("syscalls");
    if (!rules) {
        return out;
    }
    const std::vector<Node> nodes = TRY(rules->elements());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        const Object rule = TRY(nodes[i].object());
        if (TRY(applies(rule, held))) {
            out.push_back(TRY(rule_json(rule, json["syscalls"][i])));
        }
    }
    return out;
}

Result<std::vector<std::string>> architectures_of(const Object& profile) {
    std::vector<std::string> out = TRY(profile.texts_or_empty("architectures"));
    const auto map = profile.find("archMap");
    for (const Node& element : map ? TRY(map->elements()) : std::vector<Node>()) {
        const Object entry = TRY(element.object());
        if (TRY(entry.text_or_empty("architecture")) == kSeccompArchitecture) {
            out.emplace_back(kSeccompArchitecture);
            for (std::string& other : TRY(entry.texts_or_empty("subArchitectures"))) {
                out.push_back(std::move(other));
            }
        }
    }
    return out;
}

// A device or a pipe must not make the server wait.
Result<OrderedJson> profile_in(const std::string& path, const Names& capabilities) {
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY));
    struct stat about{};
    if (::fstat(file.ref().number(), &about) != 0 || !S_ISREG(about.st_mode)) {
        return Error(Code::InvalidArgument, in_quotes(path) + " is no plain file");
    }
    const std::string text = TRY(read_all(file.ref(), runtime::oci::kJsonSizeMax, path));
    return TRY(profile_json(text, capabilities), in_quotes(path));
}

struct Profile {
    v1::SecurityProfile::ProfileType type = v1::SecurityProfile::Unconfined;
    std::string path;  // of Localhost
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
// Callers that are older than `seccomp` have one word for all of it.
Result<Profile> old_profile(const v1::LinuxContainerSecurityContext& security) {
    constexpr std::string_view localhost = "localhost/";
    const std::string& text = security.seccomp_profile_path();
    if (text.empty() || text == "unconfined") {
        return Profile();
    }
    if (text == "runtime/default" || text == "docker/default") {
        return Profile{.type = v1::SecurityProfile::RuntimeDefault, .path = ""};
    }
    if (text.starts_with(localhost)) {
        return Profile{.type = v1::SecurityProfile::Localhost,
                       .path = text.substr(localhost.size())};
    }
    return invalid(std::string(kMember) + "_profile_path", in_quotes(text) + " is no profile");
}
#pragma GCC diagnostic pop

Result<Profile> profile_of(const v1::LinuxContainerSecurityContext& security) {
    if (!security.has_seccomp()) {
        return old_profile(security);
    }
    return Profile{.type = security.seccomp().profile_type(),
                   .path = security.seccomp().localhost_ref()};
}

}  // namespace

Result<OrderedJson> profile_json(std::string_view profile, const Names& capabilities) {
    const Json document = TRY(runtime::oci::parse_json(profile));
    const Object object = TRY(Node(document, "").object());
    OrderedJson out = OrderedJson::object();
    for (const char* member :
         {"defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"}) {
        if (object.find(member)) {
            out[member] = document[member];
        }
    }
    out["architectures"] = TRY(architectures_of(object));
    out["syscalls"] = TRY(rules_json(object, document, capabilities));
    return out;
}

Result<std::optional<OrderedJson>> seccomp_json(const v1::LinuxContainerSecurityContext& security,
                                                const ContainerPlace& place,
                                                const Names& capabilities) {
    const Profile profile = TRY(profile_of(security));
    if (security.privileged() || profile.type == v1::SecurityProfile::Unconfined) {
        return std::nullopt;
    }
    if (profile.type == v1::SecurityProfile::RuntimeDefault) {
        return TRY(profile_in(place.default_seccomp, capabilities), kMember, ": RuntimeDefault");
    }
    if (profile.type != v1::SecurityProfile::Localhost) {
        return invalid(kMember, "no such type of a profile");
    }
    if (!profile.path.starts_with('/')) {
        return invalid(std::string(kMember) + ".localhost_ref",
                       in_quotes(profile.path) + " is not an absolute path");
    }
    TRY(check_text(std::string(kMember) + ".localhost_ref", profile.path));
    return TRY(profile_in(profile.path, capabilities), kMember, ".localhost_ref");
}

}  // namespace pepita::cri
