#include "cri/spec/mounts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cri/api/cri.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/user_namespace.h"
#include "runtime/container.h"
#include "test/cri/spec/spec_fixture.h"

namespace pepita {
namespace {

using testing::Contains;
using testing::ElementsAre;

class MountsOfContainer : public test::ContainerSpecTest {
protected:
    std::vector<std::string> destinations() const {
        std::vector<std::string> out;
        for (const runtime::MountSpec& mount : bundle().container.mounts) {
            out.push_back(mount.destination);
        }
        return out;
    }

    std::optional<runtime::MountSpec> mount_at(std::string_view destination) const {
        const std::vector<runtime::MountSpec> mounts = bundle().container.mounts;
        const auto found = std::ranges::find(mounts, destination, &runtime::MountSpec::destination);
        return found == mounts.end() ? std::nullopt : std::optional(*found);
    }

    cri::v1::Mount& add(const std::string& host, const std::string& path) {
        auto& mount = *container.add_mounts();
        mount.set_host_path(host);
        mount.set_container_path(path);
        return mount;
    }
};

TEST_F(MountsOfContainer, AreTheUsualThenItsOwnFromTheTopDown) {
    add("/host/deep", "/data/deep");
    add("/host/data", "/data/");
    EXPECT_THAT(destinations(), ElementsAre("/proc", "/dev", "/dev/pts", "/dev/mqueue", "/dev/shm",
                                            "/sys", "/sys/fs/cgroup", "/data", "/data/deep"));
    EXPECT_EQ(mount_at("/data"), (runtime::MountSpec{.destination = "/data",
                                                     .type = "bind",
                                                     .source = "/host/data",
                                                     .options = {"rbind", "rw", "rprivate"}}));
}

TEST_F(MountsOfContainer, ItsOwnTakeThePlaceOfTheUsual) {
    add("/host/shm", "/dev/shm");
    EXPECT_EQ(mount_at("/dev/shm")->source, "/host/shm");
    add("/host/dev", "/dev");
    EXPECT_THAT(destinations(), ElementsAre("/proc", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm"));
}

TEST_F(MountsOfContainer, FilesOfThePodAreThereUnlessItBringsItsOwn) {
    place.hosts = "/pods/p1/hosts";
    place.resolv_conf = "/pods/p1/resolv.conf";
    add("/kubelet/hosts", "/etc/hosts");
    EXPECT_EQ(mount_at("/etc/hosts")->source, "/kubelet/hosts");
    EXPECT_EQ(mount_at("/etc/resolv.conf"),
              (runtime::MountSpec{.destination = "/etc/resolv.conf",
                                  .type = "bind",
                                  .source = "/pods/p1/resolv.conf",
                                  .options = {"rbind", "rw", "rprivate"}}));
    EXPECT_EQ(mount_at("/etc/hostname"), std::nullopt);
    security().set_readonly_rootfs(true);
    EXPECT_THAT(mount_at("/etc/resolv.conf")->options, Contains("ro"));
}

TEST_F(MountsOfContainer, MemoryIsSharedAsIpcIs) {
    EXPECT_EQ(mount_at("/dev/shm")->source, "pod:shm");
    security().mutable_namespace_options()->set_ipc(cri::v1::CONTAINER);
    EXPECT_EQ(mount_at("/dev/shm")->source, "shm");
}

TEST_F(MountsOfContainer, VolumesOfTheImageAreThoseOfAReadOnlyRoot) {
    image.volumes = {"/cache", "/data/"};
    add("/host/data", "/data");
    EXPECT_EQ(mount_at("/cache"), std::nullopt);
    security().set_readonly_rootfs(true);
    EXPECT_EQ(mount_at("/cache"),
              (runtime::MountSpec{
                  .destination = "/cache", .type = "volume", .source = "", .options = {}}));
    EXPECT_EQ(mount_at("/data")->type, "bind");
    image.volumes = {"cache"};
    EXPECT_EQ(refusal().message, "image config: config.Volumes['cache']: must be an absolute path");
}

TEST_F(MountsOfContainer, PrivilegedOneMayWriteToSys) {
    EXPECT_THAT(mount_at("/sys")->options, Contains("ro"));
    EXPECT_THAT(mount_at("/sys/fs/cgroup")->options, Contains("ro"));
    security().set_privileged(true);
    EXPECT_THAT(mount_at("/sys")->options, Contains("rw"));
    EXPECT_THAT(mount_at("/sys/fs/cgroup")->options, Contains("rw"));
}

TEST_F(MountsOfContainer, AccessAndPropagationAreOptions) {
    auto& mount = add("/host", "/data");
    mount.set_readonly(true);
    mount.set_propagation(cri::v1::PROPAGATION_HOST_TO_CONTAINER);
    mount.add_mount_options("noexec");
    EXPECT_THAT(mount_at("/data")->options, ElementsAre("rbind", "ro", "rslave", "noexec"));
}

TEST_F(MountsOfContainer, RecursivelyReadOnlyIsReadOnlyAndPrivate) {
    auto& mount = add("/host", "/data");
    mount.set_recursive_read_only(true);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "mounts[0].recursive_read_only: needs a mount that "
                                             "is readonly"}));
    mount.set_readonly(true);
    mount.set_propagation(cri::v1::PROPAGATION_HOST_TO_CONTAINER);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "mounts[0].recursive_read_only: needs private "
                                             "propagation"}));
    mount.set_propagation(cri::v1::PROPAGATION_PRIVATE);
    EXPECT_THAT(mount_at("/data")->options, Contains("rro"));
}

TEST_F(MountsOfContainer, BidirectionalPropagationIsRefused) {
    add("/host", "/data").set_propagation(cri::v1::PROPAGATION_BIDIRECTIONAL);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::Unsupported,
                                  .message = "mounts[0].propagation: bidirectional: mounts of a "
                                             "microVM's guest do not reach the host"}));
}

TEST_F(MountsOfContainer, AnImageIsReadOnlyAndNamedByItsId) {
    const std::string id = "sha256:" + std::string(64, '1');
    auto& mount = add("", "/data/");
    mount.mutable_image()->set_image("models:1");
    mount.mutable_image()->set_image_ref(id);
    EXPECT_EQ(refusal(), (Refusal{.code = Code::InvalidArgument,
                                  .message = "mounts[0].readonly: an image can only be mounted "
                                             "read-only"}));
    mount.set_readonly(true);
    EXPECT_EQ(mount_at("/data"),
              (runtime::MountSpec{
                  .destination = "/data", .type = "image", .source = id, .options = {"ro"}}));
    mount.set_image_sub_path("large/v1");
    mount.add_mount_options("noexec");
    EXPECT_EQ(mount_at("/data")->source, id + "/large/v1");
    EXPECT_THAT(mount_at("/data")->options, ElementsAre("ro", "noexec"));
    for (const char* path : {"/large", "large/../..", ".."}) {
        mount.set_image_sub_path(path);
        EXPECT_EQ(refusal().message,
                  "mounts[0].image_sub_path: must be relative and must not contain '..'");
    }
    mount.set_host_path("/host");
    EXPECT_EQ(refusal().message, "mounts[0].host_path: must be empty beside an image");
    mount.clear_image();
    EXPECT_EQ(refusal().message, "mounts[0].image_sub_path: needs an image");
}

TEST_F(MountsOfContainer, IdsAreMappedByTheHost) {
    auto& mount = add("/host", "/data");
    auto& uids = *mount.add_uidmappings();
    uids.set_container_id(0);
    uids.set_host_id(65'536);
    uids.set_length(1000);
    EXPECT_EQ(refusal().message,
              "mounts[0].uidMappings: needs gidMappings, and the other way round");
    *mount.add_gidmappings() = uids;
    const std::vector<IdMapping> expected{{.container_id = 0, .host_id = 65'536, .size = 1000}};
    EXPECT_EQ(mount_at("/data")->uid_mappings, expected);
    EXPECT_EQ(mount_at("/data")->gid_mappings, expected);
}

TEST_F(MountsOfContainer, PathsAndOptionsAreChecked) {
    auto& mount = add("/host", "data");
    EXPECT_EQ(refusal().message, "mounts[0].container_path: must be an absolute path");
    mount.set_container_path("/data/../..");
    EXPECT_EQ(refusal().message, "mounts[0].container_path: must not contain '..'");
    mount.set_container_path("//");
    EXPECT_EQ(refusal().message, "mounts[0].container_path: must not be the container's root");
    mount.set_container_path("/data");
    mount.set_host_path("");
    EXPECT_EQ(refusal().message, "mounts[0].host_path: must be an absolute path");
    mount.set_host_path("/host");
    mount.add_mount_options("idmap");
    EXPECT_EQ(refusal().message, "mounts[0].mount_options[0]: 'idmap' is not supported");
}

}  // namespace
}  // namespace pepita
