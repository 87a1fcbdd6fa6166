#include "cri/cli/doctor.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "cri/options.h"
#include "runtime/pod_spec.h"

namespace pepita::cri::cli {
namespace {

namespace fs = std::filesystem;

/// A tree of files that looks like a host which has all that pods need.
class DoctorTest : public testing::Test {
protected:
    DoctorTest() {
        EXPECT_NE(::mkdtemp(root_.data()), nullptr);
        for (const char* path :
             {"/dev/kvm", "/dev/net/tun", "/dev/ublk-control", "/var/lib/pepita/guest/vmlinuz",
              "/var/lib/pepita/guest/initramfs.cpio", "/sys/fs/cgroup/cgroup.controllers",
              "/sys/module/sch_ingress/refcnt", "/sys/module/cls_u32/refcnt"}) {
            write(path, "");
        }
        for (const char* program :
             {"/usr/bin/qemu-system-x86_64", "/usr/sbin/mkfs.ext4", "/usr/bin/mkfs.erofs",
              "/usr/libexec/virtiofsd", "/opt/cni/bin/bridge", "/usr/lib/cni/portmap"}) {
            write(program, "");
            fs::permissions(root_ + program, fs::perms::owner_all);
        }
        write("/lib/modules/6.1.0/modules.dep", "kernel/net/sched/act_mirred.ko.xz:\n");
        write(
            "/etc/cni/net.d/1.conflist",
            R"({"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge"},{"type":"portmap"}]})");
    }
    ~DoctorTest() override { fs::remove_all(root_); }

    void write(const std::string& path, std::string_view text) const {
        fs::create_directories(fs::path(root_ + path).parent_path());
        std::ofstream(root_ + path) << text;
    }
    void remove(const std::string& path) const { EXPECT_TRUE(fs::remove(root_ + path)); }

    Diagnosis diagnosis() const {
        return diagnose({.root = root_, .kernel_release = "6.1.0", .is_root = is_root_}, options_);
    }
    /// Those that are not fine: "missing QEMU".
    std::vector<std::string> lacks() const {
        std::vector<std::string> names;
        for (const Finding& finding : diagnosis().findings) {
            if (finding.grade != Finding::Grade::Fine) {
                names.push_back(
                    (finding.grade == Finding::Grade::Missing ? "missing " : "without ") +
                    finding.what);
            }
        }
        return names;
    }

    std::string root_ = "/tmp/pepita-doctor-XXXXXX";
    Options options_;
    bool is_root_ = true;
};

using Names = std::vector<std::string>;

bool is_in(const Names& names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

TEST_F(DoctorTest, AHostThatHasAllRunsPodsByKvm) {
    EXPECT_EQ(lacks(), Names());
    EXPECT_EQ(diagnosis().isolation, "kvm");
}

TEST_F(DoctorTest, WithoutKvmPodsAreSlowUnlessItIsWanted) {
    remove("/dev/kvm");
    EXPECT_EQ(lacks(), Names{"without /dev/kvm"});
    EXPECT_EQ(diagnosis().isolation, "tcg");
    options_.runtime.isolation = runtime::IsolationChoice::Kvm;
    EXPECT_EQ(lacks(), Names{"missing /dev/kvm"});
    EXPECT_EQ(diagnosis().isolation, "");
}

TEST_F(DoctorTest, QemuIsNeededWhereThereIsNoKvm) {
    remove("/usr/bin/qemu-system-x86_64");
    EXPECT_EQ(lacks(), Names{"without QEMU"});
    EXPECT_EQ(diagnosis().isolation, "kvm");
    remove("/dev/kvm");
    EXPECT_EQ(lacks(), (Names{"without /dev/kvm", "missing QEMU"}));
    EXPECT_EQ(diagnosis().isolation, "");
}

TEST_F(DoctorTest, WhatNoPodCanDoWithoutIsMissing) {
    is_root_ = false;
    remove("/var/lib/pepita/guest/vmlinuz");
    remove("/dev/net/tun");
    remove("/opt/cni/bin/bridge");
    remove("/usr/sbin/mkfs.ext4");
    EXPECT_EQ(lacks(), (Names{"missing rights", "missing guest image", "missing /dev/net/tun",
                              "missing CNI plugin 'bridge'", "missing mkfs.ext4"}));
    EXPECT_EQ(diagnosis().isolation, "");
    options_.runtime.scratch_mib = 0;
    EXPECT_FALSE(is_in(lacks(), "missing mkfs.ext4"));
}

TEST_F(DoctorTest, WhatSomePodsCanDoWithoutIsNot) {
    remove("/usr/libexec/virtiofsd");
    remove("/usr/bin/mkfs.erofs");
    remove("/dev/ublk-control");
    remove("/sys/fs/cgroup/cgroup.controllers");
    remove("/lib/modules/6.1.0/modules.dep");
    EXPECT_EQ(lacks(),
              (Names{"without mkfs.erofs", "without virtiofsd", "without kernel module act_mirred",
                     "without /dev/ublk-control", "without cgroup v2"}));
    EXPECT_EQ(diagnosis().isolation, "kvm");
}

TEST_F(DoctorTest, AConfigurationOfTheNetworkThatCannotBeUsedSaysWhy) {
    write("/etc/cni/net.d/1.conflist", "{");
    const Diagnosis found = diagnosis();
    const auto network = std::ranges::find(found.findings, "pod network", &Finding::what);
    ASSERT_NE(network, found.findings.end());
    EXPECT_TRUE(network->message.contains("1.conflist")) << network->message;
    EXPECT_EQ(found.isolation, "");
}

}  // namespace
}  // namespace pepita::cri::cli
