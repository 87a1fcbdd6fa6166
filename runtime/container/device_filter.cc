#include "runtime/container/device_filter.h"

#include <linux/bpf.h>
#include <linux/bpf_common.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {
namespace {

// Registers while the rules run. R1 comes with the context (struct bpf_cgroup_dev_ctx).
enum Register : std::uint8_t { R0 = 0, R1 = 1, Type = 2, Asked = 3, Major = 4, Minor = 5 };

bpf_insn instruction(unsigned code, Register to, Register from, int offset, std::int32_t value) {
    bpf_insn result{};
    result.code = static_cast<std::uint8_t>(code);
    result.dst_reg = to & 0xfU;
    result.src_reg = from & 0xfU;
    result.off = static_cast<std::int16_t>(offset);
    result.imm = value;
    return result;
}

bpf_insn load(Register to, std::size_t offset) {
    return instruction(BPF_LDX | BPF_W | BPF_MEM, to, R1, static_cast<int>(offset), 0);
}

bpf_insn compute(unsigned operation, Register to, std::int32_t value) {
    return instruction(BPF_ALU | operation | BPF_K, to, R0, 0, value);
}

std::int32_t access_bits(const std::string& access) {
    std::uint32_t bits = 0;
    for (const char letter : access) {
        bits |= letter == 'r' ? std::uint32_t{BPF_DEVCG_ACC_READ} : 0U;
        bits |= letter == 'w' ? std::uint32_t{BPF_DEVCG_ACC_WRITE} : 0U;
        bits |= letter == 'm' ? std::uint32_t{BPF_DEVCG_ACC_MKNOD} : 0U;
    }
    return static_cast<std::int32_t>(bits);
}

// One rule: jumps past its own end where it does not fit.
void append_rule(std::vector<bpf_insn>& program, const DeviceRule& rule) {
    std::vector<bpf_insn> body;
    std::vector<std::size_t> jumps;
    const auto unless_equal = [&](Register left, std::int32_t right) {
        jumps.push_back(body.size());
        body.push_back(instruction(BPF_JMP | BPF_JNE | BPF_K, left, R0, 0, right));
    };
    if (rule.type != 'a') {
        unless_equal(Type, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
    }
    if (rule.major && *rule.major >= 0) {
        unless_equal(Major, static_cast<std::int32_t>(*rule.major));
    }
    if (rule.minor && *rule.minor >= 0) {
        unless_equal(Minor, static_cast<std::int32_t>(*rule.minor));
    }
    // Each of read, write and making a node has its own last rule: what a rule allows is settled,
    // and Asked keeps what earlier rules have to decide.
    const std::int32_t bits = access_bits(rule.access);
    const Register decides = rule.allow ? Asked : R0;
    if (rule.allow) {
        body.push_back(compute(BPF_AND, Asked, ~bits));
    } else {
        body.push_back(instruction(BPF_ALU | BPF_MOV | BPF_X, R0, Asked, 0, 0));
        body.push_back(compute(BPF_AND, R0, bits));
    }
    jumps.push_back(body.size());
    body.push_back(instruction(
        BPF_JMP | BPF_K | (rule.allow ? std::uint32_t{BPF_JNE} : std::uint32_t{BPF_JEQ}), decides,
        R0, 0, 0));
    body.push_back(compute(BPF_MOV, R0, rule.allow ? 1 : 0));
    body.push_back(instruction(BPF_JMP | BPF_EXIT, R0, R0, 0, 0));
    for (const std::size_t jump : jumps) {
        body[jump].off = static_cast<std::int16_t>(body.size() - jump - 1);
    }
    program.insert(program.end(), body.begin(), body.end());
}

DeviceRule allow(std::optional<std::int64_t> major, std::optional<std::int64_t> minor,
                 const char* access) {
    return {.allow = true, .type = 'c', .major = major, .minor = minor, .access = access};
}

Result<Fd> load_program(const std::vector<bpf_insn>& program) {
    static constexpr char license[] = "Apache-2.0";
    bpf_attr attributes;
    std::memset(&attributes, 0, sizeof(attributes));
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attributes.insn_cnt = static_cast<std::uint32_t>(program.size());
    // SAFETY: bpf(2) takes addresses as numbers.
    attributes.insns = reinterpret_cast<std::uint64_t>(program.data());
    attributes.license = reinterpret_cast<std::uint64_t>(&license[0]);
    Fd fd(static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes))));
    if (!fd) {
        return Error::from_errno(errno, "BPF_PROG_LOAD");
    }
    return fd;
}

}  // namespace

std::vector<bpf_insn> device_program(const std::vector<DeviceRule>& rules) {
    std::vector<bpf_insn> program{load(Type, offsetof(bpf_cgroup_dev_ctx, access_type)),
                                  compute(BPF_AND, Type, 0xffff),
                                  load(Asked, offsetof(bpf_cgroup_dev_ctx, access_type)),
                                  compute(BPF_RSH, Asked, 16),
                                  load(Major, offsetof(bpf_cgroup_dev_ctx, major)),
                                  load(Minor, offsetof(bpf_cgroup_dev_ctx, minor))};
    for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
        append_rule(program, *rule);
    }
    program.push_back(compute(BPF_MOV, R0, 0));
    program.push_back(instruction(BPF_JMP | BPF_EXIT, R0, R0, 0, 0));
    return program;
}

std::vector<DeviceRule> default_device_rules() {
    DeviceRule blocks = allow({}, {}, "m");
    blocks.type = 'b';
    return {allow({}, {}, "m"), std::move(blocks),
            // null zero full random urandom tty console ptmx, and all of devpts
            allow(1, 3, "rwm"), allow(1, 5, "rwm"), allow(1, 7, "rwm"), allow(1, 8, "rwm"),
            allow(1, 9, "rwm"), allow(5, 0, "rwm"), allow(5, 1, "rwm"), allow(5, 2, "rwm"),
            allow(136, {}, "rwm")};
}

Result<void> attach_device_filter(FdRef cgroup, const std::vector<DeviceRule>& rules) {
    std::vector<DeviceRule> all = rules;
    for (DeviceRule& rule : default_device_rules()) {
        all.push_back(std::move(rule));
    }
    const Fd program = TRY(load_program(device_program(all)));
    bpf_attr attributes;
    std::memset(&attributes, 0, sizeof(attributes));
    attributes.target_fd = static_cast<std::uint32_t>(cgroup.number());
    attributes.attach_bpf_fd = static_cast<std::uint32_t>(program.ref().number());
    attributes.attach_type = BPF_CGROUP_DEVICE;
    attributes.attach_flags = BPF_F_ALLOW_MULTI;
    if (::syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof(attributes)) != 0) {
        return Error::from_errno(errno, "BPF_PROG_ATTACH");
    }
    return {};
}

}  // namespace pepita::runtime::container
