#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "test/support/container_test.h"

// Containers of CRI's configuration on this machine's kernel.
namespace pepita {
namespace {

class ContainerRun : public test::ContainerTest {
protected:
    ContainerRun() {
        place_.pod_id = "p";
        place_.container_id = "c";
        place_.hostname = "web-0";
        place_.default_seccomp = PEPITA_SOURCE_ROOT "/deploy/seccomp-default.json";
        security().mutable_seccomp();  // RuntimeDefault
        security().mutable_namespace_options()->set_pid(cri::v1::CONTAINER);
        security().mutable_namespace_options()->set_ipc(cri::v1::CONTAINER);
    }

    cri::v1::LinuxContainerSecurityContext& security() {
        return *container_.mutable_linux()->mutable_security_context();
    }

    /// What `script` says. A cgroup and the pod's network are the guest's.
    std::string said(const std::string& script) {
        container_.clear_command();
        for (const char* word : {"/bin/sh", "-c", script.c_str()}) {
            container_.add_command(word);
        }
        const auto config =
            cri::oci_config(cri::v1::PodSandboxConfig(), container_, cri::ImageConfig(), place_);
        EXPECT_TRUE(config.has_value()) << config.error().message();
        auto bundle = runtime::parse_config(config.value_or("{}"), "/bundle");
        if (!bundle) {
            return bundle.error().message();
        }
        runtime::ContainerSpec& spec = bundle->container;
        spec.id = "c";
        spec.resources = {};
        // Who tests may not be allowed to raise them, nor have all capabilities.
        spec.process.rlimits = {};
        if (security().privileged()) {
            spec.process.capabilities.reset();
        }
        drop_mounts(spec, "/sys/fs/cgroup");
        return output_of(spec);
    }

    cri::v1::ContainerConfig container_;
    cri::ContainerPlace place_;
};

TEST_F(ContainerRun, DefaultFilterLetsProgramsRunAndNamespacesBe) {
    EXPECT_EQ(said("grep ^Seccomp: /proc/self/status; "
                   "unshare -m true 2>/dev/null || echo no namespace; "
                   "hostname; hostname new 2>/dev/null || echo no name; "
                   "echo text >/tmp/file; chmod 400 /tmp/file; (cat /tmp/file | sort) & wait"),
              "Seccomp:\t2\nno namespace\nweb-0\nno name\ntext\n");
}

TEST_F(ContainerRun, WithCapabilityTheDefaultFilterLetsNamespacesBeMade) {
    security().mutable_capabilities()->add_add_capabilities("SYS_ADMIN");
    EXPECT_EQ(said("unshare -m true && hostname new && hostname"), "new\n");
}

TEST_F(ContainerRun, DirectoryUserAndGroupsAreAsAsked) {
    container_.set_working_dir("/made/for/it");
    security().mutable_run_as_user()->set_value(1234);
    security().mutable_run_as_group()->set_value(77);
    security().add_supplemental_groups(99);
    EXPECT_EQ(said("pwd; id -u; id -g; id -G; grep CapEff /proc/self/status"),
              "/made/for/it\n1234\n77\n77 99\nCapEff:\t0000000000000000\n");
}

TEST_F(ContainerRun, PrivilegedOneHasNoFilterAndWritesToSys) {
    security().set_privileged(true);
    EXPECT_EQ(said("grep ^Seccomp: /proc/self/status; grep -c ' /sys sysfs rw' /proc/mounts"),
              "Seccomp:\t0\n1\n");
}

}  // namespace
}  // namespace pepita
