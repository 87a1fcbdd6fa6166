#include "runtime/guest/guest_server.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/guest/clock.h"
#include "runtime/guest/stream_server.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "test/support/container_fixture.h"
#include "test/support/waited_container.h"

namespace pepita::runtime::guest {
namespace {

// A guest without a machine: its containers are this machine's.
class GuestServerTest : public test::ContainerFixture {
protected:
    GuestServer make() {
        return {*loop_,
                streams_,
                {.version = "1.2.3",
                 .staging_directory = staging_directory_,
                 .shared_directory = staging_directory_ + "-shared",
                 .cgroup_directory = "",
                 .find_disk = [](const DiskId& disk) -> Result<std::string> {
                     if (disk.serial != "disk0") {
                         return Error(Code::NotFound,
                                      "no disk has the serial '" + disk.serial + "'");
                     }
                     return image->device();
                 },
                 .rescan = [] { return Result<void>(); },
                 .release = [](const DiskId& disk) -> Result<void> {
                     return Error(Code::FailedPrecondition, "'" + disk.serial + "' is in use");
                 },
                 .configure_network = [](const NetworkConfig& config) -> Result<void> {
                     return Error(Code::NotFound, "no '" + config.interfaces.at(0).name + "' here");
                 },
                 .limit_pod = [](const ResourcesSpec& limits) -> Result<void> {
                     return limits.memory_limit_bytes ? Result<void>()
                                                      : Error(Code::Unsupported, "no memory");
                 },
                 .adjust_clock = step_clock,
                 .power_off = [this] { is_off_ = true; }}};
    }

    // The answer to a question; the loop runs until it is there.
    template <typename T, typename Ask>
    Result<T> answer(Ask ask) {
        return test::wait_for<T>(*loop_, std::move(ask));
    }

    static ContainerSpec spec(const std::string& id, const std::string& script) {
        ContainerSpec spec = shell(script);
        spec.id = id;
        spec.root.disk = DiskId{.serial = "disk0"};
        return spec;
    }

    Result<StreamNumbers> create(const ContainerSpec& spec) {
        return answer<StreamNumbers>([&](auto done) { server_.create(spec, std::move(done)); });
    }
    Result<StreamNumbers> exec(const ProcessId& id) {
        return answer<StreamNumbers>(
            [&](auto done) { server_.exec(id, program({"sh", "-c", "exit 5"}), std::move(done)); });
    }
    Result<Started> start(const ProcessId& id) {
        return answer<Started>([&](auto done) { server_.start(id, std::move(done)); });
    }
    Result<void> remove(const ProcessId& id) {
        return answer<void>([&](auto done) { server_.remove(id, std::move(done)); });
    }
    Result<void> signal(const ProcessId& id, std::uint32_t number) {
        return answer<void>([&](auto done) { server_.signal(id, number, false, std::move(done)); });
    }
    // The guest's init hears of the end of this child.
    void reap_and_tell(std::uint32_t pid) {
        const int status = reap(static_cast<pid_t>(pid));
        server_.on_exit(static_cast<pid_t>(pid),
                        status > 128 ? ChildExit{.by_signal = true, .value = status - 128}
                                     : ChildExit{.by_signal = false, .value = status});
    }

    StreamServer streams_{*loop_};
    bool is_off_ = false;
    GuestServer server_ = make();
    const ProcessId web_{.container = "web", .exec = ""};
    const ProcessId extra_{.container = "web", .exec = "extra"};
};

TEST_F(GuestServerTest, DescribesItself) {
    const auto description =
        answer<GuestDescription>([&](auto done) { server_.describe(std::move(done)); });
    EXPECT_EQ(description.value().version, "1.2.3");
    EXPECT_FALSE(description.value().kernel_release.empty());
}

TEST_F(GuestServerTest, WhatItDoesNotKnowIsNotFound) {
    EXPECT_EQ(start(web_).error().message(), "container 'web' does not exist");
    EXPECT_EQ(start(extra_).error().message(), "process 'extra' does not exist");
    EXPECT_EQ(exec(extra_).error().code(), Code::NotFound);
    EXPECT_EQ(remove(web_).error().code(), Code::NotFound);
    EXPECT_EQ(signal(web_, 9).error().code(), Code::NotFound);
    EXPECT_EQ(answer<std::uint32_t>([&](auto done) { server_.wait(web_, std::move(done)); })
                  .error()
                  .code(),
              Code::NotFound);
    EXPECT_EQ(
        answer<void>([&](auto done) { server_.resize(web_, {}, std::move(done)); }).error().code(),
        Code::NotFound);
    EXPECT_EQ(
        answer<void>([&](auto done) { server_.close_stdin(web_, std::move(done)); }).error().code(),
        Code::NotFound);
    server_.on_exit(1, {});  // an orphan
}

TEST_F(GuestServerTest, AMissingDiskIsNamedAndTheIdStaysFree) {
    ContainerSpec missing = spec("web", "true");
    missing.root.disk = DiskId{.serial = "disk7"};
    EXPECT_EQ(create(missing).error().message(), "no disk has the serial 'disk7'");
    EXPECT_EQ(start(web_).error().code(), Code::NotFound);
}

TEST_F(GuestServerTest, TheScratchDiskIsLookedForWhereItIsWrittenTo) {
    ContainerSpec wanting = spec("web", "true");
    wanting.root.written_to = WrittenTo::ScratchDisk;
    wanting.root.scratch_disk.serial = "disk8";
    EXPECT_EQ(create(wanting).error().message(), "no disk has the serial 'disk8'");
    wanting.root.written_to = WrittenTo::Memory;
    ASSERT_TRUE(create(wanting).has_value());
    const auto started = start(web_);
    ASSERT_TRUE(started.has_value());
    reap_and_tell(started->pid);
    EXPECT_TRUE(remove(web_).has_value());
}

TEST_F(GuestServerTest, AContainerLivesFromCreateToRemove) {
    ASSERT_TRUE(create(spec("web", "exit 3")).has_value());
    EXPECT_EQ(create(spec("web", "true")).error().code(), Code::AlreadyExists);
    const auto started = start(web_);
    ASSERT_TRUE(started.has_value());
    EXPECT_EQ(start(web_).error().code(), Code::FailedPrecondition);
    EXPECT_EQ(remove(web_).error().message(), "the process is running");
    std::optional<std::uint32_t> status;
    server_.wait(web_, [&](Result<std::uint32_t> result) { status = *result; });
    EXPECT_FALSE(status.has_value());
    reap_and_tell(started->pid);
    EXPECT_EQ(status, 3U);
    EXPECT_EQ(
        answer<std::uint32_t>([&](auto done) { server_.wait(web_, std::move(done)); }).value(), 3U);
    EXPECT_EQ(signal(web_, 9).error().message(), "the process is over");
    EXPECT_EQ(exec(extra_).error().message(), "container not running");
    EXPECT_TRUE(remove(web_).has_value());
    EXPECT_EQ(remove(web_).error().code(), Code::NotFound);
}

TEST_F(GuestServerTest, AnExecLivesInARunningContainer) {
    ContainerSpec waiting = spec("web", "");
    waiting.process.args = {"cat"};
    waiting.process.streams.has_stdin = true;
    ASSERT_NE(create(waiting).value().in, 0U);
    const auto own = start(web_);
    ASSERT_TRUE(own.has_value());
    ASSERT_TRUE(exec(extra_).has_value());
    EXPECT_EQ(exec(extra_).error().code(), Code::AlreadyExists);
    EXPECT_EQ(exec(web_).error().code(), Code::AlreadyExists);
    const auto extra = start(extra_);
    ASSERT_TRUE(extra.has_value());
    reap_and_tell(extra->pid);
    EXPECT_EQ(
        answer<std::uint32_t>([&](auto done) { server_.wait(extra_, std::move(done)); }).value(),
        5U);
    EXPECT_TRUE(remove(extra_).has_value());
    EXPECT_EQ(signal(web_, 65).error().message(), "there is no signal 65");
    ASSERT_TRUE(
        answer<void>([&](auto done) { server_.close_stdin(web_, std::move(done)); }).has_value());
    reap_and_tell(own->pid);
    EXPECT_TRUE(remove(web_).has_value());
}

TEST_F(GuestServerTest, R18_AnExecRunsBeforeItsContainerIsStarted) {
    ASSERT_TRUE(create(spec("web", "exit 3")).has_value());
    ASSERT_TRUE(exec(extra_).has_value());
    const auto extra = start(extra_);
    ASSERT_TRUE(extra.has_value());
    reap_and_tell(extra->pid);
    EXPECT_EQ(
        answer<std::uint32_t>([&](auto done) { server_.wait(extra_, std::move(done)); }).value(),
        5U);
    const auto own = start(web_);
    ASSERT_TRUE(own.has_value());
    reap_and_tell(own->pid);
    EXPECT_TRUE(remove(web_).has_value());
}

TEST_F(GuestServerTest, WhileOneContainerIsMadeOthersAreServed) {
    std::optional<Result<StreamNumbers>> made;
    server_.create(spec("web", "true"),
                   [&](Result<StreamNumbers> numbers) { made.emplace(std::move(numbers)); });
    EXPECT_FALSE(made.has_value()) << "it waits for its child";
    EXPECT_EQ(exec(extra_).error().message(), "container not running");
    EXPECT_EQ(start(web_).error().message(), "it is being created");
    EXPECT_EQ(create(spec("web", "true")).error().code(), Code::AlreadyExists);
    ASSERT_TRUE(create(spec("other", "true")).has_value());
    for (int turn = 0; turn < 100 && !made; ++turn) {
        ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(100)).has_value());
    }
    ASSERT_TRUE(made.has_value() && made->has_value());
    EXPECT_TRUE(remove({.container = "other", .exec = ""}).has_value());
    EXPECT_TRUE(remove(web_).has_value());
    while (::waitpid(-1, nullptr, 0) > 0) {}
}

TEST_F(GuestServerTest, OneThatIsBeingMadeIsRemoved) {
    std::optional<Code> made;
    server_.create(spec("web", "true"),
                   [&](const Result<StreamNumbers>& numbers) { made = numbers.error().code(); });
    EXPECT_TRUE(remove(web_).has_value());
    EXPECT_EQ(made, Code::Cancelled);
    while (::waitpid(-1, nullptr, 0) > 0) {}
    ASSERT_TRUE(create(spec("web", "true")).has_value());
    EXPECT_TRUE(remove(web_).has_value());
    while (::waitpid(-1, nullptr, 0) > 0) {}
}

TEST_F(GuestServerTest, R11_AMissingProgramFailsTheCreationAndTheIdStaysFree) {
    ContainerSpec missing = spec("web", "");
    missing.process.args = {"no-such-program"};
    const auto made = create(missing);
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().message(), "exec 'no-such-program': No such file or directory (ENOENT)");
    while (::waitpid(-1, nullptr, 0) > 0) {}
    ASSERT_TRUE(create(spec("web", "true")).has_value());
    EXPECT_TRUE(remove(web_).has_value());
    while (::waitpid(-1, nullptr, 0) > 0) {}
}

TEST_F(GuestServerTest, APortWhereNobodyListensIsRefused) {
    // Port 1 is tcpmux, which nobody serves.
    const auto dialed = answer<std::uint64_t>([&](auto done) { server_.dial(1, std::move(done)); });
    EXPECT_EQ(dialed.error().message(), "port 1: connect: Connection refused (ECONNREFUSED)");
}

TEST_F(GuestServerTest, DevicesAreRescannedAndReleasedByChildren) {
    EXPECT_TRUE(answer<void>([&](auto done) { server_.rescan(std::move(done)); }).has_value());
    const auto released = answer<void>(
        [&](auto done) { server_.release(DiskId{.serial = "disk0"}, std::move(done)); });
    ASSERT_FALSE(released.has_value());
    EXPECT_EQ(released.error().code(), Code::FailedPrecondition);
    EXPECT_EQ(released.error().message(), "'disk0' is in use");
    while (::waitpid(-1, nullptr, 0) > 0) {}
}

TEST_F(GuestServerTest, StatsNeedACgroupAndAContainer) {
    EXPECT_EQ(answer<ContainerStats>([&](auto done) { server_.stats("web", std::move(done)); })
                  .error()
                  .code(),
              Code::NotFound);
    ASSERT_TRUE(create(spec("web", "true")).has_value());
    EXPECT_EQ(answer<ContainerStats>([&](auto done) { server_.stats("web", std::move(done)); })
                  .error()
                  .code(),
              Code::Unsupported);
    EXPECT_TRUE(remove(web_).has_value());
    while (::waitpid(-1, nullptr, 0) > 0) {}
}

TEST_F(GuestServerTest, LimitsOfThePodAreTheMachinesToSet) {
    const auto limit = [this](ResourcesSpec limits) {
        return answer<void>(
            [&](auto done) { server_.update("", std::move(limits), std::move(done)); });
    };
    EXPECT_TRUE(limit({.memory_limit_bytes = 1}).has_value());
    EXPECT_EQ(limit({}).error().message(), "no memory");
    while (::waitpid(-1, nullptr, 0) > 0) {}
}

TEST_F(GuestServerTest, OneThatNeverStartedIsRemovedAndItsWaiterToldSo) {
    ASSERT_TRUE(create(spec("web", "true")).has_value());
    std::optional<Code> told;
    server_.wait(web_, [&](const Result<std::uint32_t>& status) { told = status.error().code(); });
    EXPECT_TRUE(remove(web_).has_value());
    EXPECT_EQ(told, Code::NotFound);
    EXPECT_GT(::waitpid(-1, nullptr, 0), 0);               // it ended with its control socket
    ASSERT_TRUE(create(spec("web", "true")).has_value());  // the id is free again
    EXPECT_TRUE(remove(web_).has_value());
    EXPECT_GT(::waitpid(-1, nullptr, 0), 0);
}

TEST_F(GuestServerTest, AnIdThatIsNoFileNameIsRefused) {
    for (const char* id : {"", ".", "..", "a/b", "../a"}) {
        EXPECT_EQ(create(spec(id, "true")).error().code(), Code::InvalidArgument) << id;
    }
}

TEST_F(GuestServerTest, WaitersOfAProcessAreLimited) {
    ASSERT_TRUE(create(spec("web", "exit 6")).has_value());
    std::size_t answered = 0;
    for (std::size_t i = 0; i < GuestServer::kWaitersMax; ++i) {
        server_.wait(web_, [&](const Result<std::uint32_t>& status) {
            answered += status.value() == 6 ? 1U : 0U;
        });
    }
    EXPECT_EQ(answer<std::uint32_t>([&](auto done) { server_.wait(web_, std::move(done)); })
                  .error()
                  .message(),
              "a process has at most 64 waiters");
    const auto started = start(web_);
    ASSERT_TRUE(started.has_value());
    reap_and_tell(started->pid);
    EXPECT_EQ(answered, GuestServer::kWaitersMax);
    EXPECT_TRUE(remove(web_).has_value());
}

TEST_F(GuestServerTest, ProcessesAreLimited) {
    ContainerSpec waiting = spec("web", "");
    waiting.process.args = {"cat"};
    waiting.process.streams.has_stdin = true;
    ASSERT_TRUE(create(waiting).has_value());
    const auto own = start(web_);
    ASSERT_TRUE(own.has_value());
    for (std::size_t i = 1; i < GuestServer::kProcessesMax; ++i) {
        const auto made = exec({.container = "web", .exec = std::to_string(i)});
        ASSERT_TRUE(made.has_value()) << i << ": " << made.error().message();
    }
    EXPECT_EQ(exec(extra_).error().message(), "a guest has at most 256 processes");
    EXPECT_TRUE(remove({.container = "web", .exec = "1"}).has_value());
    EXPECT_TRUE(exec(extra_).has_value());
    ASSERT_TRUE(signal(web_, SIGKILL).has_value());
    // The first of a pid namespace goes last, once the others are reaped.
    for (pid_t pid = 0; pid >= 0; pid = ::waitpid(-1, nullptr, 0)) {
        server_.on_exit(pid, {.by_signal = true, .value = SIGKILL});
    }
    EXPECT_TRUE(remove(web_).has_value());
}

TEST_F(GuestServerTest, ShutdownAnswersThenKillsAndPowersOff) {
    ContainerSpec waiting = spec("web", "");
    waiting.process.args = {"cat"};
    waiting.process.streams.has_stdin = true;
    ASSERT_TRUE(create(waiting).has_value());
    const auto started = start(web_);
    ASSERT_TRUE(started.has_value());
    EXPECT_TRUE(answer<void>([&](auto done) {
                    server_.shutdown([this, done = std::move(done)](Result<void> result) mutable {
                        EXPECT_FALSE(is_off_);
                        done(std::move(result));
                    });
                }).has_value());
    EXPECT_TRUE(is_off_);
    reap_and_tell(started->pid);
    EXPECT_EQ(
        answer<std::uint32_t>([&](auto done) { server_.wait(web_, std::move(done)); }).value(),
        137U);
    EXPECT_TRUE(remove(web_).has_value());
}

}  // namespace
}  // namespace pepita::runtime::guest
