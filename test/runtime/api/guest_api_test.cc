#include "runtime/guest_api.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/rpc/channel.h"
#include "test/support/channel_pair.h"
#include "test/support/fake_guest_service.h"
#include "test/support/full_spec.h"

namespace pepita::runtime {
namespace {

constexpr std::chrono::seconds kDeadline{20};
constexpr const char* kService = "pepita.guest.v1.Guest";

class GuestApiTest : public testing::Test {
protected:
    template <typename T, typename Ask>
    Result<T> answer(Ask ask) {
        return pair_.answer<T>(std::move(ask));
    }

    test::FakeGuestService service_;
    test::ChannelPair pair_{[this](Channel::Call call) { dispatch(service_, std::move(call)); }};
    GuestClient client_{pair_.client};
    ProcessId id_{.container = "web-1", .exec = "exec-2"};
};

TEST_F(GuestApiTest, EveryFieldOfAContainerArrives) {
    const ContainerSpec spec = test::full_container();
    const auto numbers =
        answer<StreamNumbers>([&](auto done) { client_.create(spec, std::move(done)); });
    EXPECT_EQ(service_.container, spec);
    EXPECT_EQ(numbers.value(), service_.numbers);
}

TEST_F(GuestApiTest, WhatIsAbsentInAContainerStaysAbsent) {
    ContainerSpec spec;
    spec.process.args = {"true"};
    ASSERT_TRUE(answer<StreamNumbers>([&](auto done) {
                    client_.create(spec, std::move(done));
                }).has_value());
    EXPECT_EQ(service_.container, spec);
}

TEST_F(GuestApiTest, ZeroIsNotTheSameAsAbsent) {
    ContainerSpec spec;
    spec.process.args = {"true"};
    spec.process.umask = 0;
    spec.process.oom_score_adj = 0;
    spec.process.capabilities = Capabilities();
    spec.resources.memory_limit_bytes = 0;
    spec.resources.pids_limit = 0;
    spec.resources.cpu_shares = 0;
    spec.resources.cpu_quota_us = 0;
    spec.resources.cpu_period_us = 0;
    spec.resources.devices = {{.allow = false, .type = 'c', .major = 0, .minor = 0, .access = ""}};
    ASSERT_TRUE(answer<StreamNumbers>([&](auto done) {
                    client_.create(spec, std::move(done));
                }).has_value());
    EXPECT_EQ(service_.container, spec);
}

TEST_F(GuestApiTest, TextIsAnyBytes) {
    ContainerSpec spec;
    spec.process.args = {"\xff\xfe", std::string("\0nul", 4)};
    spec.mounts = {
        {.destination = "/\xc3\x28", .type = "tmpfs", .source = "", .options = {"\x80"}}};
    testing::internal::CaptureStderr();
    ASSERT_TRUE(answer<StreamNumbers>([&](auto done) {
                    client_.create(spec, std::move(done));
                }).has_value());
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "protobuf reports what is no UTF-8";
    EXPECT_EQ(service_.container, spec);
}

TEST_F(GuestApiTest, EveryFieldOfAnExecArrives) {
    const ProcessSpec spec = test::full_process();
    const auto numbers =
        answer<StreamNumbers>([&](auto done) { client_.exec(id_, spec, std::move(done)); });
    EXPECT_EQ(service_.process, spec);
    EXPECT_EQ(service_.process_id, id_);
    EXPECT_EQ(numbers.value(), service_.numbers);
}

TEST_F(GuestApiTest, DescribeGivesTheVersionAndTheKernel) {
    const auto guest =
        answer<GuestDescription>([&](auto done) { client_.describe(kDeadline, std::move(done)); });
    EXPECT_EQ(guest.value().version, "1.2.3");
    EXPECT_EQ(guest.value().kernel_release, "6.12-test");
}

TEST_F(GuestApiTest, StartGivesThePidAndTheErrnoOfExec) {
    const auto started = answer<Started>([&](auto done) { client_.start(id_, std::move(done)); });
    EXPECT_EQ(started.value().pid, 77U);
    EXPECT_EQ(started.value().exec_errno, 13U);
    EXPECT_EQ(service_.method, "start");
    EXPECT_EQ(service_.process_id, id_);
}

TEST_F(GuestApiTest, SignalNamesTheProcessTheSignalAndWhetherAll) {
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.signal(id_, 15, true, std::move(done));
                }).has_value());
    EXPECT_EQ(service_.method, "signal");
    EXPECT_EQ(service_.process_id, id_);
    EXPECT_EQ(service_.signal_number, 15U);
    EXPECT_TRUE(service_.all);
}

TEST_F(GuestApiTest, WaitGivesTheStatus) {
    EXPECT_EQ(answer<std::uint32_t>([&](auto done) { client_.wait(id_, std::move(done)); }).value(),
              137U);
    EXPECT_EQ(service_.method, "wait");
    EXPECT_EQ(service_.process_id, id_);
}

TEST_F(GuestApiTest, ResizeKeepsRowsAndColumnsApart) {
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.resize(id_, {.rows = 40, .columns = 120}, std::move(done));
                }).has_value());
    EXPECT_EQ(service_.method, "resize");
    EXPECT_EQ(service_.process_id, id_);
    EXPECT_EQ(service_.window, (WindowSize{.rows = 40, .columns = 120}));
}

TEST_F(GuestApiTest, CloseStdinRemoveAndShutdownReachTheirOwnMethods) {
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.close_stdin(id_, std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "close_stdin");
    EXPECT_EQ(service_.process_id, id_);
    ASSERT_TRUE(answer<void>([&](auto done) { client_.remove(id_, std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "remove");
    EXPECT_EQ(service_.process_id, id_);
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.shutdown(kDeadline, std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "shutdown");
}

TEST_F(GuestApiTest, ReleaseNamesTheDiskAndRescanNeedsNone) {
    ASSERT_TRUE(answer<void>([&](auto done) { client_.rescan(std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "rescan");
    const DiskId disk{.serial = "disk7", .pci_address = "0000:01:1f.0"};
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.release(disk, std::move(done)); }).has_value());
    EXPECT_EQ(service_.disk, disk);
}

TEST_F(GuestApiTest, EveryFieldOfTheStatsArrives) {
    service_.used = test::full_stats();
    EXPECT_EQ(
        answer<ContainerStats>([&](auto done) { client_.stats("web", std::move(done)); }).value(),
        service_.used);
    EXPECT_EQ(service_.process_id.container, "web");
}

TEST_F(GuestApiTest, PauseResumeAndUpdateNameTheirContainer) {
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.pause("web", std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "pause");
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.resume("web", std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "resume");
    ResourcesSpec limits;
    limits.pids_limit = 7;
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.update("web", limits, std::move(done));
                }).has_value());
    EXPECT_EQ(service_.method, "update");
    EXPECT_EQ(service_.process_id.container, "web");
    EXPECT_EQ(service_.resources, limits);
}

TEST(Merged, WhatAChangeDoesNotNameStays) {
    ResourcesSpec base;
    base.memory_limit_bytes = 4096;
    base.pids_limit = 7;
    base.devices = {{.allow = false, .type = 'a', .major = {}, .minor = {}, .access = "rwm"}};
    ResourcesSpec change;
    change.pids_limit = -1;
    ResourcesSpec both = base;
    both.pids_limit = -1;
    EXPECT_EQ(merged(base, change), both);
    EXPECT_EQ(merged(base, {}), base);
    change.devices = {{.allow = true, .type = 'c', .major = 1, .minor = 3, .access = "r"}};
    EXPECT_EQ(merged(base, change).devices, change.devices);
    base.unified = {{.file = "memory.high", .value = "1"}};
    change.unified = {{.file = "memory.high", .value = "2"}};
    EXPECT_EQ(merged(base, change).unified, change.unified);
}

TEST_F(GuestApiTest, EveryFieldOfANetworkArrives) {
    const NetworkConfig network{
        .interfaces = {{.name = "eth0",
                        .mac = {2, 0, 0, 0, 0, '\xff'},
                        .mtu = 9000,
                        .has_ipv6 = true,
                        .addresses = {{.address = {10, 0, 0, 2},
                                       .peer = {10, 0, 0, 1},
                                       .prefix_length = 24,
                                       .scope = 253,
                                       .broadcast = {10, 0, 0, '\xff'}}}}},
        .routes =
            {{.family = 2,
              .destination = {10, 1, 0, 0},
              .prefix_length = 16,
              .type = 1,
              .scope = 2,
              .protocol = 3,
              .tos = 4,
              .priority = 5,
              .source = {10, 0, 0, 2},
              .metrics = "metrics",
              .hops = {{.interface = "eth0", .gateway = {10, 0, 0, 1}, .flags = 4, .weight = 7}}}},
        .neighbours = {{.interface = "eth0", .address = {10, 0, 0, 1}, .mac = {2, 1, 1, 1, 1, 1}}}};
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.configure_network(network, std::move(done));
                }).has_value());
    EXPECT_EQ(service_.network, network);
}

TEST_F(GuestApiTest, AClockIsAdjustedForwardsAndBackwards) {
    using std::chrono::nanoseconds;
    const auto adjusted = [this](nanoseconds offset) {
        return answer<nanoseconds>(
                   [&](auto done) { client_.adjust_clock(offset, std::move(done)); })
            .value();
    };
    EXPECT_EQ(adjusted(nanoseconds(700'000'000)), nanoseconds(700'001'000));
    EXPECT_EQ(adjusted(nanoseconds(-300)), nanoseconds(700'000'700));
    EXPECT_EQ(adjusted(nanoseconds(0)), nanoseconds(700'000'700));
}

TEST_F(GuestApiTest, APortIsDialedAndItsStreamComesBack) {
    const auto dial = [this](std::uint16_t port) {
        return answer<std::uint64_t>([&](auto done) { client_.dial(port, std::move(done)); });
    };
    EXPECT_EQ(dial(65'535).value(), service_.numbers.out);
    EXPECT_EQ(service_.port, 65'535);
    EXPECT_EQ(dial(0).error().message(), "port 0 is none");
    EXPECT_EQ(pair_.raw(kService, "Dial", "\x08\x80\x80\x04").error().message(),
              "port 65536 is none");
}

TEST_F(GuestApiTest, AUserIsItsNumbers) {
    const auto user = answer<UserIds>([&](auto done) { client_.user("web-1", std::move(done)); });
    EXPECT_EQ(user.value_or(UserIds{}),
              (UserIds{.uid = 1000, .gid = 100, .groups = {100, 50'000}}));
    EXPECT_EQ(service_.process_id.container, "web-1");
}

TEST_F(GuestApiTest, AValueThatATypeDoesNotHaveIsInvalidArgument) {
    // Create {root {written_to: 4}, process {args: "a"}}, then the same with 3: the last there is.
    const std::string process =
        "\x6a\x03\x3a\x01"
        "a";
    EXPECT_EQ(pair_.raw(kService, "Create", "\x12\x02\x18\x04" + process).error().code(),
              Code::InvalidArgument);
    EXPECT_EQ(service_.method, "");
    EXPECT_TRUE(pair_.raw(kService, "Create", "\x12\x02\x18\x03" + process).has_value());
    EXPECT_EQ(service_.container.root.written_to, WrittenTo::InPlace);
}

TEST_F(GuestApiTest, AnErrorKeepsItsCodeAndWordsWithAValueOrWithout) {
    service_.error = "container not running";
    const auto exec = answer<StreamNumbers>(
        [&](auto done) { client_.exec(id_, test::full_process(), std::move(done)); });
    ASSERT_FALSE(exec.has_value());
    EXPECT_EQ(exec.error().code(), Code::FailedPrecondition);
    EXPECT_EQ(exec.error().message(), "container not running");
    const auto removed = answer<void>([&](auto done) { client_.remove(id_, std::move(done)); });
    ASSERT_FALSE(removed.has_value());
    EXPECT_EQ(removed.error().code(), Code::FailedPrecondition);
}

TEST_F(GuestApiTest, AnUnknownServiceOrMethodIsUnsupported) {
    EXPECT_EQ(pair_.raw("pepita.guest.v2.Guest", "Describe", "").error().code(), Code::Unsupported);
    EXPECT_EQ(pair_.raw(kService, "describe", "").error().message(), "no method 'describe'");
    EXPECT_EQ(pair_.raw(kService, "", "").error().code(), Code::Unsupported);
    EXPECT_EQ(service_.method, "");
}

class GuestApiMethod : public GuestApiTest, public testing::WithParamInterface<const char*> {};

TEST_P(GuestApiMethod, GarbageIsInvalidArgumentAndReachesNoService) {
    // Field 1 with a length that is not there.
    const auto reply = pair_.raw(kService, GetParam(), "\x0a\x7fx");
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::InvalidArgument);
    EXPECT_EQ(service_.method, "");
}

INSTANTIATE_TEST_SUITE_P(WithARequest, GuestApiMethod,
                         testing::Values("Create", "Exec", "Start", "Signal", "Wait", "Resize",
                                         "CloseStdin", "Delete", "Release", "Stats", "Pause",
                                         "Resume", "Update", "User"),
                         [](const auto& method) { return std::string(method.param); });

TEST_F(GuestApiTest, AProcessWithoutArgumentsIsInvalidArgument) {
    EXPECT_EQ(answer<StreamNumbers>([&](auto done) { client_.create({}, std::move(done)); })
                  .error()
                  .code(),
              Code::InvalidArgument);
    EXPECT_EQ(answer<StreamNumbers>([&](auto done) { client_.exec(id_, {}, std::move(done)); })
                  .error()
                  .message(),
              "a process without arguments");
    EXPECT_EQ(service_.method, "");
}

TEST_F(GuestApiTest, AFilterIsWholeInstructionsAndKnownFlags) {
    const auto words_of = [&](std::size_t size, std::uint32_t flags) {
        ContainerSpec spec;
        spec.process.args = {"x"};
        spec.seccomp = SeccompSpec{.program = std::string(size, '\0'), .flags = flags};
        const auto created =
            answer<StreamNumbers>([&](auto done) { client_.create(spec, std::move(done)); });
        return created ? "" : created.error().message();
    };
    EXPECT_EQ(words_of(0, 0), "a seccomp program of 0 bytes");
    EXPECT_EQ(words_of(9, 0), "a seccomp program of 9 bytes");
    EXPECT_EQ(words_of(SeccompSpec::kProgramBytesMax + 8, 0), "a seccomp program of 32776 bytes");
    EXPECT_EQ(words_of(8, 8), "a seccomp flag that is not known");
    EXPECT_EQ(words_of(SeccompSpec::kProgramBytesMax, SeccompSpec::kFlags), "");
}

TEST(GuestClient, AnAnswerThatCannotBeReadIsInvalidArgument) {
    test::ChannelPair pair([](Channel::Call call) { call.responder.respond("\x0a\x7fx"); });
    GuestClient client(pair.client);
    const auto started = pair.answer<Started>(
        [&](auto done) { client.start({.container = "a", .exec = ""}, std::move(done)); });
    ASSERT_FALSE(started.has_value());
    EXPECT_EQ(started.error().code(), Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita::runtime
