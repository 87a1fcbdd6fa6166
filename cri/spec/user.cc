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
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;
using runtime::oci::OrderedJson;

constexpr std::int64_t kIdMax = 0xffff'fffe;  // -1 means "leave it" to the kernel

Result<std::uint32_t> id_of(std::string_view member, std::int64_t value) {
    if (value < 0 || value > kIdMax) {
        return invalid(member, "must be 0 to 4294967294");
    }
    return static_cast<std::uint32_t>(value);
}

Result<std::uint32_t> id_in(std::string_view member, std::string_view text) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        return unsupported(member, in_quotes(text) + " is not a number");
    }
    return id_of(member, value);
}

struct User {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
};

Result<User> user_of_image(const ImageConfig& image) {
    const std::string member = "image config: config.User";
    const std::string_view text = image.user;
    const std::size_t colon = text.find(':');
    User user;
    if (!text.empty()) {
        user.uid = TRY(id_in(member, text.substr(0, colon)));
    }
    if (colon != std::string_view::npos) {
        user.gid = TRY(id_in(member, text.substr(colon + 1)));
    }
    return user;
}

Result<User> user_of(const v1::LinuxContainerSecurityContext& security, const ImageConfig& image) {
    const std::string member = "linux.security_context.";
    User user;
    if (!security.run_as_username().empty()) {
        user.uid = TRY(id_in(member + "run_as_username", security.run_as_username()));
    } else if (security.has_run_as_user()) {
        user.uid = TRY(id_of(member + "run_as_user", security.run_as_user().value()));
    } else if (security.has_run_as_group()) {
        return invalid(member + "run_as_group", "needs run_as_user or run_as_username");
    } else {
        return user_of_image(image);
    }
    if (security.has_run_as_group()) {
        user.gid = TRY(id_of(member + "run_as_group", security.run_as_group().value()));
    }
    return user;
}

}  // namespace

Result<OrderedJson> user_json(const v1::LinuxContainerSecurityContext& security,
                              const ImageConfig& image) {
    const User user = TRY(user_of(security, image));
    // The group itself, too: a setgid program must not be able to leave it.
    std::set<std::uint32_t> groups{user.gid};
    for (std::size_t i = 0; const std::int64_t group : security.supplemental_groups()) {
        groups.insert(
            TRY(id_of(element("linux.security_context.supplemental_groups", i++), group)));
    }
    return OrderedJson{{"uid", user.uid}, {"gid", user.gid}, {"additionalGids", groups}};
}

}  // namespace pepita::cri
