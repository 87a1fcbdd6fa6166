#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/container_fixture.h"
#include "test/support/loop_image.h"

namespace pepita::test {

/// One thing in an image besides what each has.
struct ImageEntry {
    enum class Kind : unsigned char { File, Directory, Link };
    Kind kind = Kind::File;
    std::string path;
    std::string content;  // of a file; a link's target
    unsigned mode = 0755;
};

/// How a process ended and what it said.
struct Ran {
    std::uint32_t status = 0;  // as the shell counts
    std::uint32_t exec_errno = 0;
    std::string out;
    std::string err;
};

/// A pipe's two ends.
struct PipeEnds {
    Fd out;
    Fd in;
};
PipeEnds make_pipe();
std::string read_to_end(FdRef from);
std::uint32_t reap_status(pid_t pid);

/// For what goes wrong, too: images of a test's own, a cgroup, errors as values. After each test
/// there are as many mounts, descriptors, children and files as before.
class ContainerTest : public ContainerFixture {
protected:
    void SetUp() override;
    void TearDown() override;

    /// A container as `pepita-run spec` has it, but writable, that runs a shell with `script`.
    static runtime::ContainerSpec spec_of(const std::string& script);
    static runtime::ProcessSpec process_of(const std::string& script);
    static runtime::MountSpec mount_of(const std::string& type, const std::string& destination,
                                       std::vector<std::string> options);
    /// Leaves out the mounts of `spec` at `path` and below.
    static void drop_mounts(runtime::ContainerSpec& spec, const std::string& path);

    runtime::container::Container::Options options() const;
    Result<std::unique_ptr<WaitedContainer>> create(const runtime::ContainerSpec& spec,
                                                    runtime::container::Stdio stdio = {}) const;

    /// Creates, starts, reads what it says, reaps, removes.
    Result<Ran> run(const runtime::ContainerSpec& spec) const;
    /// The same for one more process in a container.
    static Result<Ran> exec(WaitedContainer& container, const runtime::ProcessSpec& spec);
    /// What a script says in a container; a failure of the test where it does not end with 0.
    std::string output_of(const runtime::ContainerSpec& spec) const;
    std::string output_of(const std::string& script) const { return output_of(spec_of(script)); }
    /// The words of the error that creating gives; empty where it gives none.
    std::string refusal_of(const runtime::ContainerSpec& spec) const;

    /// The image of this test from now on.
    void use_image(const std::vector<ImageEntry>& more);
    /// The same, of /busybox and nothing else.
    void use_bare_image();

    std::string cgroup_directory_;
    std::map<std::string, FdRef> joined_;               // as Container::Options has it
    std::map<std::string, std::string> image_devices_;  // likewise

private:
    void use_folder(const std::function<void(const std::string&)>& fill);

    std::unique_ptr<LoopImage> own_image_;
    std::map<std::string, std::size_t> before_;
};

}  // namespace pepita::test
