#include "cri/options.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"

namespace pepita::cri {
namespace {

constexpr const char* kSample = PEPITA_SOURCE_ROOT "/deploy/pepita.json";
constexpr const char* kNoFile = "/nonexistent/pepita.json";

class OptionsTest : public testing::Test {
protected:
    OptionsTest() { EXPECT_NE(::mkdtemp(directory_.data()), nullptr); }
    ~OptionsTest() override { std::filesystem::remove_all(directory_); }

    std::string config(std::string_view text) const {
        std::ofstream(directory_ + "/pepita.json") << text;
        return directory_ + "/pepita.json";
    }
    Result<Options> parse(std::string_view text, std::vector<std::string> arguments = {}) const {
        return parse_options(arguments, config(text));
    }
    std::string refused(std::string_view text) const {
        const Result<Options> options = parse(text);
        return options ? "" : options.error().message();
    }
    std::string in_config(const std::string& message) const {
        return "configuration '" + directory_ + "/pepita.json': " + message;
    }

    std::string directory_ = "/tmp/pepita-options-XXXXXX";
};

TEST_F(OptionsTest, TheSampleIsTheDefaults) {
    const Result<Options> sample = parse_options({}, kSample);
    ASSERT_TRUE(sample) << sample.error().message();
    const Result<Options> defaults = parse_options({}, kNoFile);
    ASSERT_TRUE(defaults);
    EXPECT_EQ(print_options(*sample), print_options(*defaults));
}

TEST_F(OptionsTest, TheSampleNamesEveryOption) {
    const std::string sample = read_file(kSample).value();
    Options all;
    all.metrics = all.cni_plugins = all.runtime.shim = all.runtime.vmm = all.runtime.seccomp = "/x";
    for (const std::string& word : print_options(all)) {
        if (word.starts_with("--")) {
            EXPECT_TRUE(sample.contains("\"" + word.substr(2) + "\":")) << word;
        }
    }
}

TEST_F(OptionsTest, TheHelpHasEveryDefault) {
    const std::string help = help_text();
    const std::vector<std::string> words = print_options(Options());
    ASSERT_GT(words.size(), 20U);
    for (std::size_t i = 0; i < words.size(); i += 2) {
        const std::size_t at = help.find("    " + words[i] + " ");
        ASSERT_NE(at, std::string::npos) << words[i];
        const std::string line = help.substr(at, help.find('\n', at) - at);
        EXPECT_TRUE(line.ends_with("(default: " + words[i + 1] + ")")) << line;
    }
}

TEST_F(OptionsTest, TheCommandLineWinsOverTheFile) {
    const std::string_view text = R"({"memory": 300, /* a comment */ "cpus": "3"} // the end)";
    const Result<Options> options = parse(text, {"--memory", "400"});
    ASSERT_TRUE(options) << options.error().message();
    EXPECT_EQ(options->runtime.memory_mib, 400U);
    EXPECT_EQ(options->runtime.vcpus, 3U);
    const Result<Options> other =
        parse_options(std::vector<std::string>{"--config", config(text)}, kNoFile);
    ASSERT_TRUE(other) << other.error().message();
    EXPECT_EQ(other->runtime.memory_mib, 300U);
}

TEST_F(OptionsTest, AFileThatIsNamedMustBeThere) {
    const auto missing = parse_options(std::vector<std::string>{"--config", kNoFile}, kNoFile);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code(), Code::NotFound);
    EXPECT_TRUE(missing.error().message().starts_with("configuration '/nonexistent/pepita.json'"));
}

TEST_F(OptionsTest, WhatIsWrongInTheFileIsNamed) {
    EXPECT_EQ(refused(R"({"memry": 512})"), in_config("member 'memry': is unknown"));
    EXPECT_EQ(refused(R"({"help": "x"})"), in_config("member 'help': is unknown"));
    EXPECT_EQ(refused(R"({"config": "x"})"), in_config("member 'config': is unknown"));
    EXPECT_EQ(refused(R"({"socket": true})"),
              in_config("member 'socket': must be a string or a whole number"));
    EXPECT_EQ(refused(R"({"isolation": "none"})"),
              in_config("member 'isolation': must be auto, kvm, tcg or process"));
    EXPECT_TRUE(refused(R"({"memory": 1})")
                    .starts_with(in_config("member 'memory': must be a whole number from ")));
    EXPECT_EQ(refused(R"({"cpus": 1, "cpus": 2})"), in_config("member 'cpus' is there twice"));
    EXPECT_EQ(refused("{\n\"cpus\": 1,\n}"), in_config("line 3, column 1: not JSON"));
    EXPECT_EQ(refused("[]"), in_config("must be an object"));
}

TEST_F(OptionsTest, ChangesAreLiveOrWaitForARestart) {
    const Options before;
    Options after;
    after.runtime.memory_mib = 1024;
    after.runtime.isolation = runtime::IsolationChoice::Tcg;
    after.socket = "/other.sock";
    after.metrics = "127.0.0.1:1";
    const OptionChanges changed = changes(before, after);
    EXPECT_EQ(changed.live, (std::vector<std::string>{"isolation", "memory"}));
    EXPECT_EQ(changed.restart, (std::vector<std::string>{"socket", "metrics"}));
}

}  // namespace
}  // namespace pepita::cri
