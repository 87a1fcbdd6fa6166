#include "shim/kernel_command_line.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "kernel-abi/sys/error.h"
#include "shim/isolation.h"

namespace pepita::shim {
namespace {

namespace fs = std::filesystem;

TEST(KernelCommandLine, R32_TheTimerIsNotCheckedOnAnyMachine) {
    for (const Isolation isolation : {Isolation::Kvm, Isolation::Tcg}) {
        EXPECT_TRUE(kernel_command_line({.isolation = isolation, .guest_words = {}})
                        .contains(" no_timer_check"));
    }
}

TEST(KernelCommandLine, OnlyKvmPromisesAReliableClock) {
    EXPECT_TRUE(kernel_command_line({.isolation = Isolation::Kvm, .guest_words = {}})
                    .contains("tsc=reliable"));
    EXPECT_FALSE(kernel_command_line({.isolation = Isolation::Tcg, .guest_words = {}})
                     .contains("tsc=reliable"));
}

TEST(KernelCommandLine, SaysHowManyCpusStart) {
    EXPECT_TRUE(
        kernel_command_line({.vcpus_online = 3, .guest_words = {}}).contains(" maxcpus=3 "));
}

TEST(KernelCommandLine, TheGuestsOwnWordsComeLast) {
    EXPECT_TRUE(
        kernel_command_line({.has_console = true, .guest_words = "initcall_blacklist=x loglevel=7"})
            .ends_with("console=ttyS0 loglevel=6 initcall_blacklist=x loglevel=7"));
}

class GuestWords : public testing::Test {
protected:
    GuestWords() = default;
    ~GuestWords() override { fs::remove_all(directory_); }
    GuestWords(const GuestWords&) = delete;
    GuestWords& operator=(const GuestWords&) = delete;

    static std::string make_directory() {
        std::string pattern = (fs::temp_directory_path() / "pepita-words-XXXXXX").string();
        return ::mkdtemp(pattern.data());
    }
    Result<std::string> read(const std::string& content) const {
        std::ofstream(file_, std::ios::binary) << content;
        return read_guest_words(file_);
    }

    std::string directory_ = make_directory();
    std::string file_ = directory_ + "/command-line";
};

TEST_F(GuestWords, AreTheFilesOneLine) {
    EXPECT_EQ(*read("a=1 b,c\n"), "a=1 b,c");
    EXPECT_EQ(*read("a=1 b,c"), "a=1 b,c");
}

TEST_F(GuestWords, AreNoneWithoutAFile) { EXPECT_EQ(*read_guest_words(file_), ""); }

TEST_F(GuestWords, AreOneLineOfAKnownLength) {
    EXPECT_EQ(read(std::string(kGuestWordsMax, 'x') + "\n")->size(), kGuestWordsMax);
    EXPECT_EQ(read(std::string(kGuestWordsMax + 1, 'x')).error().code(), Code::InvalidArgument);
    EXPECT_EQ(read("a\nb\n").error().code(), Code::InvalidArgument);
    EXPECT_EQ(read(std::string("a\0b", 3)).error().code(), Code::InvalidArgument);
    EXPECT_EQ(read("\xc3\xa4").error().code(), Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita::shim
