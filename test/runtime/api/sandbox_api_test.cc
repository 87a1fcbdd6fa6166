#include "runtime/sandbox_api.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/metrics.h"
#include "runtime/api/sandbox.pb.h"
#include "runtime/pod_spec.h"
#include "test/support/channel_pair.h"
#include "test/support/fake_sandbox_service.h"

namespace pepita::runtime {
namespace {

namespace pb = ::containerd::runtime::sandbox::v1;

constexpr const char* kService = "containerd.runtime.sandbox.v1.Sandbox";

class SandboxApiTest : public testing::Test {
protected:
    Result<std::string> call(const std::string& method, const std::string& payload = "") {
        return pair_.raw(kService, method, payload);
    }
    template <typename Message>
    Message answer(const std::string& method, const std::string& payload = "") {
        Message message;
        EXPECT_TRUE(message.ParseFromString(call(method, payload).value()));
        return message;
    }
    static std::string named(const std::string& id) {
        pb::SandboxRequest request;
        request.set_sandbox_id(id);
        return request.SerializeAsString();
    }

    test::FakeSandboxService service_;
    test::ChannelPair pair_{[this](Channel::Call call) {
        EXPECT_EQ(is_sandbox_call(call), call.service == kService);
        dispatch(service_, std::move(call));
    }};
};

TEST_F(SandboxApiTest, APodOfOursIsMadeAsItIsDescribed) {
    PodSpec spec;
    spec.name = "another";
    spec.memory_mib = 128;
    pb::CreateSandboxRequest request;
    request.set_sandbox_id("pod");
    request.mutable_options()->set_type_url("pepita.pod.v1.PodSpec");
    request.mutable_options()->set_value(encode(spec));
    ASSERT_TRUE(call("CreateSandbox", request.SerializeAsString()).has_value());
    spec.name = "pod";
    EXPECT_EQ(service_.created, spec);
}

TEST_F(SandboxApiTest, APodOfAnotherCallerHasTheDefaultsAndEndsWhenItIsStopped) {
    pb::CreateSandboxRequest request;
    request.set_sandbox_id("pod");
    request.mutable_options()->set_type_url("runtime.v1.PodSandboxConfig");
    request.mutable_options()->set_value("\x0a\x7fx");
    ASSERT_TRUE(call("CreateSandbox", request.SerializeAsString()).has_value());
    PodSpec spec;
    spec.name = "pod";
    spec.end = PodEnd::WhenStopped;
    EXPECT_EQ(service_.created, spec);
}

TEST_F(SandboxApiTest, TheNetworkNamespaceOfTheRequestIsThePods) {
    PodSpec spec;
    spec.network_namespace = "/run/netns/other";
    pb::CreateSandboxRequest request;
    request.set_sandbox_id("pod");
    request.mutable_options()->set_type_url("pepita.pod.v1.PodSpec");
    request.mutable_options()->set_value(encode(spec));
    ASSERT_TRUE(call("CreateSandbox", request.SerializeAsString()).has_value());
    EXPECT_EQ(service_.created.network_namespace, "/run/netns/other");
    request.set_netns_path("/run/netns/web");
    ASSERT_TRUE(call("CreateSandbox", request.SerializeAsString()).has_value());
    EXPECT_EQ(service_.created.network_namespace, "/run/netns/web");
}

TEST_F(SandboxApiTest, StartWaitAndStatusTellTimes) {
    const auto started = answer<pb::StartSandboxResponse>("StartSandbox", named("pod"));
    EXPECT_EQ(started.pid(), 7U);
    EXPECT_EQ(started.created_at().seconds(), 1);
    EXPECT_EQ(started.created_at().nanos(), 500'000'000);
    const auto exit = answer<pb::WaitSandboxResponse>("WaitSandbox", named("pod"));
    EXPECT_EQ(exit.exit_status(), 255U);
    EXPECT_EQ(exit.exited_at().nanos(), 1);
    service_.status = {.pid = 8,
                       .is_ready = true,
                       .created_at_ns = 3'000'000'000,
                       .exited_at_ns = 0,
                       .info = {{"isolation", "tcg"}}};
    const auto status = answer<pb::SandboxStatusResponse>("SandboxStatus", named("pod"));
    EXPECT_EQ(status.sandbox_id(), "pod");
    EXPECT_EQ(status.state(), "SANDBOX_READY");
    EXPECT_EQ(status.created_at().seconds(), 3);
    EXPECT_TRUE(status.info().empty());
    pb::SandboxStatusRequest verbose;
    verbose.set_verbose(true);
    EXPECT_EQ(answer<pb::SandboxStatusResponse>("SandboxStatus", verbose.SerializeAsString())
                  .info()
                  .at("isolation"),
              "tcg");
    service_.status.is_ready = false;
    EXPECT_EQ(answer<pb::SandboxStatusResponse>("SandboxStatus").state(), "SANDBOX_NOTREADY");
}

TEST_F(SandboxApiTest, StopHasItsPatience) {
    pb::StopSandboxRequest request;
    request.set_timeout_secs(9);
    ASSERT_TRUE(call("StopSandbox", request.SerializeAsString()).has_value());
    EXPECT_EQ(service_.patience, std::chrono::seconds(9));
}

TEST_F(SandboxApiTest, PlatformPingShutdownAndMetricsAreAnswered) {
    EXPECT_EQ(answer<pb::PlatformResponse>("Platform").platform().architecture(), "amd64");
    EXPECT_TRUE(call("PingSandbox", named("pod")).has_value());
    service_.used.pids = 3;
    const auto metrics = answer<pb::SandboxMetricsResponse>("SandboxMetrics", named("pod"));
    EXPECT_EQ(metrics.metrics().id(), "pod");
    EXPECT_EQ(metrics.metrics().data().type_url(), "io.containerd.cgroups.v2.Metrics");
    EXPECT_EQ(api::decode_metrics(metrics.metrics().data().value()), service_.used);
    EXPECT_TRUE(call("ShutdownSandbox", named("pod")).has_value());
    EXPECT_EQ(service_.method, "shutdown");
}

TEST_F(SandboxApiTest, TheClientSaysAndHearsItAll) {
    SandboxClient client(pair_.client);
    PodSpec spec;
    spec.name = "pod";
    spec.network_namespace = "/run/netns/web";
    spec.cgroup = "/pods/1";
    EXPECT_TRUE(
        pair_.answer<void>([&](auto done) { client.create(spec, std::move(done)); }).has_value());
    EXPECT_EQ(service_.created, spec);
    const auto started =
        pair_.answer<SandboxStarted>([&](auto done) { client.start("pod", std::move(done)); });
    EXPECT_EQ(started.value().pid, 7U);
    EXPECT_EQ(started.value().created_at_ns, 1'500'000'000);
    service_.status = {.pid = 8,
                       .is_ready = true,
                       .created_at_ns = 3'000'000'001,
                       .exited_at_ns = 4,
                       .info = {{"isolation", "tcg"}}};
    const auto status =
        pair_.answer<SandboxStatus>([&](auto done) { client.status("pod", std::move(done)); });
    EXPECT_EQ(status.value().pid, 8U);
    EXPECT_TRUE(status.value().is_ready);
    EXPECT_EQ(status.value().created_at_ns, 3'000'000'001);
    EXPECT_EQ(status.value().exited_at_ns, 4);
    EXPECT_EQ(status.value().info, service_.status.info);
    service_.used.pids = 3;
    EXPECT_EQ(pair_.answer<ContainerStats>([&](auto done) { client.stats("pod", std::move(done)); })
                  .value(),
              service_.used);
    EXPECT_TRUE(pair_
                    .answer<void>([&](auto done) {
                        client.stop("pod", std::chrono::seconds(9), std::move(done));
                    })
                    .has_value());
    EXPECT_EQ(service_.patience, std::chrono::seconds(9));
    const auto exit =
        pair_.answer<TaskExit>([&](auto done) { client.wait("pod", std::move(done)); });
    EXPECT_EQ(exit.value().exit_status, 255U);
    EXPECT_EQ(exit.value().exited_at_ns, 2'000'000'001);
    EXPECT_TRUE(pair_.answer<void>([&](auto done) { client.shutdown("pod", std::move(done)); })
                    .has_value());
    EXPECT_EQ(service_.method, "shutdown");
}

TEST_F(SandboxApiTest, TheClientHearsWhatIsRefused) {
    SandboxClient client(pair_.client);
    const auto other =
        pair_.answer<void>([&](auto done) { client.shutdown("other", std::move(done)); });
    EXPECT_EQ(other.error().message(), "pod 'other' does not exist");
    service_.error = "there is no pod";
    const auto started =
        pair_.answer<SandboxStarted>([&](auto done) { client.start("pod", std::move(done)); });
    EXPECT_EQ(started.error().code(), Code::FailedPrecondition);
    EXPECT_EQ(started.error().message(), "there is no pod");
}

TEST_F(SandboxApiTest, AnotherPodIsNotFound) {
    const auto reply = call("StartSandbox", named("other"));
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::NotFound);
    EXPECT_EQ(reply.error().message(), "pod 'other' does not exist");
    EXPECT_EQ(service_.method, "");
}

TEST_F(SandboxApiTest, AnErrorKeepsItsCodeAndWords) {
    service_.error = "there is no pod";
    const auto reply = call("StartSandbox");
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::FailedPrecondition);
    EXPECT_EQ(reply.error().message(), "there is no pod");
}

TEST_F(SandboxApiTest, GarbageAndUnknownMethodsReachNoService) {
    EXPECT_EQ(call("CreateSandbox", "\x0a\x7fx").error().code(), Code::InvalidArgument);
    EXPECT_EQ(call("StopSandbox", "\x0a\x7fx").error().code(), Code::InvalidArgument);
    EXPECT_EQ(call("UpdateSandbox").error().message(), "no method 'UpdateSandbox'");
    EXPECT_EQ(service_.method, "");
}

}  // namespace
}  // namespace pepita::runtime
