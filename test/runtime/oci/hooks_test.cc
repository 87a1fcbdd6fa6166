#include "runtime/hooks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/state.h"

namespace pepita::runtime::oci {
namespace {

class Hooks : public testing::Test {
protected:
    Hooks() { std::filesystem::create_directory(directory_); }
    ~Hooks() override { std::filesystem::remove_all(directory_); }

    static HookSpec shell(const std::string& script) {
        return {.path = "/bin/sh", .args = {"hook", "-c", script}};
    }
    std::string made() const {
        std::ifstream file(directory_ + "/made");
        return {std::istreambuf_iterator<char>(file), {}};
    }

    std::string directory_ = testing::TempDir() + "/pepita-hooks-" + std::to_string(::getpid());
    std::string append_ = " >> " + directory_ + "/made";
};

TEST_F(Hooks, TheStateIsTheirInputAndTheirEnvironmentIsTheirOwn) {
    Bundle bundle;
    bundle.oci_version = "1.2.0";
    bundle.directory = "/b";
    bundle.annotations = {{"a", "b"}};
    HookSpec hook = shell("(cat; echo; echo \"$0 $X ${HOME-none}\")" + append_);
    hook.env = {"X=y"};
    const auto ran =
        run_host_hooks("prestart", {hook}, hook_state(bundle, "web", ContainerStatus::Creating, 42),
                       OnHookFailure::Stop);
    ASSERT_TRUE(ran.has_value()) << ran.error().message();
    EXPECT_EQ(made(), R"({"pid":42,"ociVersion":"1.2.0","id":"web","status":"creating",)"
                      R"("bundle":"/b","annotations":{"a":"b"}})"
                      "\nhook y none\n");
}

TEST_F(Hooks, AFailureStopsTheRestOrIsNoted) {
    const std::vector<HookSpec> hooks{shell("echo why >&2; exit 7"),
                                      shell("echo second" + append_)};
    constexpr const char* words = "poststop hook '/bin/sh': exit status 7: 'why'";
    EXPECT_EQ(run_host_hooks("poststop", hooks, "{}", OnHookFailure::Stop).error().message(),
              words);
    EXPECT_EQ(made(), "");
    EXPECT_EQ(run_host_hooks("poststop", hooks, "{}", OnHookFailure::Note).error().message(),
              words);
    EXPECT_EQ(made(), "second\n");
}

TEST_F(Hooks, OneThatHangsIsKilledAtItsTimeout) {
    HookSpec hook = shell("exec sleep 600");
    hook.timeout_seconds = 1;
    const auto start = std::chrono::steady_clock::now();
    const auto ran = run_host_hooks("createRuntime", {hook}, "{}", OnHookFailure::Stop);
    EXPECT_EQ(ran.error().message(), "createRuntime hook '/bin/sh': it has not ended within 1 s");
    EXPECT_EQ(ran.error().code(), Code::DeadlineExceeded);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST_F(Hooks, AProgramThatIsNotThereIsNamed) {
    EXPECT_TRUE(run_host_hooks("prestart", {{.path = "/no/such"}}, "{}", OnHookFailure::Stop)
                    .error()
                    .message()
                    .starts_with("prestart hook '/no/such': "));
}

TEST_F(Hooks, WhatAHookPrintsWithoutEndDoesNotBlockIt) {
    EXPECT_TRUE(
        run_host_hooks("prestart", {shell("head -c 1000000 /dev/zero")}, "{}", OnHookFailure::Stop)
            .has_value());
}

}  // namespace
}  // namespace pepita::runtime::oci
