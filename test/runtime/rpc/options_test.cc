#include "runtime/rpc/options.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::runtime {
namespace {

enum class Handle : int {};
enum class Colour : std::uint8_t { Red, Green };

struct Disk {
    std::string name;
    Handle file{};
    bool read_only = false;
    std::optional<Handle> server;

    friend bool operator==(const Disk&, const Disk&) = default;
};

struct Program {
    struct Limits {
        Bytes memory = 512_MiB;
        friend bool operator==(const Limits&, const Limits&) = default;
    };
    std::string id;
    std::string line;
    Limits limits = {};
    std::chrono::seconds deadline{60};
    std::uint32_t scratch = 8;
    Colour colour = Colour::Red;
    bool is_loud = false;
    std::optional<std::uint32_t> count;
    std::vector<Disk> disks;

    friend bool operator==(const Program&, const Program&) = default;
};

constexpr auto kDiskRules = std::to_array<OptionRule<Disk>>({
    option<&Disk::name, Text>({.name = "name", .value_name = "NAME", .occurs = Occurs::Required}),
    option<&Disk::file, Number<0, 1023>>(
        {.name = "file", .value_name = "FD", .occurs = Occurs::Required}),
    option<&Disk::read_only, Flag>({.name = "read-only", .occurs = Occurs::Once}),
    option<&Disk::server, Maybe<Number<0, 1023>>>(
        {.name = "server", .value_name = "FD", .occurs = Occurs::Once}),
});

constexpr std::array kColours{Named{.name = "red", .value = Colour::Red},
                              Named{.name = "green", .value = Colour::Green}};

Result<void> check_disk(const Disk& disk) {
    if (disk.server && disk.read_only) {
        return usage_error("a server decides who writes");
    }
    return {};
}

constexpr auto kTable = std::to_array<OptionRule<Program>>({
    option<&Program::id, Text>({.name = "id", .value_name = "ID", .occurs = Occurs::Required}),
    option<&Program::line, Text>({.name = "line", .letter = 'l', .value_name = "TEXT"}),
    option<Member<&Program::limits, &Program::Limits::memory>, Mebibytes<64, 65'536>>(
        {.name = "memory", .value_name = "MIB", .occurs = Occurs::Once}),
    option<&Program::deadline, Number<1, 3600>>({.name = "deadline", .value_name = "SECONDS"}),
    option<&Program::scratch, OrZero<Number<16, 64>>>({.name = "scratch", .value_name = "MIB"}),
    option<&Program::colour, Choice<kColours>>({.name = "colour", .value_name = "COLOUR"}),
    option<&Program::is_loud, Flag>({.name = "loud"}),
    option<&Program::count, Maybe<Number<0, 9>>>({.name = "count", .value_name = "N"}),
    option<&Program::disks, List<Fields<kDiskRules, check_disk>, 2>>(
        {.name = "disk", .value_name = "DISK"}),
});
constexpr std::span<const OptionRule<Program>> kRules = kTable;

Result<Program> parse(std::vector<std::string> arguments) {
    Program program;
    TRY(parse_options(std::span<const std::string>(arguments), kRules, program));
    return program;
}

std::string error_of(const std::vector<std::string>& arguments) {
    const Result<Program> parsed = parse(arguments);
    return parsed ? "" : parsed.error().message();
}

Program full() {
    return {.id = "web",
            .line = "a=b, --c",
            .limits = {.memory = 64_MiB},
            .deadline = std::chrono::seconds(5),
            .scratch = 0,
            .colour = Colour::Green,
            .is_loud = true,
            .count = 0,
            .disks = {{.name = "a,b,,=c,", .file = Handle{7}, .read_only = true, .server = {}},
                      {.name = "d", .file = Handle{0}, .read_only = false, .server = Handle{9}}}};
}

TEST(OptionRules, WhatIsPrintedIsParsedToAnEqualValue) {
    const std::vector<std::string> arguments = print_options(kRules, full());
    const Result<Program> parsed = parse(arguments);
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_EQ(*parsed, full());
}

TEST(OptionRules, PrintsAbsentMembersNotAtAll) {
    const std::vector<std::string> expected = {
        "--id", "x", "--memory", "512", "--deadline", "60", "--scratch", "8", "--colour", "red"};
    EXPECT_EQ(print_options(kRules, Program{.id = "x", .line = {}, .count = {}, .disks = {}}),
              expected);
}

TEST(OptionRules, ALineOfAControlSocketIsTheWordsOfACommandLine) {
    EXPECT_EQ(words_of_line("--disk name=a b,file=1"),
              (std::vector<std::string>{"--disk", "name=a b,file=1"}));
    EXPECT_EQ(words_of_line("--loud"), (std::vector<std::string>{"--loud"}));
}

TEST(OptionRules, R5_LimitsAreTheTablesAtLimitAndBeyond) {
    EXPECT_TRUE(parse({"--id", "x", "--memory", "65536"}));
    EXPECT_EQ(error_of({"--id", "x", "--memory", "65537"}),
              "option '--memory': must be a whole number from 64 to 65536");
    EXPECT_EQ(error_of({"--id", "x", "--scratch=15"}),
              "option '--scratch': must be a whole number from 16 to 64, or 0");
    EXPECT_EQ(error_of({"--id", "x", "--colour", "blue"}),
              "option '--colour': must be red or green");
}

TEST(OptionRules, CountsOccurrences) {
    EXPECT_EQ(error_of({"--loud"}), "option '--id' is missing");
    EXPECT_EQ(error_of({"--id", "x", "--memory=64", "--memory=64"}),
              "option '--memory': is given twice");
    EXPECT_EQ(parse({"--id", "x", "-l", "a", "-l", "b"})->line, "b");
    const std::string disk = "--disk=name=a,file=1";
    EXPECT_EQ(error_of({"--id=x", disk, disk, disk}),
              "option '--disk': is given more than 2 times");
}

TEST(OptionRules, RefusesWordsThatAreNoOption) {
    EXPECT_EQ(error_of({"--id", "x", "y"}), "unexpected argument 'y'");
    EXPECT_EQ(error_of({"--id"}), "option '--id' needs a value");
    EXPECT_EQ(error_of({"--loud=1"}), "option '--loud' takes no value");
    EXPECT_EQ(error_of({"--quiet"}), "unknown option '--quiet'");
}

TEST(OptionRules, RefusesFieldsByName) {
    EXPECT_EQ(error_of({"--disk", "name=a"}), "option '--disk': 'file' is missing");
    EXPECT_EQ(error_of({"--disk", ""}), "option '--disk': 'name' is missing");
    EXPECT_EQ(error_of({"--disk", "name=a,,b=1,"}), "option '--disk': unknown key ''");
    EXPECT_EQ(error_of({"--disk", "size=1"}), "option '--disk': unknown key 'size'");
    EXPECT_EQ(error_of({"--disk", "name"}), "option '--disk': 'name' needs a value");
    EXPECT_EQ(error_of({"--disk", "read-only=1"}), "option '--disk': 'read-only' takes no value");
    EXPECT_EQ(error_of({"--disk", "file=1,file=1"}), "option '--disk': 'file': is given twice");
    EXPECT_EQ(error_of({"--disk", "name=a,file=1024"}),
              "option '--disk': 'file': must be a whole number from 0 to 1023");
    EXPECT_EQ(error_of({"--disk", "name=a,file=1,read-only,server=2"}),
              "option '--disk': a server decides who writes");
}

}  // namespace
}  // namespace pepita::runtime
