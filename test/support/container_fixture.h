#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/loop_image.h"
#include "test/support/waited_container.h"

namespace pepita::test {

/// Fills an empty folder with what every image of these tests has: /bin with busybox and its
/// applets, /secret (a file), /folder/file, /plain (not executable), /link -> /folder,
/// /escape -> ../../../tmp, /etc/passwd, and the usual empty folders.
void fill_root(const std::string& folder);

/// Real containers of this machine's kernel, without a microVM and without a cgroup, of an image
/// with busybox in it. The test process has a mount namespace of its own. Skips where it may not.
class ContainerFixture : public testing::Test {
protected:
    ContainerFixture();
    static void SetUpTestSuite();
    static void TearDownTestSuite();
    void SetUp() override;
    void TearDown() override;

    struct Outcome {
        int status = -1;     // as the shell counts
        std::string output;  // of stdout and stderr together
        std::uint32_t exec_errno = 0;
    };

    /// A container with the usual namespaces and mounts that runs `script`.
    static runtime::ContainerSpec shell(const std::string& script);
    static runtime::ProcessSpec program(std::vector<std::string> args);

    Result<std::unique_ptr<WaitedContainer>> create(const runtime::ContainerSpec& spec,
                                                    runtime::container::Stdio stdio = {});

    /// From creation to removal. What goes wrong on the way fails the test.
    Outcome run(const runtime::ContainerSpec& spec);
    /// One more process in a running container, to its end.
    Outcome exec(WaitedContainer& container, const runtime::ProcessSpec& spec);

    struct Pipe {
        Fd out;
        Fd in;
    };
    static Pipe make_pipe();
    static Fd copy(const Fd& fd);
    /// All that comes until the end (a terminal's, too).
    static std::string read_all(const Fd& fd);
    static int reap(pid_t pid);  // its status, as the shell counts

    /// What an error may leave behind, by name: mounts, descriptors, children, entries of the
    /// staging directory.
    std::map<std::string, std::size_t> count_all() const;

    static std::unique_ptr<LoopImage> image;
    static std::string why_not;
    /// For `spec`, whose root becomes that of the image; the scratch device where there is one.
    runtime::ContainerSpec with_root(runtime::ContainerSpec spec) const;

    std::string scratch_device_;  // "": what containers write goes to a tmpfs
    std::string staging_directory_ = "/tmp/pepita-staging-XXXXXX";
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
};

}  // namespace pepita::test
