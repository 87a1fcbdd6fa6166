#include "cri/spec/process.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "cri/spec/capabilities.h"
#include "cri/spec/member.h"
#include "cri/spec/user.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/bundle.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;
using runtime::oci::OrderedJson;

constexpr std::int64_t kOomScoreMax = 1000;

// As a service of systemd has it; some programs close or poll all that they may have.
constexpr std::uint64_t kDescriptors = 1024;
constexpr std::uint64_t kDescriptorsMax = 524'288;

std::string image_name(const v1::ContainerConfig& container) {
    const v1::ImageSpec& image = container.image();
    return in_quotes(image.user_specified_image().empty() ? image.image()
                                                          : image.user_specified_image());
}

// Kubernetes' "command" is in place of the image's entrypoint, and then its cmd does not count.
Result<std::vector<std::string>> args_of(const v1::ContainerConfig& container,
                                         const ImageConfig& image) {
    std::vector<std::string> args(container.command().begin(), container.command().end());
    if (args.empty() && image.entrypoint != std::vector<std::string>{""}) {
        args = image.entrypoint;
    }
    if (container.command().empty() && container.args().empty()) {
        args.insert(args.end(), image.cmd.begin(), image.cmd.end());
    }
    args.insert(args.end(), container.args().begin(), container.args().end());
    if (args.empty()) {
        return invalid("command", "is empty, and image " + image_name(container) +
                                      " has neither entrypoint nor cmd");
    }
    if (args.front().empty()) {
        return invalid("command", "the name of the program is empty");
    }
    for (std::size_t i = 0; i < args.size(); ++i) {
        TRY(check_text("command", args[i]), "argument ", std::to_string(i));
    }
    return args;
}

void unset(std::vector<std::string>& env, const std::string& name) {
    std::erase_if(
        env, [prefix = name + "="](const std::string& entry) { return entry.starts_with(prefix); });
}

// Later ones win: what every container has, the image's, the container's.
Result<std::vector<std::string>> env_of(const v1::ContainerConfig& container,
                                        const ImageConfig& image, const ContainerPlace& place) {
    std::vector<std::string> env{
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
    if (container.tty()) {
        env.emplace_back("TERM=xterm");
    }
    if (!place.hostname.empty()) {
        env.push_back("HOSTNAME=" + place.hostname);
    }
    for (const std::string& entry : image.env) {
        const std::size_t end = entry.find('=');
        if (end == std::string::npos) {
            unset(env, entry);
        } else if (end != 0) {
            runtime::set_variable(env, entry);
        }
    }
    for (std::size_t i = 0; const v1::KeyValue& variable : container.envs()) {
        const std::string member = element("envs", i++);
        if (variable.key().empty() || variable.key().contains('=')) {
            return invalid(member + ".key", in_quotes(variable.key()) + " names no variable");
        }
        TRY(check_text(member + ".key", variable.key()));
        TRY(check_text(member + ".value", variable.value()));
        runtime::set_variable(env, variable.key() + "=" + variable.value());
    }
    return env;
}

Result<std::string> cwd_of(const v1::ContainerConfig& container, const ImageConfig& image) {
    const std::string member =
        container.working_dir().empty() ? "image config: config.WorkingDir" : "working_dir";
    std::string cwd = container.working_dir().empty() ? image.working_dir : container.working_dir();
    if (cwd.empty()) {
        return std::string("/");
    }
    if (!cwd.starts_with('/')) {
        return invalid(member, in_quotes(cwd) + " is not an absolute path");
    }
    TRY(check_text(member, cwd));
    return cwd;
}

OrderedJson rlimits_json() {
    return OrderedJson::array(
        {{{"type", "RLIMIT_NOFILE"}, {"hard", kDescriptorsMax}, {"soft", kDescriptors}}});
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
// Callers that are older than `apparmor` have a name.
bool has_old_profile(const v1::LinuxContainerSecurityContext& security) {
    return !security.has_apparmor() && !security.apparmor_profile().empty() &&
           security.apparmor_profile() != "unconfined";
}
#pragma GCC diagnostic pop

// The guest's kernel has neither of these modules.
Result<void> refuse_labels(const v1::LinuxContainerSecurityContext& security) {
    const std::string member = "linux.security_context.";
    const v1::SELinuxOption& label = security.selinux_options();
    if (!(label.user() + label.role() + label.type() + label.level()).empty()) {
        return unsupported(member + "selinux_options", "a microVM's guest has no SELinux");
    }
    if (has_old_profile(security) ||
        (security.has_apparmor() &&
         security.apparmor().profile_type() != v1::SecurityProfile::Unconfined)) {
        return unsupported(member + "apparmor", "a microVM's guest has no AppArmor");
    }
    return {};
}

}  // namespace

Result<OrderedJson> process_json(const v1::ContainerConfig& container, const ImageConfig& image,
                                 const ContainerPlace& place) {
    const v1::LinuxContainerSecurityContext& security = container.linux().security_context();
    TRY(refuse_labels(security));
    OrderedJson out{{"terminal", container.tty()}};
    out["user"] = TRY(user_json(security, image));
    out["args"] = TRY(args_of(container, image));
    out["env"] = TRY(env_of(container, image, place));
    out["cwd"] = TRY(cwd_of(container, image));
    out["capabilities"] = TRY(capabilities_json(security, place));
    if (!place.is_on_host) {
        out["rlimits"] = rlimits_json();  // else the node's own limits are the container's
    }
    out["noNewPrivileges"] = security.no_new_privs();
    const std::int64_t score = container.linux().resources().oom_score_adj();
    if (score < -kOomScoreMax || score > kOomScoreMax) {
        return invalid("linux.resources.oom_score_adj", "must be -1000 to 1000");
    }
    out["oomScoreAdj"] = score;
    return out;
}

}  // namespace pepita::cri
