#include "runtime/container/credentials.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/inside.h"
#include "runtime/container/outcome.h"
#include "runtime/oci/names.h"

namespace pepita::runtime::container {
namespace {

constexpr int kCapabilityBits = 64;
constexpr mode_t kDefaultUmask = 0022;

std::string name_of(int capability) {
    const auto name = oci::capability_name(static_cast<std::uint32_t>(capability));
    return name ? std::string(*name) : "capability " + std::to_string(capability);
}

std::string rlimit_name(std::uint32_t resource) {
    const auto name = oci::rlimit_name(resource);
    return name ? std::string(*name) : "rlimit " + std::to_string(resource);
}

bool has(std::uint64_t set, int capability) { return (set >> capability & 1U) != 0; }

Result<void> set_rlimits(const std::vector<Rlimit>& limits) {
    for (const Rlimit& limit : limits) {
        const rlimit64 value{.rlim_cur = limit.soft, .rlim_max = limit.hard};
        TRY(outcome(::syscall(SYS_prlimit64, 0, limit.resource, &value, nullptr),
                    "set " + rlimit_name(limit.resource)));
    }
    return {};
}

Result<void> bound_capabilities(std::uint64_t bounding) {
    for (int capability = 0; capability < kCapabilityBits; ++capability) {
        const int is_set = ::prctl(PR_CAPBSET_READ, capability);
        if (is_set < 0) {
            return {};  // beyond this kernel's last
        }
        if (is_set == 1 && !has(bounding, capability)) {
            TRY(outcome(::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0),
                        "drop " + name_of(capability)));
        }
    }
    return {};
}

Result<void> set_capabilities(const Capabilities& sets) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> data{};
    for (const unsigned half : {0U, 1U}) {
        const unsigned shift = half * 32;
        data[half] = {.effective = static_cast<std::uint32_t>(sets.effective >> shift),
                      .permitted = static_cast<std::uint32_t>(sets.permitted >> shift),
                      .inheritable = static_cast<std::uint32_t>(sets.inheritable >> shift)};
    }
    TRY(outcome(::syscall(SYS_capset, &header, data.data()), "set capabilities"));
    TRY(outcome(::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
                "clear ambient capabilities"));
    // The kernel raises only what is permitted and inheritable, and callers ask for more (buildah
    // 1.28 has no inheritable set). As runc 1.1.5: the rest is left out.
    const std::uint64_t raised = sets.ambient & sets.inheritable & sets.permitted;
    for (int capability = 0; capability < kCapabilityBits; ++capability) {
        if (has(raised, capability)) {
            TRY(outcome(::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0),
                        "raise ambient " + name_of(capability)));
        }
    }
    return {};
}

Result<void> enter(const std::string& path) {
    const Fd directory = TRY(open_inside(path, O_PATH | O_DIRECTORY), "working directory");
    return enter_directory(directory.ref(), path);
}

Result<void> become_user(const ProcessSpec& spec) {
    TRY(outcome(::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities"));
    const std::vector<gid_t> groups(spec.additional_gids.begin(), spec.additional_gids.end());
    TRY(outcome(::setgroups(groups.size(), groups.data()), "set additional groups"));
    TRY(outcome(::setresgid(spec.gid, spec.gid, spec.gid),
                "become group " + std::to_string(spec.gid)));
    TRY(outcome(::setresuid(spec.uid, spec.uid, spec.uid),
                "become user " + std::to_string(spec.uid)));
    return outcome(::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0), "stop keeping capabilities");
}

}  // namespace

Result<void> apply_credentials(const ProcessSpec& spec) {
    const Capabilities sets = spec.capabilities.value_or(Capabilities());
    // As runc does: root may enter what the user may not, and failing that it is the other way
    // round.
    Result<void> entered = enter(spec.cwd);
    if (!entered && entered.error().sys_errno() != EACCES && entered.error().sys_errno() != EPERM) {
        return std::move(entered).error();
    }
    TRY(set_rlimits(spec.rlimits));
    TRY(bound_capabilities(sets.bounding));
    TRY(become_user(spec));
    if (!entered) {
        TRY(enter(spec.cwd));
    }
    TRY(set_capabilities(sets));
    (void)::umask(spec.umask.value_or(kDefaultUmask));
    if (spec.no_new_privileges) {
        TRY(outcome(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs"));
    }
    return {};
}

}  // namespace pepita::runtime::container
