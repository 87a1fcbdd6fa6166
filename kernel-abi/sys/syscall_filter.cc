#include "kernel-abi/sys/syscall_filter.h"

#include <seccomp.h>

#include <cerrno>
#include <memory>
#include <span>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

struct Release {
    void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;  // scmp_filter_ctx is void*

int add(const Context& context, const SyscallRule& rule) {
    const int number = static_cast<int>(rule.number);
    if (!rule.only_if) {
        return seccomp_rule_add_exact_array(context.get(), SCMP_ACT_ALLOW, number, 0, nullptr);
    }
    const scmp_arg_cmp condition = {.arg = rule.only_if->argument,
                                    .op = SCMP_CMP_MASKED_EQ,
                                    .datum_a = rule.only_if->mask,
                                    .datum_b = rule.only_if->value};
    return seccomp_rule_add_exact_array(context.get(), SCMP_ACT_ALLOW, number, 1, &condition);
}

}  // namespace

Result<void> allow_only(std::span<const SyscallRule> rules, FilterScope scope) {
    const Context context(seccomp_init(SCMP_ACT_KILL_PROCESS));
    if (context == nullptr) {
        return Error(Code::Internal, "seccomp_init");
    }
    // no_new_privs comes with the filter: it is the attribute's default.
    (void)seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (scope == FilterScope::Process) {
        (void)seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_TSYNC, 1);
    }
    for (const SyscallRule& rule : rules) {
        if (const int failed = add(context, rule); failed < 0) {
            return Error::from_errno(-failed, "allow system call " + std::to_string(rule.number));
        }
    }
    if (const int failed = seccomp_load(context.get()); failed < 0) {
        const int reason = failed == -ECANCELED ? errno : -failed;
        return Error::from_errno(reason, "install the system call filter");
    }
    return {};
}

}  // namespace pepita
