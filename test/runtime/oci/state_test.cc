#include "runtime/state.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "runtime/rpc/log_json.h"
#include "test/support/golden.h"

namespace pepita::runtime {
namespace {

ContainerState example() {
    return {.oci_version = "1.2.0",
            .id = "web",
            .status = ContainerStatus::Running,
            .pid = 41,
            .pod = "site",
            .bundle = "/bundles/web",
            .annotations = {{"a", "1"}},
            .created = "2024-02-29T12:00:00Z",
            .isolation = "kvm",
            .isolation_reason = "/dev/kvm: usable",
            .cgroups = {"/sys/fs/cgroup/web"},
            .shim = {.pid = 42, .start_ticks = 43},
            .vmm = {.pid = 44, .start_ticks = UINT64_MAX}};
}

class State : public testing::Test {
public:
    State() {
        std::string name = testing::TempDir() + "state-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        path_ = name;
        directory_ = *open_file(name.c_str(), O_RDONLY | O_DIRECTORY);
    }
    ~State() override { std::filesystem::remove_all(path_); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    State(State&&) = delete;
    State& operator=(State&&) = delete;

protected:
    std::filesystem::path path_;
    Fd directory_;
};

TEST_F(State, ReadsWhatItWroteAndLeavesOneFile) {
    ASSERT_TRUE(write_state(directory_.ref(), {}).has_value());
    ASSERT_TRUE(write_state(directory_.ref(), example()).has_value());
    EXPECT_EQ(read_state(directory_.ref()).value(), example());
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path_), {}), 1);
}

// The reason is told beside the isolation only, so it is read so too.
TEST_F(State, ReasonWithoutAnIsolationIsNone) {
    std::ofstream(path_ / kStateFile) << R"({"ociVersion": "", "id": "", "status": "stopped",
        "pid": 0, "bundle": "", "created": "", "isolationReason": "why",
        "shim": {"pid": 0, "startTicks": 0}, "vmm": {"pid": 0, "startTicks": 0}})";
    const ContainerState state = read_state(directory_.ref()).value();
    EXPECT_EQ(state.isolation_reason, "");
    ASSERT_TRUE(write_state(directory_.ref(), state).has_value());
    EXPECT_EQ(read_state(directory_.ref()).value(), state);
}

TEST_F(State, WithoutAFileIsNotFound) {
    EXPECT_EQ(read_state(directory_.ref()).error().code(), Code::NotFound);
}

TEST_F(State, FileThatIsTooLargeIsDataLoss) {
    std::ofstream(path_ / kStateFile) << std::string((std::size_t{4} << 20U) + 1, ' ');
    EXPECT_EQ(read_state(directory_.ref()).error().code(), Code::DataLoss);
}

TEST_F(State, FileOfSomeoneElseIsDataLoss) {
    std::ofstream(path_ / kStateFile) << R"({"id": "x"})";
    EXPECT_EQ(read_state(directory_.ref()).error().code(), Code::DataLoss);
    EXPECT_EQ(read_state(directory_.ref()).error().message(), "state.json: ociVersion: is missing");
}

TEST_F(State, LinkInPlaceOfTheFileIsNotFollowed) {
    std::filesystem::create_symlink("/dev/zero", path_ / kStateFile);
    EXPECT_EQ(read_state(directory_.ref()).error().sys_errno(), ELOOP);
}

TEST(OciState, IsGolden) {
    ContainerState stopped = example();
    stopped.status = ContainerStatus::Stopped;
    stopped.pid = 0;
    stopped.annotations.clear();
    const std::array<ContainerState, 2> states{example(), stopped};
    test::expect_golden("runtime/state.json", to_oci_json(states[0]));
    test::expect_golden("runtime/list.json", to_oci_json(states));
}

TEST(HostProcess, IsFoundOnlyWhileItRuns) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::pause();
        ::_exit(0);
    }
    const HostProcess process = identify_process(static_cast<std::uint32_t>(child)).value();
    EXPECT_GT(process.start_ticks, 0U);
    const HostProcess later{.pid = process.pid, .start_ticks = process.start_ticks + 1};
    EXPECT_FALSE(kill_process(later).value()) << "a pid that was used again";
    EXPECT_TRUE(kill_process(process).value());
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WTERMSIG(status), SIGKILL);
    EXPECT_FALSE(kill_process(process).value());
    EXPECT_FALSE(kill_process({}).value());
    EXPECT_EQ(identify_process(process.pid).error().code(), Code::NotFound);
}

TEST(TimestampNow, HasTheFormOfRfc3339) {
    const std::string now = timestamp_now();
    ASSERT_EQ(now.size(), std::string("2024-02-29T12:00:00Z").size());
    EXPECT_EQ(now[10], 'T');
    EXPECT_EQ(now.back(), 'Z');
}

}  // namespace
}  // namespace pepita::runtime
