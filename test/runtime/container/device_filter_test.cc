#include "runtime/container/device_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"

namespace pepita::runtime::container {
namespace {

enum class Answer : std::uint8_t { Refused, Allowed, BadProgram };

// As much of the kernel's BPF as a device program needs; whatever else there is makes it bad.
class Interpreter {
public:
    explicit Interpreter(const std::vector<bpf_insn>& program) : program_(program) {}

    Answer run(const bpf_cgroup_dev_ctx& context) {
        std::size_t at = 0;
        while (at < program_.size()) {
            const bpf_insn& now = program_[at++];
            if (now.code == (BPF_JMP | BPF_EXIT)) {
                return registers_[0] == 0 ? Answer::Refused : Answer::Allowed;
            }
            if (BPF_CLASS(now.code) == BPF_JMP) {
                if (!jump(now, at)) {
                    return Answer::BadProgram;
                }
            } else if (!compute(now, context)) {
                return Answer::BadProgram;
            }
        }
        return Answer::BadProgram;
    }

private:
    std::uint64_t operand(const bpf_insn& now) const {
        return BPF_SRC(now.code) == BPF_X
                   ? registers_.at(now.src_reg)
                   : static_cast<std::uint64_t>(static_cast<std::int64_t>(now.imm));
    }

    bool jump(const bpf_insn& now, std::size_t& at) const {
        const bool is_equal = registers_.at(now.dst_reg) == operand(now);
        const unsigned operation = BPF_OP(now.code);
        if ((operation != BPF_JNE && operation != BPF_JEQ) || now.off < 0) {
            return false;
        }
        if (is_equal == (operation == BPF_JEQ)) {
            at += static_cast<std::size_t>(now.off);
        }
        return true;
    }

    bool compute(const bpf_insn& now, const bpf_cgroup_dev_ctx& context) {
        std::uint64_t& to = registers_.at(now.dst_reg);
        if (now.code == (BPF_LDX | BPF_W | BPF_MEM)) {
            std::uint32_t word = 0;
            if (now.src_reg != 1 || now.off < 0 ||
                static_cast<std::size_t>(now.off) + sizeof(word) > sizeof(context)) {
                return false;
            }
            std::memcpy(&word, std::as_bytes(std::span(&context, 1)).data() + now.off,
                        sizeof(word));
            to = word;
            return true;
        }
        if (BPF_CLASS(now.code) != BPF_ALU) {
            return false;
        }
        const auto left = static_cast<std::uint32_t>(to);
        const auto right = static_cast<std::uint32_t>(operand(now));
        switch (BPF_OP(now.code)) {
            case BPF_MOV:
                to = right;
                return true;
            case BPF_AND:
                to = left & right;
                return true;
            case BPF_RSH:
                to = left >> right;
                return true;
            default:
                return false;
        }
    }

    const std::vector<bpf_insn>& program_;
    std::array<std::uint64_t, 11> registers_{};
};

struct Access {
    char type;
    std::uint32_t major;
    std::uint32_t minor;
    std::string bits;
};

Answer ask(const std::vector<DeviceRule>& rules, const Access& access) {
    std::uint32_t bits = 0;
    bits |= access.bits.contains('r') ? std::uint32_t{BPF_DEVCG_ACC_READ} : 0U;
    bits |= access.bits.contains('w') ? std::uint32_t{BPF_DEVCG_ACC_WRITE} : 0U;
    bits |= access.bits.contains('m') ? std::uint32_t{BPF_DEVCG_ACC_MKNOD} : 0U;
    const std::uint32_t type =
        access.type == 'b' ? std::uint32_t{BPF_DEVCG_DEV_BLOCK} : std::uint32_t{BPF_DEVCG_DEV_CHAR};
    const std::vector<bpf_insn> program = device_program(rules);
    return Interpreter(program).run(
        {.access_type = bits << 16U | type, .major = access.major, .minor = access.minor});
}

const DeviceRule kDenyAll{.allow = false, .type = 'a', .major = {}, .minor = {}, .access = "rwm"};

DeviceRule rule(bool allow, char type, std::int64_t major, std::int64_t minor, const char* access) {
    return {.allow = allow, .type = type, .major = major, .minor = minor, .access = access};
}

TEST(DeviceProgram, WithoutRulesEverythingIsRefused) {
    EXPECT_EQ(ask({}, {'c', 1, 3, "r"}), Answer::Refused);
    EXPECT_EQ(ask({}, {'b', 8, 0, "m"}), Answer::Refused);
}

TEST(DeviceProgram, ARuleForAllTakesBothTypesAndEveryNumber) {
    const std::vector<DeviceRule> rules{rule(true, 'a', -1, -1, "rwm")};
    EXPECT_EQ(ask(rules, {'c', 1, 3, "rwm"}), Answer::Allowed);
    EXPECT_EQ(ask(rules, {'b', 259, 65'535, "r"}), Answer::Allowed);
}

TEST(DeviceProgram, ARuleForAllHeedsItsNumbers) {
    const std::vector<DeviceRule> rules{rule(true, 'a', 10, 200, "rwm")};
    EXPECT_EQ(ask(rules, {'c', 10, 200, "rw"}), Answer::Allowed);
    EXPECT_EQ(ask(rules, {'c', 10, 201, "rw"}), Answer::Refused);
    EXPECT_EQ(ask(rules, {'b', 11, 200, "rw"}), Answer::Refused);
}

TEST(DeviceProgram, ARuleFitsItsOwnTypeMajorAndMinor) {
    const std::vector<DeviceRule> rules{kDenyAll, rule(true, 'b', 8, 16, "rwm")};
    EXPECT_EQ(ask(rules, {'b', 8, 16, "rw"}), Answer::Allowed);
    EXPECT_EQ(ask(rules, {'c', 8, 16, "rw"}), Answer::Refused);
    EXPECT_EQ(ask(rules, {'b', 9, 16, "rw"}), Answer::Refused);
    EXPECT_EQ(ask(rules, {'b', 8, 17, "rw"}), Answer::Refused);
}

TEST(DeviceProgram, AbsentAndMinusOneStandForEveryNumber) {
    DeviceRule absent = rule(true, 'c', 136, 0, "rw");
    absent.minor.reset();
    EXPECT_EQ(ask({absent}, {'c', 136, 7, "rw"}), Answer::Allowed);
    EXPECT_EQ(ask({rule(true, 'c', 136, -1, "rw")}, {'c', 136, 7, "rw"}), Answer::Allowed);
    EXPECT_EQ(ask({rule(true, 'c', -1, 7, "rw")}, {'c', 200, 7, "rw"}), Answer::Allowed);
    EXPECT_EQ(ask({rule(true, 'c', -1, 7, "rw")}, {'c', 200, 8, "rw"}), Answer::Refused);
}

TEST(DeviceProgram, TheLastRuleThatFitsDecides) {
    const DeviceRule allow = rule(true, 'c', 10, 200, "rwm");
    EXPECT_EQ(ask({kDenyAll, allow}, {'c', 10, 200, "rw"}), Answer::Allowed);
    EXPECT_EQ(ask({allow, kDenyAll}, {'c', 10, 200, "rw"}), Answer::Refused);
    EXPECT_EQ(ask({allow, rule(false, 'c', 10, -1, "rwm"), allow}, {'c', 10, 200, "r"}),
              Answer::Allowed);
}

TEST(DeviceProgram, AccessesBeyondTheRulesAreRefused) {
    const std::vector<DeviceRule> rules{kDenyAll, rule(true, 'c', 10, 200, "r")};
    EXPECT_EQ(ask(rules, {'c', 10, 200, "r"}), Answer::Allowed);
    EXPECT_EQ(ask(rules, {'c', 10, 200, "w"}), Answer::Refused);
    EXPECT_EQ(ask(rules, {'c', 10, 200, "rw"}), Answer::Refused);
    EXPECT_EQ(ask(rules, {'c', 10, 200, "m"}), Answer::Refused);
}

// Each of read, write and making a node has its own last rule.
TEST(DeviceProgram, AllowancesOfTwoRulesAddUp) {
    const std::vector<DeviceRule> rules{kDenyAll, rule(true, 'c', 10, 200, "r"),
                                        rule(true, 'c', 10, 200, "w")};
    EXPECT_EQ(ask(rules, {'c', 10, 200, "rw"}), Answer::Allowed);
    EXPECT_EQ(ask(rules, {'c', 10, 200, "rwm"}), Answer::Refused);
}

TEST(DeviceProgram, ADenialOfOneAccessRefusesItInEveryCompany) {
    const std::vector<DeviceRule> rules{rule(true, 'a', -1, -1, "rwm"),
                                        rule(false, 'c', 10, 200, "w")};
    EXPECT_EQ(ask(rules, {'c', 10, 200, "w"}), Answer::Refused);
    EXPECT_EQ(ask(rules, {'c', 10, 200, "rw"}), Answer::Refused);
    EXPECT_EQ(ask(rules, {'c', 10, 200, "r"}), Answer::Allowed);
}

TEST(DeviceProgram, TheDefaultsAllowWhatEveryContainerHas) {
    std::vector<DeviceRule> rules{kDenyAll};
    for (const DeviceRule& added : default_device_rules()) {
        rules.push_back(added);
    }
    EXPECT_EQ(ask(rules, {'c', 1, 3, "rwm"}), Answer::Allowed);    // null
    EXPECT_EQ(ask(rules, {'c', 1, 9, "rw"}), Answer::Allowed);     // urandom
    EXPECT_EQ(ask(rules, {'c', 5, 2, "rw"}), Answer::Allowed);     // ptmx
    EXPECT_EQ(ask(rules, {'c', 136, 41, "rw"}), Answer::Allowed);  // a terminal
    EXPECT_EQ(ask(rules, {'b', 8, 0, "m"}), Answer::Allowed);      // a node is only a name
    EXPECT_EQ(ask(rules, {'b', 8, 0, "r"}), Answer::Refused);
    EXPECT_EQ(ask(rules, {'c', 1, 1, "r"}), Answer::Refused);      // mem
    EXPECT_EQ(ask(rules, {'c', 10, 232, "rw"}), Answer::Refused);  // kvm
}

TEST(AttachDeviceFilter, TheKernelTakesTheProgramAndWantsACgroup) {
    const Fd no_cgroup = *open_file("/dev/null", O_RDONLY);
    const auto attached = attach_device_filter(
        no_cgroup.ref(), {kDenyAll, rule(true, 'c', 10, 200, "r"), rule(false, 'b', 8, -1, "w")});
    ASSERT_FALSE(attached.has_value());
    if (attached.error().sys_errno() == EPERM || attached.error().sys_errno() == ENOSYS) {
        GTEST_SKIP() << "bpf(2) is not for us here";
    }
    // Past the load, which the kernel's verifier is a part of.
    EXPECT_EQ(attached.error().message(), "BPF_PROG_ATTACH: Bad file descriptor (EBADF)");
}

}  // namespace
}  // namespace pepita::runtime::container
