#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "runtime/pod_cgroup.h"
#include "runtime/task_api.h"
#include "test/support/fake_microvm.h"
#include "test/support/pod_fixture.h"

namespace pepita::shim {
namespace {

using runtime::TaskStatus;
using std::chrono::seconds;

class PodSandboxTest : public test::PodTest {
protected:
    static std::string config_in(const std::string& network_namespace) {
        const std::string config = test::kPodTestConfig;
        constexpr std::string_view none = R"("linux": {})";
        return config.substr(0, config.find(none)) +
               R"("linux": {"namespaces": [{"type": "network", "path": ")" + network_namespace +
               "\"}]}}";
    }
};

TEST_F(PodSandboxTest, ASandboxStartsWhenItsGuestIsUp) {
    const auto created = create_sandbox();
    EXPECT_TRUE(created->value().has_value());
    const auto started = start_sandbox();
    EXPECT_FALSE(started->has_value());
    EXPECT_FALSE(is_ready());
    EXPECT_EQ(create_sandbox()->value().error().code(), Code::AlreadyExists);
    come_up();
    EXPECT_EQ(started->value().value().pid, static_cast<std::uint32_t>(::getpid()));
    EXPECT_GT(started->value().value().created_at_ns, 0);
    EXPECT_TRUE(is_ready());
    EXPECT_TRUE(start_sandbox()->value().has_value());
    run("b");
    const auto exit = wait_sandbox();
    EXPECT_TRUE(stop_sandbox()->value().has_value());
    EXPECT_EQ(exit->value().value().exit_status, 0U);
    EXPECT_GT(exit->value().value().exited_at_ns, 0);
    EXPECT_FALSE(is_ready());
    EXPECT_EQ(status("b"), TaskStatus::Stopped);
    EXPECT_TRUE(remove("b")->value().has_value());
    EXPECT_TRUE(stop_sandbox()->value().has_value());
}

TEST_F(PodSandboxTest, ASandboxThatCannotBeginOrBootSaysWhy) {
    EXPECT_EQ(start_sandbox()->value().error().message(), "there is no pod");
    machine_.start_error = "no kernel";
    EXPECT_EQ(create_sandbox()->value().error().message(), "no kernel");
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodSandboxTest, ASandboxWhoseGuestDiesWhileItBootsSaysWhy) {
    ASSERT_TRUE(create_sandbox()->value().has_value());
    const auto started = start_sandbox();
    const auto exit = wait_sandbox();
    machine_.end("the guest kernel panicked");
    settle();
    EXPECT_EQ(started->value().error().message(), "the guest kernel panicked");
    EXPECT_EQ(exit->value().value().exit_status, 255U);
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodSandboxTest, ASandboxsNetworkIsThatOfItsSpec) {
    spec_.network_namespace = scratch_ + "/net";
    std::ofstream(spec_.network_namespace) << "stands for one";
    std::filesystem::create_directories(scratch_ + "/other/rootfs");
    std::ofstream(scratch_ + "/other/config.json") << config_in(scratch_ + "/bundle");
    std::ofstream(scratch_ + "/bundle/config.json") << config_in(spec_.network_namespace);
    ASSERT_TRUE(create_sandbox()->value().has_value());
    EXPECT_EQ(machine_.network, spec_.network_namespace);
    come_up();
    run("b");
    EXPECT_EQ(create("c", {}, "/other")->value().error().message(),
              "linux.namespaces: network namespace '" + scratch_ + "/bundle' is not the pod's");
}

TEST_F(PodSandboxTest, R5_ACgroupThatIsNoneEndsThePod) {
    spec_.cgroup = "/pods/../..";
    EXPECT_EQ(create_sandbox()->value().error().message(),
              "cgroup '/pods/../..': must not contain '..'");
    EXPECT_TRUE(pod_->is_useless());
}

TEST_F(PodSandboxTest, ASandboxIsInItsCgroupUntilItsGuestIsDown) {
    const auto groups = [] {
        std::ifstream file("/proc/self/cgroup");
        return std::string(std::istreambuf_iterator<char>(file), {});
    };
    const std::string before = groups();
    spec_.cgroup = "/pepita-unit-test-" + std::to_string(::getpid());
    if (const auto possible = runtime::PodCgroup::enter(spec_.cgroup); !possible) {
        GTEST_SKIP() << possible.error().message();
    }
    ASSERT_TRUE(create_sandbox()->value().has_value());
    EXPECT_TRUE(groups().contains(spec_.cgroup)) << groups();
    come_up();
    run("b");
    EXPECT_TRUE(stop_sandbox()->value().has_value());
    EXPECT_EQ(groups(), before);
    EXPECT_TRUE(remove("b")->value().has_value());
}

TEST_F(PodSandboxTest, ASandboxThatDoesNotStopIsKilledWhenPatienceEnds) {
    ASSERT_TRUE(create_sandbox()->value().has_value());
    come_up();
    machine_.powers_off = false;
    const auto stopped = stop_sandbox(seconds(3));
    const auto again = stop_sandbox(seconds(3));
    clock_.advance(seconds(2));
    settle();
    EXPECT_FALSE(stopped->has_value());
    clock_.advance(seconds(1));
    settle();
    EXPECT_TRUE(stopped->value().has_value());
    EXPECT_TRUE(again->value().has_value());
    EXPECT_EQ(machine_.shutdowns, 1);
    EXPECT_EQ(machine_.kills, std::vector<std::string>{"the guest did not power off"});
}

TEST_F(PodSandboxTest, ASandboxsShutdownTakesAllAlong) {
    ASSERT_TRUE(create_sandbox()->value().has_value());
    come_up();
    run("b");
    const auto done = ask<void>([this](auto answer) { pod_->shutdown_sandbox(std::move(answer)); });
    EXPECT_TRUE(done->value().has_value());
    EXPECT_TRUE(nothing_is_left());
    EXPECT_TRUE(pod_->is_useless());
}

TEST_F(PodSandboxTest, ASandboxHasUsedWhatItsGuestSays) {
    run("a");
    run("b");
    machine_.guest.stats_now.pids = 3;
    machine_.guest.stats_now.io_pressure.some.total_us = 7;
    const auto stats = ask<runtime::ContainerStats>(
        [this](auto answer) { pod_->sandbox_stats(std::move(answer)); });
    EXPECT_EQ(stats->value().value().pids, 3U);
    EXPECT_EQ(stats->value().value().io_pressure.some.total_us, 7U);
}

}  // namespace
}  // namespace pepita::shim
