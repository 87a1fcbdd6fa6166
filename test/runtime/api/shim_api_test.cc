#include "runtime/shim_api.h"

#include <gtest/gtest.h>

#include <string>

#include "runtime/api/shim.pb.h"
#include "runtime/api/task.pb.h"
#include "runtime/task_api.h"

namespace pepita::runtime {
namespace {

namespace pb = ::pepita::shim::v1;

pb::BootstrapParams params() {
    pb::BootstrapParams message;
    message.set_instance_id("web");
    message.set_namespace_("k8s.io");
    message.set_ttrpc_address("/run/containerd/containerd.sock.ttrpc");
    message.set_socket_dir("/run/other");
    return message;
}

TEST(ShimApi, ParametersAreToldFromOptionsByTheirNames) {
    const std::string input = params().SerializeAsString();
    EXPECT_EQ(bootstrap_params(input, "web", "k8s.io"),
              (BootstrapParams{.id = "web",
                               .name_space = "k8s.io",
                               .ttrpc_address = "/run/containerd/containerd.sock.ttrpc",
                               .socket_directory = "/run/other"}));
    EXPECT_FALSE(bootstrap_params(input, "web2", "k8s.io"));
    EXPECT_FALSE(bootstrap_params(input, "web", "default"));
    EXPECT_FALSE(bootstrap_params("", "web", "k8s.io"));
    EXPECT_FALSE(bootstrap_params("\xff\xff", "web", "k8s.io"));
}

TEST(ShimApi, TheAnswerNamesTheSocketAndItsProtocol) {
    pb::BootstrapResult message;
    ASSERT_TRUE(message.ParseFromString(bootstrap_result("unix:///run/s")));
    EXPECT_EQ(message.version(), 3);
    EXPECT_EQ(message.address(), "unix:///run/s");
    EXPECT_EQ(message.protocol(), "ttrpc");
}

TEST(ShimApi, ADeletionTellsHowTheContainerEnded) {
    ::containerd::task::v2::DeleteResponse message;
    ASSERT_TRUE(message.ParseFromString(
        delete_result({.exit_status = 137, .exited_at_ns = 5'000'000'007, .pid = 12})));
    EXPECT_EQ(message.exit_status(), 137U);
    EXPECT_EQ(message.pid(), 12U);
    EXPECT_EQ(message.exited_at().seconds(), 5);
    EXPECT_EQ(message.exited_at().nanos(), 7);
}

TEST(ShimApi, TheInfoHasTheFeaturesAsJson) {
    pb::RuntimeInfo message;
    ASSERT_TRUE(message.ParseFromString(runtime_info("1.2.3")));
    EXPECT_EQ(message.name(), "io.containerd.pepita.v2");
    EXPECT_EQ(message.version().version(), "1.2.3");
    EXPECT_TRUE(message.features().value().starts_with('{'));
    EXPECT_TRUE(message.features().value().contains("ociVersionMin"));
}

}  // namespace
}  // namespace pepita::runtime
