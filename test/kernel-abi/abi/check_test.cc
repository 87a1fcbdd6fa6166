#include "kernel-abi/abi/check.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/abi/btf.h"
#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "test/support/btf_builder.h"

namespace pepita::abi_check {
namespace {

using test::BtfBuilder;

constexpr const char* kRunning = "/sys/kernel/btf/vmlinux";

// What a kernel would say whose "pair" has two words, the second one late.
std::string kernel() {
    BtfBuilder builder;
    const auto u32 = builder.integer("u32", 4);
    builder.structure("pair", 16, {{"one", u32, 0}, {"two__unsafe", u32, 64}});
    builder.enumeration("SEVEN", 7, false);
    return builder.finish();
}

Report compare_with(const std::string& bytes, std::span<const ExpectedType> types,
                    std::span<const ExpectedEnumerator> enumerators = {}) {
    const auto parsed = btf::Types::parse(std::as_bytes(std::span(bytes)));
    EXPECT_TRUE(parsed.has_value());
    return compare(types, enumerators, *parsed).value();
}

TEST(AbiCheck, WhatAgreesIsCounted) {
    const std::array members{ExpectedMember{.name = "one", .offset = 0, .size = 4},
                             ExpectedMember{.name = "two|two__unsafe", .offset = 8, .size = 4}};
    const std::array types{
        ExpectedType{.name = "pair", .size = 16, .length = Length::Exact, .members = members}};
    const std::array enumerators{ExpectedEnumerator{.name = "SEVEN", .value = 7}};
    const Report report = compare_with(kernel(), types, enumerators);
    EXPECT_EQ(report.same, 4U);
    EXPECT_TRUE(report.differences.empty());
    EXPECT_TRUE(report.absent.empty());
}

TEST(AbiCheck, WhatDiffersIsNamed) {
    const std::array members{
        ExpectedMember{.name = "one", .offset = 0, .size = 8},
        ExpectedMember{.name = "two__unsafe", .offset = 4, .size = 4},
        ExpectedMember{.name = "three", .offset = 12, .size = 4},
        ExpectedMember{.name = "", .offset = 99, .size = 1},
        ExpectedMember{
            .name = "four", .offset = 16, .size = 4, .since = {.major = 6, .minor = 16}}};
    const std::array types{
        ExpectedType{.name = "pair", .size = 12, .length = Length::Exact, .members = members},
        ExpectedType{.name = "pair", .size = 20, .length = Length::AtLeast, .members = {}},
        ExpectedType{.name = "triple", .size = 1, .length = Length::Exact, .members = {}}};
    const std::array enumerators{ExpectedEnumerator{.name = "SEVEN", .value = 8},
                                 ExpectedEnumerator{.name = "EIGHT", .value = 8}};
    const Report report = compare_with(kernel(), types, enumerators);
    EXPECT_EQ(report.same, 0U);
    EXPECT_EQ(report.differences,
              (std::vector<std::string>{"pair: ours has 12 B, the kernel's 16 B",
                                        "pair.one: ours is 8 B at 0, the kernel's 4 B at 0",
                                        "pair.two__unsafe: ours is 4 B at 4, the kernel's 4 B at 8",
                                        "pair.three: the kernel has no such member",
                                        "pair: ours has 20 B, the kernel's 16 B",
                                        "SEVEN: ours is 8, the kernel's 7"}));
    EXPECT_EQ(report.absent,
              (std::vector<std::string>{"pair.four (Linux 6.16)", "triple", "EIGHT"}));
}

TEST(AbiCheck, KernelThatDoesNotSayIsNotFound) {
    const auto report = check_kernel("/nonexistent");
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code(), Code::NotFound);
    EXPECT_TRUE(report.error().message().contains("'/nonexistent/vmlinux'"))
        << report.error().message();
}

TEST(AbiCheck, FileThatIsDamagedIsNamed) {
    std::string directory = testing::TempDir() + "btf-XXXXXX";
    ASSERT_NE(::mkdtemp(directory.data()), nullptr);
    std::ofstream(directory + "/vmlinux") << kernel();
    std::ofstream(directory + "/broken") << "words";
    const auto report = check_kernel(directory);
    std::filesystem::remove_all(directory);
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code(), Code::DataLoss);
    EXPECT_TRUE(report.error().message().contains(directory + "/broken"))
        << report.error().message();
}

/// The kernel that runs here. A test that a wrong definition of ours would not fail proves nothing,
/// so each one is made wrong in turn.
class RunningKernel : public testing::Test {
protected:
    void SetUp() override {
        if (::access(kRunning, R_OK) != 0) {
            GTEST_SKIP() << "the kernel does not publish its types in " << kRunning;
        }
        bytes_ = read_all(open_file(kRunning, O_RDONLY)->ref(), std::size_t{256} << 20U, kRunning)
                     .value();
    }
    Report check(std::span<const ExpectedType> types,
                 std::span<const ExpectedEnumerator> enumerators = {}) const {
        return compare_with(bytes_, types, enumerators);
    }

    std::string bytes_;
};

TEST_F(RunningKernel, AgreesWithOurDefinitions) {
    const auto report = check_kernel("/sys/kernel/btf");
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->differences, std::vector<std::string>());
    EXPECT_GT(report->same, 100U);
}

TEST_F(RunningKernel, EveryFieldThatIsMadeWrongIsFound) {
    const btf::Types kernel = btf::Types::parse(std::as_bytes(std::span(bytes_))).value();
    for (const ExpectedType& type : expected_types()) {
        if (!kernel.find(type.name)) {
            continue;
        }
        std::vector<ExpectedMember> members(type.members.begin(), type.members.end());
        ExpectedType wrong = type;
        wrong.members = members;
        wrong.size += 1'000'000;  // more than any has, whether it may be longer or not
        EXPECT_EQ(compare(std::span(&wrong, 1), {}, kernel)->differences.size(), 1U) << type.name;
        wrong.size = type.size;
        for (ExpectedMember& member : members) {
            if (member.name.empty()) {
                continue;
            }
            const ExpectedMember right = member;
            member.offset += 1;
            EXPECT_EQ(compare(std::span(&wrong, 1), {}, kernel)->differences.size(), 1U)
                << type.name << "." << member.name;
            member = right;
            member.size += 1;
            EXPECT_EQ(compare(std::span(&wrong, 1), {}, kernel)->differences.size(), 1U)
                << type.name << "." << member.name;
            member = right;
        }
    }
    for (ExpectedEnumerator wrong : expected_enumerators()) {
        if (kernel.value_of(wrong.name)) {
            wrong.value ^= 1U << 8U;
            EXPECT_EQ(compare({}, std::span(&wrong, 1), kernel)->differences.size(), 1U)
                << wrong.name;
        }
    }
}

}  // namespace
}  // namespace pepita::abi_check
