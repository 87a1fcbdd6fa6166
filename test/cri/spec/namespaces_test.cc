#include "cri/spec/namespaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cri/api/cri.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/user_namespace.h"
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

TEST_F(NamespacesOfContainer, UsersAreTheNodesUnlessMapped) {
    options().mutable_userns_options()->set_mode(NamespaceMode::NODE);
    EXPECT_FALSE(bundle().container.namespaces.user);
    options().mutable_userns_options()->set_mode(NamespaceMode::POD);
    for (auto* mapping : {options().mutable_userns_options()->add_uids(),
                          options().mutable_userns_options()->add_gids()}) {
        mapping->set_host_id(1000);
        mapping->set_length(100'000);
    }
    const std::vector<IdMapping> expected{{.container_id = 0, .host_id = 1000, .size = 100'000}};
    const runtime::ContainerSpec mapped = bundle().container;
    EXPECT_TRUE(mapped.namespaces.user);
    EXPECT_EQ(mapped.namespaces.uid_mappings, expected);
    EXPECT_EQ(mapped.namespaces.gid_mappings, expected);
    // What its root could do on a network of its own.
    EXPECT_THAT(
        mapped.sysctls,
        UnorderedElementsAre(
            runtime::SysctlSpec{.name = "net.ipv4.ip_unprivileged_port_start", .value = "0"},
            runtime::SysctlSpec{.name = "net.ipv4.ping_group_range", .value = "0 2147483647"}));
}

TEST_F(NamespacesOfContainer, MappingsOfUsersAreOneRangeFromRoot) {
    auto& user = *options().mutable_userns_options();
    const std::string member = "linux.security_context.namespace_options.userns_options";
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = member + ".uids: must be one mapping"}));
    user.add_uids()->set_container_id(1);
    EXPECT_EQ(refusal().message, member + ".uids: must map the container's id 0");
    user.mutable_uids(0)->set_container_id(0);
    EXPECT_EQ(refusal().message, member + ".uids: must have a length, and end below 2^32 - 1");
    user.mutable_uids(0)->set_length(10);
    user.mutable_uids(0)->set_host_id(0xffff'fff6);
    EXPECT_EQ(refusal().message, member + ".uids: must have a length, and end below 2^32 - 1");
    user.mutable_uids(0)->set_host_id(0xffff'fff5);
    EXPECT_EQ(refusal().message, member + ".gids: must be one mapping");
    user.set_mode(NamespaceMode::NODE);
    EXPECT_EQ(refusal().message, member + ": NODE has no mappings");
    user.set_mode(NamespaceMode::CONTAINER);
    EXPECT_EQ(refusal().message, member + ": is no mode of this namespace");
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

TEST_F(NamespacesOfContainer, WithoutAMicrovmThoseOfThePodAreSaidAndThoseOfTheHostAreNot) {
    place.is_on_host = true;
    const auto types = [this] {
        std::vector<std::string> out;
        for (const runtime::NamespacePath& joined : bundle().joined) {
            out.push_back(joined.type + " " + joined.path);
        }
        return out;
    };
    EXPECT_THAT(types(), UnorderedElementsAre("pid pod:", "ipc pod:"));
    auto& user = *options().mutable_userns_options();
    user.add_uids()->set_length(10);
    user.add_gids()->set_length(10);
    EXPECT_EQ(refusal(),
              (Refusal{.code = Code::Unsupported,
                       .message = "linux.security_context.namespace_options.userns_options: a pod "
                                  "on the host has no user namespace"}));
    options().clear_userns_options();
    options().set_pid(NamespaceMode::NODE);
    options().set_ipc(NamespaceMode::NODE);
    options().set_network(NamespaceMode::NODE);
    EXPECT_THAT(types(), UnorderedElementsAre());
    const runtime::NamespacesSpec& namespaces = bundle().container.namespaces;
    EXPECT_FALSE(namespaces.pid || namespaces.ipc || namespaces.network);
    EXPECT_TRUE(bundle().network_namespace.empty());
}

TEST_F(NamespacesOfContainer, ModesThatANamespaceHasNotAreInvalid) {
    options().set_network(NamespaceMode::CONTAINER);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "linux.security_context.namespace_options.network: "
                                             "is no mode of this namespace"}));
}

}  // namespace
}  // namespace pepita
