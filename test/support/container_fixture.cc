#include "test/support/container_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/loop_image.h"
#include "test/support/waited_container.h"

namespace pepita::test {
namespace {

namespace fs = std::filesystem;
using runtime::ContainerSpec;
using runtime::ProcessSpec;
using runtime::container::Stdio;

constexpr const char* kBusybox = "/bin/busybox";

Result<std::unique_ptr<LoopImage>> make_image() {
    if (::geteuid() != 0) {
        return Error(Code::PermissionDenied, "needs root");
    }
    if (!fs::exists(kBusybox)) {
        return Error(Code::NotFound, "needs busybox-static");
    }
    // Whatever a test leaves mounted goes with this process.
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        return Error::from_errno(errno, "make a mount namespace");
    }
    std::string folder = "/tmp/pepita-root-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) {
        return Error::from_errno(errno, "mkdtemp");
    }
    EXPECT_EQ(::chmod(folder.c_str(), 0755), 0);
    fill_root(folder);
    auto image = LoopImage::create(folder);
    fs::remove_all(folder);
    return image;
}

std::size_t count_lines(const char* path) {
    std::ifstream file(path);
    return static_cast<std::size_t>(
        std::count(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>(), '\n'));
}

std::size_t count_entries(const std::string& folder) {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

void fill_root(const std::string& folder) {
    for (const char* name :
         {"bin", "dev", "etc", "folder", "home", "home/web", "proc", "root", "run", "sys", "tmp"}) {
        fs::create_directory(folder + "/" + name);
    }
    fs::copy_file(kBusybox, folder + kBusybox);
    for (const char* applet :
         {"cat", "dd",       "echo", "env",   "grep", "head", "hostname", "id",   "ls",  "mkdir",
          "pwd", "readlink", "sh",   "sleep", "stat", "stty", "touch",    "true", "tty", "wc"}) {
        fs::create_symlink("busybox", folder + "/bin/" + applet);
    }
    std::ofstream(folder + "/secret") << "hidden\n";
    std::ofstream(folder + "/folder/file") << "file\n";
    std::ofstream(folder + "/plain") << "no program\n";
    std::ofstream(folder + "/etc/passwd")
        << "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:\n";
    fs::create_symlink("/folder", folder + "/link");
    fs::create_symlink("../../../tmp", folder + "/escape");
}

std::unique_ptr<LoopImage> ContainerFixture::image;
std::string ContainerFixture::why_not;

void ContainerFixture::SetUpTestSuite() {
    auto made = make_image();
    if (!made) {
        why_not = made.error().message();
        return;
    }
    image = *std::move(made);
}

void ContainerFixture::TearDownTestSuite() { image.reset(); }

ContainerFixture::ContainerFixture() {
    if (image) {
        EXPECT_NE(::mkdtemp(staging_directory_.data()), nullptr);
    }
}

void ContainerFixture::SetUp() {
    if (!image) {
        GTEST_SKIP() << "no container can run here: " << why_not;
    }
}

void ContainerFixture::TearDown() {
    if (image) {
        EXPECT_EQ(::rmdir(staging_directory_.c_str()), 0) << "something is left in it";
        EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    }
}

ProcessSpec ContainerFixture::program(std::vector<std::string> args) {
    ProcessSpec spec;
    spec.args = std::move(args);
    spec.env = {"PATH=/bin"};
    spec.cwd = "/";
    return spec;
}

ContainerSpec ContainerFixture::shell(const std::string& script) {
    ContainerSpec spec;
    spec.id = "test";
    spec.namespaces = {
        .pid = true, .mount = true, .ipc = true, .uts = true, .network = true, .cgroup = false};
    spec.mounts = {{.destination = "/proc", .type = "proc", .source = "proc", .options = {}},
                   {.destination = "/dev",
                    .type = "tmpfs",
                    .source = "tmpfs",
                    .options = {"nosuid", "mode=755"}},
                   {.destination = "/dev/pts",
                    .type = "devpts",
                    .source = "devpts",
                    .options = {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}}};
    spec.process = program({"sh", "-c", script});
    return spec;
}

Result<std::unique_ptr<WaitedContainer>> ContainerFixture::create(const ContainerSpec& spec,
                                                                  Stdio stdio) {
    return WaitedContainer::create(*loop_, with_root(spec),
                                   {.root_device = image->device(),
                                    .scratch_device = scratch_device_,
                                    .staging_directory = staging_directory_,
                                    .cgroup_directory = ""},
                                   std::move(stdio));
}

ContainerSpec ContainerFixture::with_root(ContainerSpec spec) const {
    if (!spec.root.disk && !spec.root.tree) {
        spec.root.disk = runtime::DiskId{.serial = "disk0"};
        if (!scratch_device_.empty()) {
            spec.root.written_to = runtime::WrittenTo::ScratchDisk;
        }
    }
    return spec;
}

ContainerFixture::Outcome ContainerFixture::run(const ContainerSpec& spec) {
    Pipe pipe = make_pipe();
    auto container = create(spec, {.in = {}, .out = copy(pipe.in), .err = std::move(pipe.in)});
    if (!container) {
        ADD_FAILURE() << container.error().message();
        return {};
    }
    WaitedProcess& process = (*container)->process();
    const auto started = process.start();
    if (!started) {
        ADD_FAILURE() << started.error().message();
    }
    Outcome outcome{.status = -1,
                    .output = read_all(pipe.out),
                    .exec_errno = started.has_value() ? *started : 0};
    outcome.status = reap(process.pid());
    EXPECT_TRUE((*container)->remove().has_value());
    return outcome;
}

ContainerFixture::Outcome ContainerFixture::exec(WaitedContainer& container,
                                                 const ProcessSpec& spec) {
    Pipe pipe = make_pipe();
    auto process =
        container.exec(spec, {.in = {}, .out = copy(pipe.in), .err = std::move(pipe.in)});
    if (!process) {
        ADD_FAILURE() << process.error().message();
        return {};
    }
    const auto started = process->start();
    Outcome outcome{.status = -1,
                    .output = read_all(pipe.out),
                    .exec_errno = started.has_value() ? *started : 0};
    outcome.status = reap(process->pid());
    return outcome;
}

ContainerFixture::Pipe ContainerFixture::make_pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    return {.out = Fd(ends[0]), .in = Fd(ends[1])};
}

Fd ContainerFixture::copy(const Fd& fd) { return *duplicate(fd.ref()); }

std::string ContainerFixture::read_all(const Fd& fd) {
    std::string text;
    std::array<char, 4096> buffer{};
    ssize_t got = 0;
    while ((got = ::read(fd.ref().number(), buffer.data(), buffer.size())) > 0) {
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return text;
}

int ContainerFixture::reap(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::map<std::string, std::size_t> ContainerFixture::count_all() const {
    return {{"mounts", count_lines("/proc/self/mountinfo")},
            {"descriptors", count_entries("/proc/self/fd")},
            {"children", ::waitpid(-1, nullptr, WNOHANG | WNOWAIT) == -1 ? 0 : 1},
            {"staging", count_entries(staging_directory_)}};
}

}  // namespace pepita::test
