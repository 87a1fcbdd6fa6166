#include "runtime/task_api.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/task.pb.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "test/support/channel_pair.h"
#include "test/support/fake_task_service.h"
#include "test/support/full_spec.h"

namespace pepita::runtime {
namespace {

namespace pb = ::containerd::task::v2;

constexpr const char* kService = "containerd.task.v2.Task";

// Devices stand for the streams here, since each can be told from the others.
Fd device(const char* path) { return *open_file(path, O_RDWR); }

bool is_device(const std::optional<Fd>& fd, const char* path) {
    struct stat ours{};
    struct stat theirs{};
    return fd && ::fstat(fd->ref().number(), &ours) == 0 && ::stat(path, &theirs) == 0 &&
           ours.st_rdev == theirs.st_rdev;
}

StreamEnd end_of(const char* path) { return {.fd = device(path), .path = ""}; }

TaskIo full_io() {
    return {.terminal = Terminal::Yes,
            .in = end_of("/dev/null"),
            .out = end_of("/dev/zero"),
            .err = end_of("/dev/full"),
            .console_socket = device("/dev/random"),
            .proxy = device("/dev/urandom"),
            .proxy_pid = 1234};
}

void expect_full(const TaskIo& io) {
    EXPECT_EQ(io.terminal, Terminal::Yes);
    EXPECT_TRUE(is_device(io.in.fd, "/dev/null"));
    EXPECT_TRUE(is_device(io.out.fd, "/dev/zero"));
    EXPECT_TRUE(is_device(io.err.fd, "/dev/full"));
    EXPECT_TRUE(is_device(io.console_socket, "/dev/random"));
    EXPECT_TRUE(is_device(io.proxy, "/dev/urandom"));
    EXPECT_EQ(io.proxy_pid, 1234U);
}

class TaskApiTest : public testing::Test {
protected:
    template <typename T, typename Ask>
    Result<T> answer(Ask ask) {
        return pair_.answer<T>(std::move(ask));
    }

    test::FakeTaskService service_;
    test::ChannelPair pair_{[this](Channel::Call call) { dispatch(service_, std::move(call)); }};
    TaskClient client_{pair_.client};
    ProcessId id_{.container = "web-1", .exec = "exec-2"};
};

TEST_F(TaskApiTest, EveryFieldOfACreateArrives) {
    PodSpec pod;
    pod.name = "web";
    const auto pid = answer<std::uint32_t>([&](auto done) {
        client_.create({.id = "web-1", .bundle = "/run/web-1", .io = full_io(), .pod = pod},
                       std::move(done));
    });
    EXPECT_EQ(pid.value(), 4711U);
    EXPECT_EQ(service_.created.id, "web-1");
    EXPECT_EQ(service_.created.bundle, "/run/web-1");
    EXPECT_EQ(service_.created.pod, pod);
    expect_full(service_.created.io);
}

TEST_F(TaskApiTest, AnImageArrivesAsTheOneMountOfTheRoot) {
    const ImageRoot image{.store = "/var/lib/pepita/images", .id = "sha256:1234"};
    ASSERT_TRUE(answer<std::uint32_t>([&](auto done) {
                    client_.create(
                        {.id = "web", .bundle = "/b", .io = {}, .pod = {}, .image = image},
                        std::move(done));
                }).has_value());
    EXPECT_EQ(service_.created.image, image);
    ASSERT_TRUE(answer<std::uint32_t>([&](auto done) {
                    client_.create({.id = "web", .bundle = "/b", .io = {}, .pod = {}},
                                   std::move(done));
                }).has_value());
    EXPECT_EQ(service_.created.image, std::nullopt);
}

TEST_F(TaskApiTest, R5_AnImageThatIsNamedOtherwiseIsRefusedByName) {
    const auto refusal = [this](void (*change)(pb::CreateTaskRequest&)) {
        pb::CreateTaskRequest request;
        pb::Mount& mount = *request.add_rootfs();
        mount.set_type("pepita-image");
        mount.set_source("sha256:1234");
        mount.add_options("store=/images");
        change(request);
        const auto reply = pair_.raw(kService, "Create", request.SerializeAsString());
        return reply ? "" : reply.error().message();
    };
    EXPECT_EQ(refusal([](pb::CreateTaskRequest& /*as it is*/) {}), "");
    EXPECT_EQ(refusal([](pb::CreateTaskRequest& it) { it.add_rootfs(); }),
              "rootfs: an image beside other mounts");
    EXPECT_EQ(refusal([](pb::CreateTaskRequest& it) { it.mutable_rootfs(0)->set_target("etc"); }),
              "rootfs: target 'etc': a mount is the whole root");
    EXPECT_EQ(refusal([](pb::CreateTaskRequest& it) { it.mutable_rootfs(0)->add_options("ro"); }),
              "rootfs: option 'ro'");
    EXPECT_EQ(refusal([](pb::CreateTaskRequest& it) {
                  it.mutable_rootfs(0)->add_options("store=/more");
              }),
              "rootfs: option 'store=/more'");
    EXPECT_EQ(refusal([](pb::CreateTaskRequest& it) {
                  it.mutable_rootfs(0)->set_options(0, "store=images");
              }),
              "rootfs: store 'images': must be an absolute path");
    EXPECT_EQ(refusal([](pb::CreateTaskRequest& it) { it.mutable_rootfs(0)->clear_options(); }),
              "rootfs: store '': must be an absolute path");
}

TEST_F(TaskApiTest, MountsAndTheConfigurationsPathArriveFromContainerd) {
    pb::CreateTaskRequest request;
    pb::Mount& mount = *request.add_rootfs();
    mount.set_type("overlay");
    mount.set_source("overlay");
    mount.add_options("lowerdir=/a:/b");
    pb::RuntimeOptions options;
    options.set_config_path("/etc/shim.json");
    request.mutable_options()->set_type_url("runtimeoptions.v1.Options");
    request.mutable_options()->set_value(options.SerializeAsString());
    ASSERT_TRUE(pair_.raw(kService, "Create", request.SerializeAsString()).has_value());
    EXPECT_EQ(service_.created.mounts,
              (std::vector<RootMount>{
                  {.type = "overlay", .source = "overlay", .options = {"lowerdir=/a:/b"}}}));
    EXPECT_EQ(service_.created.config_path, "/etc/shim.json");
    EXPECT_EQ(service_.created.image, std::nullopt);
}

TEST_F(TaskApiTest, PathsAndAbsentStreamsStayWhatTheyAre) {
    ASSERT_TRUE(answer<std::uint32_t>([&](auto done) {
                    client_.create({.id = "web-1",
                                    .bundle = "/b",
                                    .io = {.terminal = Terminal::No,
                                           .in = {.fd = {}, .path = "/run/in"},
                                           .out = {},
                                           .err = end_of("/dev/full"),
                                           .console_socket = {},
                                           .proxy = {},
                                           .proxy_pid = 0},
                                    .pod = {}},
                                   std::move(done));
                }).has_value());
    const TaskIo& io = service_.created.io;
    EXPECT_EQ(io.terminal, Terminal::No);
    EXPECT_EQ(io.in.path, "/run/in");
    EXPECT_FALSE(io.in.fd.has_value());
    EXPECT_EQ(io.out.path, "");
    EXPECT_FALSE(io.out.fd.has_value());
    EXPECT_TRUE(is_device(io.err.fd, "/dev/full"));
    EXPECT_FALSE(io.console_socket.has_value());
    EXPECT_FALSE(io.proxy.has_value());
    EXPECT_FALSE(service_.created.pod.has_value());
}

TEST_F(TaskApiTest, EveryFieldOfAnExecArrives) {
    ProcessSpec process = test::full_process();
    process.streams = {};  // no part of OCI's process: `io` says it
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.exec({.id = id_, .process = process, .io = full_io()}, std::move(done));
                }).has_value());
    EXPECT_EQ(service_.execed.id, id_);
    EXPECT_EQ(service_.execed.process, process);
    expect_full(service_.execed.io);
}

TEST_F(TaskApiTest, StartGivesThePidAndTheErrnoOfExec) {
    const auto started =
        answer<TaskStarted>([&](auto done) { client_.start(id_, std::move(done)); });
    EXPECT_EQ(started.value().pid, 77U);
    EXPECT_EQ(started.value().exec_errno, 2U);
    EXPECT_EQ(service_.method, "start");
    EXPECT_EQ(service_.process_id, id_);
}

class TaskApiState : public TaskApiTest, public testing::WithParamInterface<TaskStatus> {};

TEST_P(TaskApiState, EveryFieldComesBack) {
    service_.task = {.id = "web-1",
                     .bundle = "/run/web-1",
                     .pid = 99,
                     .status = GetParam(),
                     .exit_status = 137,
                     .terminal = Terminal::Yes,
                     .exited_at_ns = 1'700'000'000'000'000'001,
                     .in = "/run/in",
                     .out = "/run/out",
                     .err = "/run/err"};
    const auto state = answer<TaskState>([&](auto done) { client_.state(id_, std::move(done)); });
    ASSERT_TRUE(state.has_value());
    EXPECT_EQ(service_.process_id, id_);
    EXPECT_EQ(state->id, "web-1");
    EXPECT_EQ(state->bundle, "/run/web-1");
    EXPECT_EQ(state->exited_at_ns, 1'700'000'000'000'000'001);
    EXPECT_EQ(state->in + state->out + state->err, "/run/in/run/out/run/err");
    EXPECT_EQ(state->pid, 99U);
    EXPECT_EQ(state->status, GetParam());
    EXPECT_EQ(state->exit_status, 137U);
    EXPECT_EQ(state->terminal, Terminal::Yes);
}

INSTANTIATE_TEST_SUITE_P(EveryStatus, TaskApiState,
                         testing::Values(TaskStatus::Unknown, TaskStatus::Created,
                                         TaskStatus::Running, TaskStatus::Stopped));

TEST_F(TaskApiTest, KillNamesTheProcessTheSignalAndWhetherAll) {
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.kill(id_, 9, true, std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "kill");
    EXPECT_EQ(service_.process_id, id_);
    EXPECT_EQ(service_.signal_number, 9U);
    EXPECT_TRUE(service_.flag);
}

TEST_F(TaskApiTest, WaitAndRemoveGiveTheStatus) {
    EXPECT_EQ(answer<TaskExit>([&](auto done) { client_.wait(id_, std::move(done)); })
                  .value()
                  .exit_status,
              143U);
    EXPECT_EQ(service_.method, "wait");
    EXPECT_EQ(answer<TaskExit>([&](auto done) { client_.remove(id_, std::move(done)); })
                  .value()
                  .exit_status,
              143U);
    EXPECT_EQ(service_.method, "remove");
    EXPECT_EQ(service_.process_id, id_);
}

TEST_F(TaskApiTest, ResizeKeepsRowsAndColumnsApart) {
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.resize(id_, {.rows = 40, .columns = 120}, std::move(done));
                }).has_value());
    EXPECT_EQ(service_.window, (WindowSize{.rows = 40, .columns = 120}));
    EXPECT_EQ(service_.process_id, id_);
}

TEST_F(TaskApiTest, CloseStdinAndShutdownReachTheirOwnMethods) {
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.close_stdin(id_, std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "close_stdin");
    EXPECT_EQ(service_.process_id, id_);
    ASSERT_TRUE(
        answer<bool>([&](auto done) { client_.shutdown(true, std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "shutdown");
    EXPECT_TRUE(service_.flag);
}

TEST_F(TaskApiTest, PidsAreThoseOfStandInsWithTheirExecs) {
    service_.processes = {{.pid = 77, .exec = ""}, {.pid = 78, .exec = "exec-2"}};
    EXPECT_EQ(answer<std::vector<TaskProcess>>([&](auto done) {
                  client_.pids("web-1", std::move(done));
              }).value(),
              service_.processes);
    EXPECT_EQ(service_.process_id.container, "web-1");
}

TEST_F(TaskApiTest, PauseResumeAndUpdateReachTheirOwnMethods) {
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.pause("web-1", std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "pause");
    ASSERT_TRUE(
        answer<void>([&](auto done) { client_.resume("web-1", std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "resume");
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.update("web-1", R"({"memory": {"limit": 4096}})", std::move(done));
                }).has_value());
    EXPECT_EQ(service_.method, "update");
    EXPECT_EQ(service_.resources.memory_limit_bytes, 4096);
    EXPECT_EQ(service_.process_id.container, "web-1");
}

TEST_F(TaskApiTest, AnUpdateThatIsNoResourcesIsRefusedWithItsPlace) {
    const auto update = [this](const char* json) {
        return answer<void>([&](auto done) { client_.update("web-1", json, std::move(done)); })
            .error()
            .message();
    };
    EXPECT_EQ(update(R"({"memory": {"limit": "x"}})"),
              "resources.memory.limit: must be a whole number from -1 to 9223372036854775807");
    EXPECT_NE(update("").find("resources"), std::string::npos);
    EXPECT_EQ(service_.method, "");
}

TEST_F(TaskApiTest, EveryFieldOfTheStatsArrives) {
    service_.used = test::full_stats();
    service_.used.memory_bytes = 5;
    service_.used.pids_limit = 0;
    EXPECT_EQ(
        answer<ContainerStats>([&](auto done) { client_.stats("web-1", std::move(done)); }).value(),
        service_.used);
    pb::StatsResponse response;
    ASSERT_TRUE(response.ParseFromString(pair_.raw(kService, "Stats", "").value()));
    EXPECT_EQ(response.stats().type_url(), "io.containerd.cgroups.v2.Metrics");
    pb::Metrics metrics;
    ASSERT_TRUE(metrics.ParseFromString(response.stats().value()));
    EXPECT_EQ(metrics.pids().limit(), UINT64_MAX);
    EXPECT_EQ(metrics.memory().usage_limit(), 15U);
}

TEST_F(TaskApiTest, VersionThreeIsServedLikeTwo) {
    EXPECT_TRUE(pair_.raw("containerd.task.v3.Task", "Pause", "").has_value());
    EXPECT_EQ(service_.method, "pause");
}

TEST_F(TaskApiTest, ConnectNamesShimAndStandIn) {
    pb::ConnectResponse response;
    ASSERT_TRUE(response.ParseFromString(pair_.raw(kService, "Connect", "").value()));
    EXPECT_EQ(response.shim_pid(), 5U);
    EXPECT_EQ(response.task_pid(), 77U);
}

TEST_F(TaskApiTest, ACheckpointIsRefusedWithTheReason) {
    const auto reply = pair_.raw(kService, "Checkpoint", "");
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::Unsupported);
    EXPECT_EQ(reply.error().message(), "a container in a microVM cannot be checkpointed");
}

TEST_F(TaskApiTest, AnExitsTimeAndStandInArrive) {
    service_.exit = {.exit_status = 3, .exited_at_ns = 1'700'000'000'123'456'789, .pid = 78};
    const auto removed =
        answer<TaskExit>([&](auto done) { client_.remove(id_, std::move(done)); }).value();
    EXPECT_EQ(removed.exit_status, 3U);
    EXPECT_EQ(removed.exited_at_ns, 1'700'000'000'123'456'789);
    EXPECT_EQ(removed.pid, 78U);
    EXPECT_EQ(answer<TaskExit>([&](auto done) { client_.wait(id_, std::move(done)); })
                  .value()
                  .exited_at_ns,
              1'700'000'000'123'456'789);
}

TEST_F(TaskApiTest, ShutdownSaysWhetherTheShimStays) {
    service_.stays = true;
    EXPECT_TRUE(answer<bool>([&](auto done) { client_.shutdown(false, std::move(done)); }).value());
}

TEST_F(TaskApiTest, AnErrorKeepsItsCodeAndWordsWithAValueOrWithout) {
    service_.error = "container 'web-1' does not exist";
    const auto state = answer<TaskState>([&](auto done) { client_.state(id_, std::move(done)); });
    ASSERT_FALSE(state.has_value());
    EXPECT_EQ(state.error().code(), Code::NotFound);
    EXPECT_EQ(state.error().message(), "container 'web-1' does not exist");
    const auto killed =
        answer<void>([&](auto done) { client_.kill(id_, 9, false, std::move(done)); });
    ASSERT_FALSE(killed.has_value());
    EXPECT_EQ(killed.error().code(), Code::NotFound);
}

TEST_F(TaskApiTest, AnUnknownServiceOrMethodIsUnsupported) {
    EXPECT_EQ(pair_.raw("containerd.task.v4.Task", "State", "").error().code(), Code::Unsupported);
    EXPECT_EQ(pair_.raw(kService, "Migrate", "").error().message(), "no method 'Migrate'");
    EXPECT_EQ(service_.method, "");
}

class TaskApiMethod : public TaskApiTest, public testing::WithParamInterface<const char*> {};

TEST_P(TaskApiMethod, GarbageIsInvalidArgumentAndReachesNoService) {
    // Field 1 with a length that is not there.
    const auto reply = pair_.raw(kService, GetParam(), "\x0a\x7fx");
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::InvalidArgument);
    EXPECT_EQ(service_.method, "");
}

INSTANTIATE_TEST_SUITE_P(Every, TaskApiMethod,
                         testing::Values("Create", "Exec", "Start", "State", "Kill", "Wait",
                                         "ResizePty", "CloseIO", "Delete", "Shutdown", "Pids",
                                         "Pause", "Resume", "Update", "Stats", "Connect"),
                         [](const auto& method) { return std::string(method.param); });

class TaskApiDescriptor : public TaskApiTest, public testing::WithParamInterface<const char*> {};

TEST_P(TaskApiDescriptor, OneThatDidNotComeIsInvalidArgument) {
    pb::CreateTaskRequest request;
    request.set_stdout(GetParam());
    const auto reply = pair_.raw(kService, "Create", request.SerializeAsString());
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::InvalidArgument);
    EXPECT_EQ(reply.error().message(),
              std::string("stdout: '") + GetParam() + "' did not come with the request");
    EXPECT_EQ(service_.method, "");
}

INSTANTIATE_TEST_SUITE_P(Malformed, TaskApiDescriptor,
                         testing::Values("fd:0", "fd:7", "fd:", "fd:-1", "fd:0x", "fd:zero",
                                         "fd:99999999999999999999"));

TEST_F(TaskApiTest, ADescriptorServesOneStream) {
    pb::CreateTaskRequest request;
    request.set_stdin("fd:0");
    request.set_stdout("fd:0");
    const Fd null = device("/dev/null");
    const FdRef sent = null.ref();
    const auto reply = answer<std::string>([&](auto done) {
        pair_.client->call(kService, "Create", request.SerializeAsString(),
                           {.deadline = {}, .fds = std::span(&sent, 1)}, std::move(done));
    });
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().message(), "stdout: 'fd:0' did not come with the request");
}

TEST_F(TaskApiTest, AConsoleSocketByPathIsInvalidArgument) {
    pb::CreateOptions options;
    options.set_console_socket("/run/console");
    pb::CreateTaskRequest request;
    request.mutable_options()->set_type_url("pepita.CreateOptions");
    request.mutable_options()->set_value(options.SerializeAsString());
    const auto reply = pair_.raw(kService, "Create", request.SerializeAsString());
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::InvalidArgument);
    EXPECT_EQ(reply.error().message(), "console socket: '/run/console' must be a descriptor");
}

TEST_F(TaskApiTest, AnExecWithoutAProcessIsInvalidArgument) {
    const auto reply = pair_.raw(kService, "Exec", "");
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::InvalidArgument);
    EXPECT_EQ(service_.method, "");
}

}  // namespace
}  // namespace pepita::runtime
