#include "cri/spec/user.h"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "cri/spec/member.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::UserLookup;
using runtime::oci::in_quotes;
using runtime::oci::OrderedJson;

constexpr std::int64_t kIdMax = 0xffff'fffe;  // -1 means "leave it" to the kernel

Result<std::uint32_t> id_of(std::string_view member, std::int64_t value) {
    if (value < 0 || value > kIdMax) {
        return invalid(member, "must be 0 to 4294967294");
    }
    return static_cast<std::uint32_t>(value);
}

std::optional<std::uint32_t> id_in(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_id = error == std::errc() && end == text.data() + text.size() && value <= kIdMax;
    return is_id ? std::optional(value) : std::nullopt;
}

Result<std::string> name_of(std::string_view member, std::string_view name) {
    TRY(check_text(member, name));
    if (name.empty() || name.size() > UserLookup::kNameMax ||
        name.find_first_of(":,\n") != std::string_view::npos) {
        return invalid(member, in_quotes(name) + " is no name of a user or a group");
    }
    return std::string(name);
}

Result<UserLookup> user_of_image(const ImageConfig& image) {
    const std::string member = "image config: config.User";
    const std::string_view text = image.user;
    const std::size_t colon = text.find(':');
    UserLookup out{.user = "0", .group = "", .adds_groups = false};
    if (!text.empty()) {
        out.user = TRY(name_of(member, text.substr(0, colon)));
    }
    if (colon != std::string_view::npos) {
        out.group = TRY(name_of(member, text.substr(colon + 1)));
    }
    return out;
}

// A name is before a number, and both are before the image's.
Result<UserLookup> user_of(const v1::LinuxContainerSecurityContext& security,
                           const ImageConfig& image) {
    const std::string member = "linux.security_context.";
    UserLookup out;
    if (!security.run_as_username().empty()) {
        out.user = TRY(name_of(member + "run_as_username", security.run_as_username()));
    } else if (security.has_run_as_user()) {
        out.user =
            std::to_string(TRY(id_of(member + "run_as_user", security.run_as_user().value())));
    } else if (security.has_run_as_group()) {
        return invalid(member + "run_as_group", "needs run_as_user or run_as_username");
    } else {
        out = TRY(user_of_image(image));
    }
    if (security.has_run_as_group()) {
        out.group =
            std::to_string(TRY(id_of(member + "run_as_group", security.run_as_group().value())));
    }
    return out;
}

}  // namespace

Result<OrderedJson> user_json(const v1::LinuxContainerSecurityContext& security,
                              const ImageConfig& image) {
    const std::string member = "linux.security_context.supplemental_groups";
    UserLookup user = TRY(user_of(security, image));
    if (!v1::SupplementalGroupsPolicy_IsValid(security.supplemental_groups_policy())) {
        return invalid(member + "_policy", "no such policy");
    }
    user.adds_groups = security.supplemental_groups_policy() == v1::Merge;
    const auto uid = id_in(user.user);
    const auto gid = id_in(user.group);
    std::set<std::uint32_t> groups;
    for (std::size_t i = 0; const std::int64_t group : security.supplemental_groups()) {
        groups.insert(TRY(id_of(element(member, i++), group)));
    }
    if (gid) {
        // The group itself, too: a setgid program must not be able to leave it.
        groups.insert(*gid);
    }
    OrderedJson out{{"uid", uid.value_or(0)}, {"gid", gid.value_or(0)}, {"additionalGids", groups}};
    if (user.adds_groups || !uid || !gid) {
        out[runtime::kUserLookupMember] = {
            {"user", user.user}, {"group", user.group}, {"addsGroups", user.adds_groups}};
    }
    return out;
}

}  // namespace pepita::cri
