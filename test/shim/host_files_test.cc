#include "shim/host_files.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "runtime/rpc/on_result.h"
#include "shim/pod_directory.h"

namespace pepita::shim {
namespace {

using Access = SharedPath::Access;

void write(const std::string& path, std::string_view text) {
    std::ofstream file(path);
    file << text;
}

class HostFilesTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "needs root for mounts";
        }
        ASSERT_NE(::mkdtemp(place_.data()), nullptr);
        directory_ = *PodDirectory::create(
            {.root = place_ + "/run", .name = "pod", .state = std::nullopt, .machine = {}});
        auto started = HostFiles::start(
            *loop_, *directory_,
            [this](bool is_orderly, const std::string& reason) { end_ = {is_orderly, reason}; });
        if (!started && started.error().code() == Code::NotFound) {
            GTEST_SKIP() << started.error().message();
        }
        ASSERT_TRUE(started.has_value()) << started.error().message();
        files_ = *std::move(started);
        std::filesystem::create_directories(place_ + "/data/below");
        write(place_ + "/data/file", "content");
    }
    void TearDown() override {
        files_.reset();
        directory_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(place_, ignored);
    }

    /// virtiofsd answers when it has made its own mount namespace.
    void wait_for_server() {
        socket_ = files_->take_socket();
        const abi::VhostUserHeader request{
            .request = 1, .flags = abi::kVhostUserVersion, .size = 0};
        ASSERT_TRUE(send_some(socket_.ref(), std::as_bytes(std::span(&request, 1))).has_value());
        pollfd answer{.fd = socket_.ref().number(), .events = POLLIN, .revents = 0};
        ASSERT_EQ(::poll(&answer, 1, 10'000), 1);
    }
    /// What a guest's root can do: a path in the tree as the process sees it that serves it.
    std::string seen(const std::string& path) const {
        const std::string pid = std::to_string(files_->pid());
        std::string child = *read_file("/proc/" + pid + "/task/" + pid + "/children");
        return "/proc/" + child.substr(0, child.find(' ')) + "/root/" + path;
    }
    Result<void> wait(auto&& begin) {
        std::optional<Result<void>> outcome;
        begin([&outcome](Result<void> done) { outcome = std::move(done); });
        while (!outcome) {
            EXPECT_TRUE(loop_->run_once(std::chrono::seconds(10)).has_value());
        }
        return *std::move(outcome);
    }
    Result<void> attach(const std::string& container, std::vector<SharedPath> paths) {
        return wait([&](runtime::OnResult<void> done) {
            files_->attach(container, std::move(paths), std::move(done));
        });
    }
    Result<void> detach(const std::string& container) {
        return wait(
            [&](runtime::OnResult<void> done) { files_->detach(container, std::move(done)); });
    }
    SharedPath data(const std::string& name, Access access = Access::ReadWrite) const {
        return {.name = name, .source = place_ + "/data", .access = access};
    }
    std::string refusal_of(const std::string& source,
                           SharedPath::Links links = SharedPath::Links::Followed) {
        const Result<void> attached =
            attach("c", {data("0"), {.name = "1", .source = source, .links = links}});
        return attached ? "" : attached.error().message();
    }

    std::string place_ = "/tmp/pepita-files-XXXXXX";
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<PodDirectory> directory_;
    std::unique_ptr<HostFiles> files_;
    std::optional<std::pair<bool, std::string>> end_;
    Fd socket_;
};

TEST_F(HostFilesTest, TheServerSeesWhatIsAttachedBeforeAndAfterItsStart) {
    ASSERT_TRUE(attach("c1", {data("root")}).has_value());
    wait_for_server();
    ASSERT_TRUE(attach("c2", {data("root")}).has_value());
    EXPECT_EQ(*read_file(seen("c1/root/file")), "content");
    EXPECT_EQ(*read_file(seen("c2/root/file")), "content");
}

TEST_F(HostFilesTest, ASingleFileIsOne) {
    ASSERT_TRUE(attach("c", {{.name = "0", .source = place_ + "/data/file"}}).has_value());
    wait_for_server();
    EXPECT_EQ(*read_file(seen("c/0")), "content");
}

// A flag that is set after attaching does not reach the server's copy of the mount.
TEST_F(HostFilesTest, ReadOnlyIsReadOnlyForTheServerToo) {
    ASSERT_TRUE(attach("c", {data("rw"), data("ro", Access::ReadOnly)}).has_value());
    wait_for_server();
    EXPECT_TRUE(write_file(seen("c/rw/file"), "new").has_value());
    const Result<void> written = write_file(seen("c/ro/file"), "newer");
    ASSERT_FALSE(written.has_value());
    EXPECT_EQ(written.error().sys_errno(), EROFS);
}

TEST_F(HostFilesTest, NoMountHasDevicesOrSetUserIdProgramsForTheHost) {
    ASSERT_TRUE(attach("c", {data("root")}).has_value());
    wait_for_server();
    struct statvfs about{};
    ASSERT_EQ(::statvfs(seen("c/root").c_str(), &about), 0);
    constexpr unsigned long all = ST_NODEV | ST_NOSUID | ST_NOEXEC;
    EXPECT_EQ(about.f_flag & all, all);
}

TEST_F(HostFilesTest, IdsAreMappedForTheServer) {
    SharedPath mapped = data("mapped");
    mapped.uid_mappings = {{.container_id = 0, .host_id = 1000, .size = 10}};
    mapped.gid_mappings = {{.container_id = 0, .host_id = 2000, .size = 10}};
    ASSERT_TRUE(attach("c", {data("plain"), mapped}).has_value());
    wait_for_server();
    struct stat about{};
    ASSERT_EQ(::stat(seen("c/mapped/file").c_str(), &about), 0);
    EXPECT_EQ(about.st_uid, 1000U);
    EXPECT_EQ(about.st_gid, 2000U);
    ASSERT_EQ(::stat(seen("c/plain/file").c_str(), &about), 0);
    EXPECT_EQ(about.st_uid, 0U);
}

TEST_F(HostFilesTest, TheServersOwnDirectoriesAreReadOnly) {
    ASSERT_TRUE(attach("c", {data("root")}).has_value());
    wait_for_server();
    EXPECT_EQ(::mkdir(seen("c/more").c_str(), 0755), -1);
    EXPECT_EQ(errno, EROFS);
}

TEST_F(HostFilesTest, WhatIsDetachedIsGoneAndCanBeAttachedAgain) {
    ASSERT_TRUE(attach("c", {data("root"), data("0")}).has_value());
    wait_for_server();
    ASSERT_TRUE(detach("c").has_value());
    EXPECT_FALSE(std::filesystem::exists(seen("c")));
    EXPECT_EQ(*read_file(place_ + "/data/file"), "content");
    EXPECT_TRUE(detach("c").has_value());
    EXPECT_TRUE(attach("c", {data("root")}).has_value());
}

TEST_F(HostFilesTest, ASourceThatIsNotThereIsNamed) {
    EXPECT_EQ(refusal_of("/no/such"), "'/no/such': open it: No such file or directory (ENOENT)");
}

TEST_F(HostFilesTest, ALoopOfLinksIsNamed) {
    const std::string link = place_ + "/link";
    std::filesystem::create_symlink(link, link);
    EXPECT_EQ(refusal_of(link),
              "'" + link + "': open it: Too many levels of symbolic links (ELOOP)");
}

TEST_F(HostFilesTest, ADeviceIsRefused) {
    EXPECT_EQ(refusal_of("/dev/null"), "'/dev/null': a device of the host is none of the guest");
}

TEST_F(HostFilesTest, ALinkIsFollowedOnlyWhereItMayBe) {
    const std::string link = place_ + "/link";
    std::filesystem::create_symlink(place_ + "/data", link);
    EXPECT_EQ(refusal_of(link, SharedPath::Links::Refused),
              "'" + link + "': open it: Too many levels of symbolic links (ELOOP)");
    EXPECT_EQ(refusal_of(link), "");
}

TEST_F(HostFilesTest, AnErrorLeavesNothing) {
    EXPECT_NE(refusal_of("/no/such"), "");
    wait_for_server();
    EXPECT_FALSE(std::filesystem::exists(seen("c")));
    EXPECT_TRUE(attach("c", {data("root")}).has_value());
}

TEST_F(HostFilesTest, TheHostHasNoMountOfIt) {
    ASSERT_TRUE(attach("c", {data("root")}).has_value());
    EXPECT_FALSE(read_file("/proc/self/mountinfo")->contains(place_));
}

TEST_F(HostFilesTest, TheEndOfTheServerIsTold) {
    wait_for_server();
    socket_ = Fd();  // as a machine that ends
    while (!end_) {
        ASSERT_TRUE(loop_->run_once(std::chrono::seconds(10)).has_value());
    }
    EXPECT_TRUE(end_->first) << end_->second;
}

TEST_F(HostFilesTest, ADeathOfTheServerIsToldAsOne) {
    ASSERT_EQ(::kill(files_->pid(), SIGKILL), 0);
    while (!end_) {
        ASSERT_TRUE(loop_->run_once(std::chrono::seconds(10)).has_value());
    }
    EXPECT_FALSE(end_->first);
    EXPECT_EQ(end_->second, "virtiofsd: killed by signal 9 (SIGKILL)");
}

}  // namespace
}  // namespace pepita::shim
