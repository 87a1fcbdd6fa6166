#include "cri/spec/capabilities.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "cri/spec/member.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;
using runtime::oci::OrderedJson;

using Names = std::set<std::string>;
using List = std::remove_cvref_t<decltype(v1::Capability().add_capabilities())>;

constexpr std::string_view kAll = "ALL";

// What containerd and Docker give a container.
const Names& usual() {
    static const Names names{
        "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FOWNER",           "CAP_FSETID",
        "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_NET_BIND_SERVICE", "CAP_SETFCAP",
        "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",       "CAP_SYS_CHROOT"};
    return names;
}

Names all() {
    const auto names = runtime::capability_names();
    return {names.begin(), names.end()};
}

/// What "all" is where the container will be.
Names all_of(const ContainerPlace& place) {
    const auto names = runtime::capability_names();
    Names out;
    for (std::size_t number = 0; number < names.size(); ++number) {
        if ((place.capabilities >> number & 1U) != 0) {
            out.emplace(names[number]);
        }
    }
    return out;
}

// CRI has them without "CAP_", and some callers with it.
std::string full_name(std::string name) {
    std::ranges::transform(name, name.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return name == kAll || name.starts_with("CAP_") ? name : "CAP_" + name;
}

Result<Names> read(const List& list, std::string_view member) {
    const Names known = all();
    Names out;
    for (std::size_t i = 0; const std::string& name : list) {
        std::string full = full_name(name);
        if (full != kAll && !known.contains(full)) {
            return invalid(element(member, i), "no such capability: " + in_quotes(name));
        }
        out.insert(std::move(full));
        ++i;
    }
    return out;
}

}  // namespace

Result<OrderedJson> capabilities_json(const v1::LinuxContainerSecurityContext& security,
                                      const ContainerPlace& place) {
    const v1::Capability& asked = security.capabilities();
    const std::string member = "linux.security_context.capabilities.";
    const Names added = TRY(read(asked.add_capabilities(), member + "add_capabilities"));
    const Names dropped = TRY(read(asked.drop_capabilities(), member + "drop_capabilities"));
    Names ambient =
        TRY(read(asked.add_ambient_capabilities(), member + "add_ambient_capabilities"));
    const std::string everything(kAll);
    if (ambient.erase(everything) != 0) {
        ambient = all_of(place);
    }
    // "ALL" first, whichever list it is in, so that single ones still count.
    Names names = usual();
    if (security.privileged() || added.contains(everything)) {
        names = all_of(place);
    }
    if (!security.privileged() && dropped.contains(everything)) {
        names.clear();
    }
    if (!security.privileged()) {
        names.insert(added.begin(), added.end());
        names.insert(ambient.begin(), ambient.end());
        for (const std::string& name : dropped) {
            names.erase(name);
            ambient.erase(name);
        }
        names.erase(everything);
    }
    OrderedJson out{{"bounding", names}, {"effective", names}, {"permitted", names}};
    if (!ambient.empty()) {
        out["inheritable"] = ambient;
        out["ambient"] = ambient;
    }
    return out;
}

}  // namespace pepita::cri
