#include "runtime/container/credentials.h"

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
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {
namespace {

constexpr int kCapabilityBits = 64;

Result<void> outcome(long result, const std::string& doing) {
    if (result != 0) {
        return Error::from_errno(errno, doing);
    }
    return {};
}

bool has(std::uint64_t set, int capability) { return (set >> capability & 1U) != 0; }

Result<void> set_rlimits(const std::vector<Rlimit>& limits) {
    for (const Rlimit& limit : limits) {
        const rlimit64 value{.rlim_cur = limit.soft, .rlim_max = limit.hard};
        TRY(outcome(::syscall(SYS_prlimit64, 0, limit.resource, &value, nullptr),
                    "set rlimit " + std::to_string(limit.resource)));
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
                        "drop capability " + std::to_string(capability)));
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
    for (int capability = 0; capability < kCapabilityBits; ++capability) {
        if (has(sets.ambient, capability)) {
            TRY(outcome(::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0),
                        "raise ambient capability " + std::to_string(capability)));
        }
    }
    return {};
}

}  // namespace

Result<void> apply_credentials(const ProcessSpec& spec) {
    const Capabilities sets = spec.capabilities.value_or(Capabilities());
    TRY(set_rlimits(spec.rlimits));
    TRY(bound_capabilities(sets.bounding));
    TRY(outcome(::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities"));
    const std::vector<gid_t> groups(spec.additional_gids.begin(), spec.additional_gids.end());
    TRY(outcome(::setgroups(groups.size(), groups.data()), "set additional groups"));
    TRY(outcome(::setresgid(spec.gid, spec.gid, spec.gid),
                "become group " + std::to_string(spec.gid)));
    TRY(outcome(::setresuid(spec.uid, spec.uid, spec.uid),
                "become user " + std::to_string(spec.uid)));
    TRY(outcome(::prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0), "stop keeping capabilities"));
    TRY(set_capabilities(sets));
    if (spec.umask) {
        (void)::umask(*spec.umask);
    }
    if (spec.no_new_privileges) {
        TRY(outcome(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs"));
    }
    return {};
}

}  // namespace pepita::runtime::container
