#include "test/support/container_test.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/container_fixture.h"
#include "test/support/loop_image.h"

namespace pepita::test {
namespace {

namespace fs = std::filesystem;
using runtime::ContainerSpec;
using runtime::MountSpec;
using runtime::ProcessSpec;
using runtime::container::Container;
using runtime::container::Stdio;

void add(const std::string& root, const ImageEntry& entry) {
    const std::string path = root + "/" + entry.path;
    fs::create_directories(fs::path(path).parent_path());
    switch (entry.kind) {
        case ImageEntry::Kind::Directory:
            fs::create_directories(path);
            break;
        case ImageEntry::Kind::File:
            std::ofstream(path) << entry.content;
            break;
        case ImageEntry::Kind::Link:
            fs::create_symlink(entry.content, path);
            return;
    }
    EXPECT_EQ(::chmod(path.c_str(), entry.mode), 0) << path;
}

struct Talk {
    Fd out;
    Fd err;
};

// Pipes for what a process says, and the ends it gets.
std::pair<Talk, Stdio> make_talk() {
    PipeEnds out = make_pipe();
    PipeEnds err = make_pipe();
    return {Talk{.out = std::move(out.out), .err = std::move(err.out)},
            Stdio{.in = Fd(), .out = std::move(out.in), .err = std::move(err.in)}};
}

Result<Ran> finish(WaitedProcess& process, const Talk& talk) {
    Ran ran;
    Result<std::uint32_t> started = process.start();
    if (!started) {
        (void)reap_status(process.pid());
        return std::move(started).error();
    }
    ran.exec_errno = *started;
    // What these scripts say fits into a pipe.
    ran.out = read_to_end(talk.out.ref());
    ran.err = read_to_end(talk.err.ref());
    ran.status = reap_status(process.pid());
    return ran;
}

}  // namespace

PipeEnds make_pipe() {
    std::array<int, 2> ends{};
    CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0);
    return {.out = Fd(ends[0]), .in = Fd(ends[1])};
}

std::string read_to_end(FdRef from) {
    std::string text;
    std::array<char, 4096> buffer{};
    while (true) {
        const ssize_t got = ::read(from.number(), buffer.data(), buffer.size());
        if (got <= 0) {
            return text;
        }
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

std::uint32_t reap_status(pid_t pid) {
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid) {
        ADD_FAILURE() << "process " << pid << " is no child of ours";
        return 0;
    }
    return static_cast<std::uint32_t>(WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                                          : WEXITSTATUS(status));
}

void ContainerTest::SetUp() {
    ContainerFixture::SetUp();
    if (!IsSkipped()) {
        before_ = count_all();
    }
}

void ContainerTest::TearDown() {
    own_image_.reset();
    if (!before_.empty()) {
        EXPECT_EQ(count_all(), before_);
    }
    ContainerFixture::TearDown();
}

MountSpec ContainerTest::mount_of(const std::string& type, const std::string& destination,
                                  std::vector<std::string> options) {
    return {
        .destination = destination, .type = type, .source = type, .options = std::move(options)};
}

ProcessSpec ContainerTest::process_of(const std::string& script) {
    ProcessSpec process;
    process.args = {"sh", "-c", script};
    process.env = {"PATH=/bin"};
    process.cwd = "/";
    process.capabilities.emplace();
    return process;
}

void ContainerTest::drop_mounts(ContainerSpec& spec, const std::string& path) {
    std::erase_if(spec.mounts, [&path](const MountSpec& mount) {
        return mount.destination == path || mount.destination.starts_with(path + "/");
    });
}

ContainerSpec ContainerTest::spec_of(const std::string& script) {
    ContainerSpec spec;
    spec.id = "web";
    spec.namespaces = {
        .pid = true, .mount = true, .ipc = true, .uts = true, .network = true, .cgroup = true};
    spec.mounts = {mount_of("proc", "/proc", {"nosuid", "noexec", "nodev"}),
                   mount_of("tmpfs", "/dev", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
                   mount_of("devpts", "/dev/pts",
                            {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}),
                   mount_of("mqueue", "/dev/mqueue", {"nosuid", "noexec", "nodev"})};
    spec.process = process_of(script);
    return spec;
}

Container::Options ContainerTest::options() const {
    return {.root_device = own_image_ ? own_image_->device() : image->device(),
            .scratch_device = scratch_device_,
            .staging_directory = staging_directory_,
            .cgroup_directory = cgroup_directory_,
            .joined = joined_,
            .image_devices = image_devices_};
}

Result<std::unique_ptr<WaitedContainer>> ContainerTest::create(const ContainerSpec& spec,
                                                               Stdio stdio) const {
    return WaitedContainer::create(*loop_, with_root(spec), options(), std::move(stdio));
}

Result<Ran> ContainerTest::run(const ContainerSpec& spec) const {
    auto [talk, stdio] = make_talk();
    auto container = TRY(create(spec, std::move(stdio)));
    Result<Ran> ran = finish(container->process(), talk);
    TRY(container->remove());
    return ran;
}

Result<Ran> ContainerTest::exec(WaitedContainer& container, const ProcessSpec& spec) {
    auto [talk, stdio] = make_talk();
    WaitedProcess process = TRY(container.exec(spec, std::move(stdio)));
    return finish(process, talk);
}

std::string ContainerTest::output_of(const ContainerSpec& spec) const {
    const Result<Ran> ran = run(spec);
    if (!ran) {
        ADD_FAILURE() << ran.error().message();
        return {};
    }
    EXPECT_EQ(ran->status, 0U) << ran->err;
    return ran->out;
}

std::string ContainerTest::refusal_of(const ContainerSpec& spec) const {
    const auto container = create(spec);
    if (!container) {
        return container.error().message();
    }
    EXPECT_TRUE((*container)->remove().has_value());
    (void)reap_status((*container)->process().pid());
    return {};
}

void ContainerTest::use_image(const std::vector<ImageEntry>& more) {
    use_folder([&more](const std::string& folder) {
        fill_root(folder);
        for (const ImageEntry& entry : more) {
            add(folder, entry);
        }
    });
}

void ContainerTest::use_bare_image() {
    use_folder(
        [](const std::string& folder) { fs::copy_file("/bin/busybox", folder + "/busybox"); });
}

void ContainerTest::use_folder(const std::function<void(const std::string&)>& fill) {
    std::string folder = "/tmp/pepita-root-XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    ASSERT_EQ(::chmod(folder.c_str(), 0755), 0);
    fill(folder);
    auto made = LoopImage::create(folder);
    fs::remove_all(folder);
    ASSERT_TRUE(made.has_value()) << made.error().message();
    own_image_ = *std::move(made);
}

}  // namespace pepita::test
