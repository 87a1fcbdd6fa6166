#include "kernel-abi/sys/syscall_filter_program.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

constexpr std::size_t kProgramMax = std::size_t{BPF_MAXINSNS} * sizeof(sock_filter);

struct Release {
    void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;  // scmp_filter_ctx is void*

std::uint32_t action_of(const SyscallAction& action) {
    switch (action.kind) {
        case SyscallAction::Kind::KillThread:
            return SCMP_ACT_KILL_THREAD;
        case SyscallAction::Kind::KillProcess:
            return SCMP_ACT_KILL_PROCESS;
        case SyscallAction::Kind::Trap:
            return SCMP_ACT_TRAP;
        case SyscallAction::Kind::Errno:
            return SCMP_ACT_ERRNO(action.value);
        case SyscallAction::Kind::Trace:
            return SCMP_ACT_TRACE(action.value);
        case SyscallAction::Kind::Allow:
            return SCMP_ACT_ALLOW;
        case SyscallAction::Kind::Log:
            return SCMP_ACT_LOG;
    }
    return SCMP_ACT_KILL_PROCESS;
}

scmp_compare operator_of(SyscallComparison::Operator comparison) {
    switch (comparison) {
        case SyscallComparison::Operator::NotEqual:
            return SCMP_CMP_NE;
        case SyscallComparison::Operator::Less:
            return SCMP_CMP_LT;
        case SyscallComparison::Operator::LessOrEqual:
            return SCMP_CMP_LE;
        case SyscallComparison::Operator::Equal:
            return SCMP_CMP_EQ;
        case SyscallComparison::Operator::GreaterOrEqual:
            return SCMP_CMP_GE;
        case SyscallComparison::Operator::Greater:
            return SCMP_CMP_GT;
        case SyscallComparison::Operator::MaskedEqual:
            return SCMP_CMP_MASKED_EQ;
    }
    return SCMP_CMP_EQ;
}

// Several comparisons of one argument cannot be one rule of libseccomp; as runc does, each is a
// rule of its own then.
std::vector<std::vector<scmp_arg_cmp>> conditions_of(const SyscallProfile::Rule& rule) {
    std::vector<scmp_arg_cmp> all;
    std::array<bool, SyscallComparison::kArgumentsMax> has{};
    bool is_any = false;
    for (const SyscallComparison& one : rule.comparisons) {
        all.push_back({.arg = one.argument,
                       .op = operator_of(one.comparison),
                       .datum_a = one.value,
                       .datum_b = one.value_two});
        bool& seen = has.at(std::min(one.argument, SyscallComparison::kArgumentsMax - 1));
        is_any |= seen;
        seen = true;
    }
    if (!is_any) {
        return {all};
    }
    std::vector<std::vector<scmp_arg_cmp>> each;
    each.reserve(all.size());
    for (const scmp_arg_cmp& one : all) {
        each.push_back({one});
    }
    return each;
}

Result<void> add_rule(const Context& context, const SyscallProfile::Rule& rule) {
    const std::uint32_t action = action_of(rule.action);
    const auto conditions = conditions_of(rule);
    for (const std::string& name : rule.names) {
        const int number = seccomp_syscall_resolve_name(name.c_str());
        if (number == __NR_SCMP_ERROR) {
            continue;
        }
        for (const std::vector<scmp_arg_cmp>& all : conditions) {
            const int failed = seccomp_rule_add_array(
                context.get(), action, number, static_cast<unsigned>(all.size()), all.data());
            if (failed < 0) {
                return Error::from_errno(-failed, "system call '" + name + "'");
            }
        }
    }
    return {};
}

Result<std::string> export_program(const Context& context) {
    Fd file(::memfd_create("pepita-filter", MFD_CLOEXEC));
    if (!file) {
        return Error::from_errno(errno, "memfd_create");
    }
    if (const int failed = seccomp_export_bpf(context.get(), file.ref().number()); failed < 0) {
        return Error::from_errno(-failed, "compile");
    }
    if (::lseek(file.ref().number(), 0, SEEK_SET) != 0) {
        return Error::from_errno(errno, "lseek");
    }
    return read_all(file.ref(), kProgramMax, "the program");
}

void append(std::string& program, std::uint16_t code, std::uint8_t if_true, std::uint8_t if_false,
            std::uint32_t value) {
    const sock_filter instruction{.code = code, .jt = if_true, .jf = if_false, .k = value};
    const auto bytes = std::as_bytes(std::span(&instruction, 1));
    for (const std::byte byte : bytes) {
        program.push_back(std::to_integer<char>(byte));
    }
}

// Fails calls of one architecture above `last` with ENOSYS. Those of x32 have a bit of their own
// and are left to the filter.
void append_newer(std::string& program, std::uint32_t architecture, std::uint32_t last) {
    constexpr std::uint32_t x32_bit = 0x4000'0000;
    append(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, arch));
    append(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, architecture);
    append(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr));
    append(program, BPF_JMP | BPF_JSET | BPF_K, 2, 0, x32_bit);
    append(program, BPF_JMP | BPF_JGT | BPF_K, 0, 1, last);
    append(program, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS);
}

int last_call(const SyscallProfile& profile, std::uint32_t architecture) {
    int last = -1;
    for (const SyscallProfile::Rule& rule : profile.rules) {
        for (const std::string& name : rule.names) {
            last = std::max(last, seccomp_syscall_resolve_name_arch(architecture, name.c_str()));
        }
    }
    return last;
}

bool has(const SyscallProfile& profile, const char* architecture) {
    return std::ranges::find(profile.architectures, architecture) != profile.architectures.end();
}

std::string newer_calls(const SyscallProfile& profile) {
    std::string program;
    if (profile.default_action.kind == SyscallAction::Kind::Allow ||
        profile.default_action.kind == SyscallAction::Kind::Log ||
        profile.default_action.kind == SyscallAction::Kind::Trace) {
        return program;
    }
    if (const int last = last_call(profile, SCMP_ARCH_X86_64); last >= 0) {
        append_newer(program, AUDIT_ARCH_X86_64, static_cast<std::uint32_t>(last));
    }
    if (const int last = last_call(profile, SCMP_ARCH_X86); last >= 0 && has(profile, "x86")) {
        append_newer(program, AUDIT_ARCH_I386, static_cast<std::uint32_t>(last));
    }
    return program;
}

Result<void> add_architectures(const Context& context, const SyscallProfile& profile) {
    for (const char* const name : {"x86", "x32"}) {
        if (!has(profile, name)) {
            continue;
        }
        const int failed = seccomp_arch_add(context.get(), seccomp_arch_resolve_name(name));
        if (failed < 0 && failed != -EEXIST) {
            return Error::from_errno(-failed, std::string("architecture '") + name + "'");
        }
    }
    return {};
}

}  // namespace

bool is_syscall_architecture(const std::string& name) {
    return seccomp_arch_resolve_name(name.c_str()) != 0;
}

Result<std::string> compile(const SyscallProfile& profile) {
    const Context context(seccomp_init(action_of(profile.default_action)));
    if (context == nullptr) {
        return Error(Code::Internal, "seccomp_init");
    }
    // It is the native architecture that seccomp_init() begins with.
    if (seccomp_arch_native() != SCMP_ARCH_X86_64) {
        return Error(Code::Unsupported, "filters for x86-64 are made on x86-64 only");
    }
    TRY(add_architectures(context, profile));
    for (const SyscallProfile::Rule& rule : profile.rules) {
        // libseccomp refuses a rule that changes nothing.
        if (rule.action != profile.default_action) {
            TRY(add_rule(context, rule));
        }
    }
    std::string program = newer_calls(profile) + TRY(export_program(context));
    if (program.size() > kProgramMax) {
        return Error(Code::InvalidArgument,
                     "the filter has " + std::to_string(program.size() / sizeof(sock_filter)) +
                         " instructions, the kernel takes " + std::to_string(BPF_MAXINSNS));
    }
    return program;
}

}  // namespace pepita
