#include "runtime/container/credentials.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/magic.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
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

Result<void> replace_capabilities(const Capabilities& sets) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> data{};
    for (const unsigned half : {0U, 1U}) {
        const unsigned shift = half * 32;
        data[half] = {.effective = static_cast<std::uint32_t>(sets.effective >> shift),
                      .permitted = static_cast<std::uint32_t>(sets.permitted >> shift),
                      .inheritable = static_cast<std::uint32_t>(sets.inheritable >> shift)};
    }
    return outcome(::syscall(SYS_capset, &header, data.data()), "set capabilities");
}

Result<void> set_ambient_capabilities(const Capabilities& sets) {
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

Result<void> install_filter(SeccompSpec filter) {
    // SAFETY: the program is bytes of sock_filter[], whole ones by its check on arrival, and the
    // kernel copies it from any address.
    const sock_fprog program{
        .len = static_cast<unsigned short>(filter.program.size() / SeccompSpec::kInstructionBytes),
        .filter = reinterpret_cast<sock_filter*>(filter.program.data())};
    return outcome(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter.flags, &program),
                   "install the seccomp filter");
}

// The filter needs no_new_privs or CAP_SYS_ADMIN.
Result<void> drop_to(const Capabilities& sets, const ProcessSpec& spec,
                     const std::optional<SeccompSpec>& filter) {
    const bool needs_capability = filter && !spec.no_new_privileges;
    Capabilities now = sets;
    if (needs_capability) {
        now.permitted |= std::uint64_t{1} << CAP_SYS_ADMIN;
        now.effective |= std::uint64_t{1} << CAP_SYS_ADMIN;
    }
    TRY(replace_capabilities(now));
    TRY(set_ambient_capabilities(sets));
    if (spec.no_new_privileges) {
        TRY(outcome(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs"));
    }
    if (filter) {
        TRY(install_filter(*filter));
    }
    return needs_capability ? replace_capabilities(sets) : Result<void>();
}

Result<void> set_scheduling(const ProcessSpec& spec) {
    if (const auto& wanted = spec.scheduler) {
        // struct sched_attr of Linux include/uapi/linux/sched/types.h, version 0.
        struct {
            std::uint32_t size = 48;
            std::uint32_t policy = 0;
            std::uint64_t flags = 0;
            std::int32_t nice = 0;
            std::uint32_t priority = 0;
            std::uint64_t runtime = 0;
            std::uint64_t deadline = 0;
            std::uint64_t period = 0;
        } attributes;
        static_assert(sizeof(attributes) == 48);
        attributes.policy = wanted->policy;
        attributes.flags = wanted->flags;
        attributes.nice = wanted->nice;
        attributes.priority = wanted->priority;
        attributes.runtime = wanted->runtime_ns;
        attributes.deadline = wanted->deadline_ns;
        attributes.period = wanted->period_ns;
        TRY(outcome(::syscall(SYS_sched_setattr, 0, &attributes, 0), "set the scheduler"));
    }
    if (const auto& wanted = spec.io_priority) {
        TRY(outcome(::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                              IOPRIO_PRIO_VALUE(wanted->io_class, wanted->priority)),
                    "set the I/O priority"));
    }
    return {};
}

// To be the label of the program: what is written to an attr file of procfs, and of nothing that an
// image has put in its place.
Result<void> write_label(const std::string& path, const std::string& label) {
    const Fd file = TRY(open_inside(path, O_WRONLY | O_NOFOLLOW));
    struct statfs about{};
    if (::fstatfs(file.ref().number(), &about) != 0 || about.f_type != PROC_SUPER_MAGIC) {
        return Error(Code::FailedPrecondition, "'/proc' of the container is no procfs");
    }
    return write_all(file.ref(), label, path);
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

// While /proc is the container's, for the next execve(2).
Result<void> apply_labels(const ProcessSpec& spec) {
    if (!spec.apparmor_profile.empty() && spec.apparmor_profile != "unconfined") {
        const std::string doing = "AppArmor profile '" + spec.apparmor_profile + "'";
        Result<void> written =
            write_label("/proc/self/attr/apparmor/exec", "exec " + spec.apparmor_profile);
        if (!written && written.error().sys_errno() == ENOENT) {
            return Error(Code::Unsupported,
                         doing + ": this kernel has no AppArmor, or no such profile is loaded");
        }
        TRY(std::move(written), doing);
    }
    if (!spec.selinux_label.empty()) {
        const std::string doing = "SELinux label '" + spec.selinux_label + "'";
        if (!read_file("/proc/filesystems").value_or("").contains("selinuxfs")) {
            return Error(Code::Unsupported, doing + ": this kernel has no SELinux");
        }
        TRY(write_label("/proc/self/attr/exec", spec.selinux_label), doing);
    }
    return {};
}

}  // namespace

Result<void> raise_rlimits(const std::vector<Rlimit>& limits, pid_t pid) {
    for (const Rlimit& limit : limits) {
        const std::string doing = "raise " + rlimit_name(limit.resource);
        rlimit64 value{};
        TRY(outcome(::syscall(SYS_prlimit64, pid, limit.resource, nullptr, &value), doing));
        if (limit.hard > value.rlim_max) {
            value.rlim_max = limit.hard;
            TRY(outcome(::syscall(SYS_prlimit64, pid, limit.resource, &value, nullptr), doing));
        }
    }
    return {};
}

Result<void> apply_credentials(const ProcessSpec& spec, const Confinement& confinement) {
    const Capabilities sets = spec.capabilities.value_or(Capabilities());
    // As runc does: root may enter what the user may not, and failing that it is the other way
    // round.
    Result<void> entered = enter(spec.cwd);
    if (!entered && entered.error().sys_errno() != EACCES && entered.error().sys_errno() != EPERM) {
        return std::move(entered).error();
    }
    TRY(apply_labels(spec));
    if (confinement.personality) {
        TRY(outcome(::personality(*confinement.personality), "set the personality"));
    }
    TRY(set_rlimits(spec.rlimits));
    TRY(set_scheduling(spec));
    TRY(bound_capabilities(sets.bounding));
    TRY(become_user(spec));
    if (!entered) {
        TRY(enter(spec.cwd));
    }
    (void)::umask(spec.umask.value_or(kDefaultUmask));
    (void)::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    return drop_to(sets, spec, confinement.seccomp);
}

}  // namespace pepita::runtime::container
