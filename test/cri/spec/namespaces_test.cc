#include "cri/spec/namespaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cri/api/cri.h"
#include "kernel-abi/sys/error.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "test/cri/spec/spec_fixture.h"

namespace pepita {
namespace {

using cri::v1::NamespaceMode;
using testing::Contains;
using testing::ElementsAre;
using testing::StartsWith;
using testing::UnorderedElementsAre;

class NamespacesOfContainer : public test::ContainerSpecTest {
protected:
    cri::v1::NamespaceOption& options() { return *security().mutable_namespace_options(); }
};

TEST_F(NamespacesOfContainer, ArePodsButMountUtsAndCgroup) {
    const runtime::Bundle read = bundle();
    EXPECT_EQ(read.container.namespaces,
              (runtime::NamespacesSpec{.mount = true, .uts = true, .cgroup = true}));
    EXPECT_EQ(read.network_namespace, "/run/netns/p1");
    EXPECT_THAT(read.joined, ElementsAre(runtime::NamespacePath{.type = "ipc", .path = "pod:"}));
}

TEST_F(NamespacesOfContainer, ThatOfATargetIsJoinedById) {
    options().set_pid(NamespaceMode::TARGET);
    options().set_target_id("c7");
    EXPECT_FALSE(bundle().container.namespaces.pid);
    EXPECT_THAT(bundle().joined,
                Contains(runtime::NamespacePath{.type = "pid", .path = "container:c7"}));
    options().set_target_id("../c7");
    EXPECT_EQ(refusal().code, Code::InvalidArgument);
    EXPECT_THAT(refusal().message,
                StartsWith("linux.security_context.namespace_options.target_id: container id"));
}

TEST_F(NamespacesOfContainer, ParametersOfThePodAreOnesOfItsNamespaces) {
    auto& sysctls = *pod.mutable_linux()->mutable_sysctls();
    sysctls["kernel.shm_rmid_forced"] = "1";
    sysctls["fs.mqueue.msg_max"] = "100";
    sysctls["net.ipv4.ip_unprivileged_port_start"] = "0";
    EXPECT_THAT(
        bundle().container.sysctls,
        UnorderedElementsAre(
            runtime::SysctlSpec{.name = "kernel.shm_rmid_forced", .value = "1"},
            runtime::SysctlSpec{.name = "fs.mqueue.msg_max", .value = "100"},
            runtime::SysctlSpec{.name = "net.ipv4.ip_unprivileged_port_start", .value = "0"}));
}

TEST_F(NamespacesOfContainer, ProcessesAreSeparateWhereAsked) {
    options().set_pid(NamespaceMode::CONTAINER);
    EXPECT_TRUE(bundle().container.namespaces.pid);
}

TEST_F(NamespacesOfContainer, ThoseOfTheHostAreRefusedByName) {
    options().set_pid(NamespaceMode::NODE);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::Unsupported,
                                  .message = "linux.security_context.namespace_options.pid: NODE: "
                                             "a microVM shares no namespace with the host"}));
    options().set_pid(NamespaceMode::POD);
    options().set_ipc(NamespaceMode::NODE);
    EXPECT_EQ(refusal().message,
              "linux.security_context.namespace_options.ipc: NODE: a microVM shares no namespace "
              "with the host");
    options().set_ipc(NamespaceMode::POD);
    options().set_network(NamespaceMode::NODE);
    EXPECT_EQ(refusal().message,
              "linux.security_context.namespace_options.network: NODE: a microVM shares no "
              "namespace with the host");
}

TEST_F(NamespacesOfContainer, ModesThatANamespaceHasNotAreInvalid) {
    options().set_network(NamespaceMode::CONTAINER);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "linux.security_context.namespace_options.network: "
                                             "is no mode of this namespace"}));
}

}  // namespace
}  // namespace pepita
