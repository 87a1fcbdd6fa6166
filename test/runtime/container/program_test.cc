#include "runtime/container/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "runtime/container.h"

namespace pepita::runtime::container {
namespace {

// Above every status that the scripts below end with.
constexpr int kErrnoBase = 100;

class ProgramTest : public testing::Test {
protected:
    ProgramTest() { EXPECT_NE(::mkdtemp(directory_.data()), nullptr); }
    ~ProgramTest() override { std::filesystem::remove_all(directory_); }

    // A program that ends with `status`; its path.
    std::string make(const std::string& name, int status, mode_t mode = 0755) {
        const std::string path = directory_ + "/" + name;
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        std::ofstream(path) << "#!/bin/sh\nexit " << status << "\n";
        EXPECT_EQ(::chmod(path.c_str(), mode), 0);
        return path;
    }

    // The status of a child that becomes this, or kErrnoBase + the errno that kept it.
    int become(std::vector<std::string> args, std::vector<std::string> env) {
        ProcessSpec spec;
        spec.args = std::move(args);
        spec.env = std::move(env);
        const pid_t child = ::fork();
        if (child == 0) {
            if (::chdir(directory_.c_str()) != 0) {
                ::_exit(99);
            }
            ::_exit(kErrnoBase + become_program(spec));
        }
        int status = 0;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status));
        return WEXITSTATUS(status);
    }

    std::string path_of(const std::vector<std::string>& names) {
        std::string path = "PATH=";
        for (const std::string& name : names) {
            path += (path.back() == '=' ? "" : ":") + directory_ + "/" + name;
        }
        return path;
    }

    std::string directory_ = "/tmp/pepita-program-XXXXXX";
};

TEST(ExitStatusOf, NotFoundIs127AndNotExecutable126) {
    EXPECT_EQ(exit_status_of(ENOENT), 127);
    EXPECT_EQ(exit_status_of(ENOTDIR), 127);
    EXPECT_EQ(exit_status_of(EACCES), 126);
    EXPECT_EQ(exit_status_of(ENOEXEC), 126);
}

TEST_F(ProgramTest, ANameIsLookedUpInThePathInOrder) {
    make("b/tool", 12);
    make("c/tool", 13);
    EXPECT_EQ(become({"tool"}, {path_of({"a", "b", "c"})}), 12);
}

TEST_F(ProgramTest, OneThatCannotBeRunIsPassedOver) {
    make("a/tool", 11, 0644);
    make("b/tool", 12);
    EXPECT_EQ(become({"tool"}, {path_of({"a", "b"})}), 12);
}

TEST_F(ProgramTest, TheOnlyOneThatCannotBeRunIsEacces) {
    make("a/tool", 11, 0644);
    EXPECT_EQ(become({"tool"}, {path_of({"a", "b"})}), kErrnoBase + EACCES);
    EXPECT_EQ(become({directory_ + "/a/tool"}, {}), kErrnoBase + EACCES);
}

TEST_F(ProgramTest, WhatIsNowhereIsEnoent) {
    EXPECT_EQ(become({"tool"}, {path_of({"a", "b"})}), kErrnoBase + ENOENT);
    EXPECT_EQ(become({""}, {path_of({"a", "b"})}), kErrnoBase + ENOENT);
    EXPECT_EQ(become({"tool"}, {"PATH="}), kErrnoBase + ENOENT);
    EXPECT_EQ(become({directory_ + "/tool"}, {}), kErrnoBase + ENOENT);
}

TEST_F(ProgramTest, ANameWithASlashIsTakenAsItIs) {
    make("b/tool", 12);
    EXPECT_EQ(become({"b/tool"}, {path_of({"a"})}), 12);
    EXPECT_EQ(become({"a/tool"}, {path_of({"b"})}), kErrnoBase + ENOENT);
}

TEST_F(ProgramTest, AnEmptyEntryOfThePathIsTheWorkingDirectory) {
    make("tool", 7);
    EXPECT_EQ(become({"tool"}, {"PATH=:/nowhere"}), 7);
}

TEST_F(ProgramTest, WithoutAPathThereIsTheUsualOne) {
    EXPECT_EQ(become({"sh", "-c", "exit 5"}, {}), 5);
}

TEST_F(ProgramTest, ItHasTheArgumentsAndTheEnvironmentAndNoMore) {
    EXPECT_EQ(become({"/bin/sh", "-c", R"([ "$1" = "a b" ] && [ "$X" = y ] && [ -z "$HOME" ])",
                      "sh", "a b"},
                     {"X=y"}),
              0);
}

}  // namespace
}  // namespace pepita::runtime::container
