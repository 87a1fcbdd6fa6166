#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/socket.h"
#include "test/support/sanitizer.h"
#include "test/support/tiny_guest.h"
#include "vmm/boot/layout.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {
namespace {

struct Outcome {
    ChildExit exit;
    std::string errors;
    std::string console;
};

std::string content(const Fd& file) {
    std::array<char, 4096> text{};
    const ssize_t size = ::pread(file.ref().number(), text.data(), text.size(), 0);
    return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : "";
}

Fd empty_file() { return tiny::file_of({}); }

/// The real program as the shim starts it: kernel as 4, console as 5, a disk as 6.
Outcome run_program(const std::vector<std::string>& options, const Fd& kvm, const Fd& kernel) {
    const Fd errors = empty_file();
    const Fd console = empty_file();
    const Fd disk = tiny::file_of(std::vector<std::byte>(4096));
    SpawnOptions spawn_options;
    spawn_options.path = PEPITA_VMM;
    spawn_options.arguments = {"pepita-vmm"};
    spawn_options.arguments.insert(spawn_options.arguments.end(), options.begin(), options.end());
    spawn_options.fds = {{.fd = errors.ref(), .number = 2},
                         {.fd = kvm.ref(), .number = 3},
                         {.fd = kernel.ref(), .number = 4},
                         {.fd = console.ref(), .number = 5},
                         {.fd = disk.ref(), .number = 6}};
    auto child = spawn(std::move(spawn_options));
    EXPECT_TRUE(child.has_value()) << child.error().message();
    const ChildExit exit = child->reap();
    return {.exit = exit, .errors = content(errors), .console = content(console)};
}

class VmmProgram : public testing::Test {
protected:
    void SetUp() override {
        PEPITA_SKIP_UNDER_SANITIZERS();
        auto kvm = open_file("/dev/kvm", O_RDWR);
        if (!kvm) {
            GTEST_SKIP() << kvm.error().message();
        }
        kvm_ = std::move(*kvm);
    }
    static std::vector<std::string> options() {
        return {"--machine", "kvm=3,kernel=4,memory-mib=16,vcpus=2,console=5",
                "--device",  "disk,id=disk,fd=6",
                "--device",  "entropy,id=rng"};
    }
    Outcome run(const tiny::Code& code) { return run_program(options(), kvm_, tiny::kernel(code)); }
    static ChildExit status(ExitReason reason) {
        return {.by_signal = false, .value = static_cast<int>(reason)};
    }

    Fd kvm_;
};

TEST_F(VmmProgram, ExitStatusIsTheReason) {
    EXPECT_EQ(run(tiny::power_off()).exit, status(ExitReason::PowerOff));
    EXPECT_EQ(run(tiny::reset()).exit, status(ExitReason::Reset));
    EXPECT_EQ(run(tiny::triple_fault()).exit, status(ExitReason::TripleFault));
    EXPECT_EQ(run(tiny::panic()).exit, status(ExitReason::GuestPanic));
}

TEST_F(VmmProgram, IsSilentAboutAGuestThatEndsWell) {
    EXPECT_EQ(run(tiny::power_off()).errors, "");
}

TEST_F(VmmProgram, ConsoleHasWhatTheGuestWrites) {
    const tiny::Code code =
        tiny::write_port(layout::kSerialPort, 'h') + tiny::write_port(layout::kSerialPort, 'i');
    EXPECT_EQ(run(code + tiny::power_off()).console, "hi");
}

TEST_F(VmmProgram, GuestFindsItsStartInfoAndItsTables) {
    constexpr std::uint32_t kStartMagic = 0x336e'c578;
    constexpr std::uint32_t kRsdSpace = 0x2044'5352;  // "RSD "
    const auto start = static_cast<std::uint32_t>(std::to_underlying(layout::kStartInfo));
    const auto tables = static_cast<std::uint32_t>(std::to_underlying(layout::kAcpiTables));
    const tiny::Code good = tiny::if_equal(tables, kRsdSpace, tiny::power_off());
    EXPECT_EQ(run(tiny::if_equal(start, kStartMagic, good) + tiny::reset()).exit,
              status(ExitReason::PowerOff));
}

TEST_F(VmmProgram, HostBridgeAndDiskAnswerInConfigurationSpace) {
    constexpr auto kEcam = static_cast<std::uint32_t>(layout::kEcamStart);
    constexpr std::uint32_t kHostBridge = 0x0008'1b36;
    constexpr std::uint32_t kVirtioBlock = 0x1042'1af4;
    const tiny::Code disk = tiny::if_equal(kEcam + (1U << 15U), kVirtioBlock, tiny::power_off());
    EXPECT_EQ(run(tiny::if_equal(kEcam, kHostBridge, disk) + tiny::reset()).exit,
              status(ExitReason::PowerOff));
}

TEST_F(VmmProgram, JumpToTheBiosIsAReset) {
    // ljmp through real mode is more than a tiny guest can do; that the stub is there has to do.
    constexpr std::uint32_t kFirstWord = 0x02ba'06b0;  // mov al, 6; mov dx, 0x..02
    const auto vector = static_cast<std::uint32_t>(std::to_underlying(layout::kResetVector));
    EXPECT_EQ(run(tiny::if_equal(vector, kFirstWord, tiny::power_off()) + tiny::reset()).exit,
              status(ExitReason::PowerOff));
}

TEST_F(VmmProgram, WhatIsNoKernelIsSaid) {
    const std::string text(1000, 'x');
    const Fd file = tiny::file_of(std::as_bytes(std::span(text)));
    const Outcome outcome = run_program(options(), kvm_, file);
    EXPECT_EQ(outcome.exit, status(ExitReason::InternalError));
    EXPECT_EQ(outcome.errors,
              "level=error msg=\"machine not started\" "
              "error=\"load kernel: not a kernel: no ELF magic\"\n");
}

/// The end of a control socket that the program has the other of.
class ControlClient {
public:
    explicit ControlClient(Fd socket) : socket_(std::move(socket)) {}

    std::string request(std::string_view line, std::span<const FdRef> fds = {}) const {
        EXPECT_TRUE(send_some(socket_.ref(), std::as_bytes(std::span(line)), fds).has_value());
        pollfd readable = {.fd = socket_.ref().number(), .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&readable, 1, 20'000), 1) << line;
        std::array<char, kControlLineMax> reply{};
        const auto got = receive_some(socket_.ref(), std::as_writable_bytes(std::span(reply)));
        return got ? std::string(reply.data(), got->size) : got.error().message();
    }
    std::string attach(std::string_view line, const Fd& file) const {
        const FdRef fd = file.ref();
        return request(line, {&fd, 1});
    }

private:
    Fd socket_;
};

std::string one_line_of(const std::string& path, std::string_view start) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(start)) {
            return line;
        }
    }
    return "";
}

std::size_t entries_of(const std::string& directory) {
    const std::filesystem::directory_iterator entries(directory);
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

/// A disk that the kernel reads for us: it is not in memory.
Fd disk_file() {
    std::string name = "/var/tmp/pepita-disk-XXXXXX";
    Fd file(::mkostemp(name.data(), O_CLOEXEC));
    EXPECT_EQ(::unlink(name.c_str()), 0);
    EXPECT_EQ(::ftruncate(file.ref().number(), 1 << 20), 0);
    return file;
}

/// The program with a control socket, and a guest that runs on.
class ControlledVmm : public VmmProgram {
protected:
    void start(const tiny::Code& code) {
        auto ends = message_socket_pair();
        ASSERT_TRUE(ends.has_value());
        const Fd kernel = tiny::kernel(code);
        const Fd disk = tiny::file_of(std::vector<std::byte>(4096));
        SpawnOptions spawn_options;
        spawn_options.path = PEPITA_VMM;
        spawn_options.arguments = {"pepita-vmm", "--control", "7"};
        const std::vector<std::string> more = options();
        spawn_options.arguments.insert(spawn_options.arguments.end(), more.begin(), more.end());
        spawn_options.fds = {
            {.fd = errors_.ref(), .number = 2}, {.fd = kvm_.ref(), .number = 3},
            {.fd = kernel.ref(), .number = 4},  {.fd = console_.ref(), .number = 5},
            {.fd = disk.ref(), .number = 6},    {.fd = ends->second.ref(), .number = 7}};
        auto child = spawn(std::move(spawn_options));
        ASSERT_TRUE(child.has_value());
        child_ = std::move(*child);
        control_.emplace(std::move(ends->first));
    }
    std::string of_process(std::string_view name) const {
        return "/proc/" + std::to_string(child_->pid()) + "/" + std::string(name);
    }
    off_t written() const { return ::lseek(console_.ref().number(), 0, SEEK_END); }
    /// Any request does: what the loop had to do before it is done when the reply comes.
    void round_trips() const {
        for (int i = 0; i < 20; ++i) {
            EXPECT_EQ(control_->request("--detach none"), "error no device 'none'");
        }
    }

    Fd errors_ = empty_file();
    Fd console_ = empty_file();
    std::optional<Child> child_;
    std::optional<ControlClient> control_;
};

constexpr auto kSlot1 = static_cast<std::uint32_t>(layout::kEcamStart + (1U << 15U));
constexpr auto kSlot3 = static_cast<std::uint32_t>(layout::kEcamStart + (3U << 15U));
constexpr std::uint32_t kVirtioBlockId = 0x1042'1af4;

/// A disk of several files, the second of which is empty as a layer without files is.
std::vector<Fd> parts(std::size_t count) {
    std::vector<Fd> files;
    for (std::size_t i = 0; i < count; ++i) {
        files.push_back(tiny::file_of(std::vector<std::byte>(i == 1 ? 0 : 4096)));
    }
    return files;
}

std::string line_of(const std::vector<Fd>& files) {
    std::string line = "--device disk,id=image,read-only,fd=0";
    for (std::size_t i = 1; i < files.size(); ++i) {
        line += "+" + std::to_string(i);
    }
    return line;
}

std::vector<FdRef> refs(const std::vector<Fd>& files) {
    std::vector<FdRef> refs;
    refs.reserve(files.size());
    for (const Fd& file : files) {
        refs.push_back(file.ref());
    }
    return refs;
}

TEST_F(ControlledVmm, GuestFindsADiskThatIsAttached) {
    start(tiny::repeat(tiny::if_equal(kSlot3, kVirtioBlockId, tiny::power_off())));
    EXPECT_EQ(control_->attach("--device disk,id=data,fd=0", disk_file()), "ok 0000:00:03.0");
    EXPECT_EQ(child_->reap(), status(ExitReason::PowerOff)) << content(errors_);
}

TEST_F(ControlledVmm, GuestMissesADiskThatIsDetached) {
    start(tiny::repeat(tiny::if_equal(kSlot1, 0xffff'ffff, tiny::power_off())));
    EXPECT_EQ(control_->request("--detach disk"), "ok");
    EXPECT_EQ(child_->reap(), status(ExitReason::PowerOff)) << content(errors_);
}

TEST_F(ControlledVmm, RefusalsSayWhy) {
    start(tiny::repeat({}));
    EXPECT_EQ(control_->request("--frob"), "error unknown option '--frob'");
    EXPECT_EQ(control_->request("--device disk,id=data,fd=0"), "error descriptor 0 is not there");
    EXPECT_EQ(control_->attach("--device disk,id=disk,fd=0", disk_file()),
              "error disk 'disk': the id is used already");
    EXPECT_EQ(control_->attach("--device disk,id=data,fd=0", empty_file()),
              "error disk 'data': 0 bytes are no whole number of 512-byte sectors");
    EXPECT_EQ(control_->attach("--device entropy,id=more,vhost-user=0", disk_file()),
              "error 'vhost-user' is for devices without --machine");
    EXPECT_EQ(control_->request("--resize id=rng"), "error the size of 'rng' does not change");
    EXPECT_EQ(control_->request("--resume"), "error the machine is not paused");
    EXPECT_EQ(control_->request(std::string(kControlLineMax + 1, 'x')),
              "error the line is too long");
}

TEST_F(ControlledVmm, EachKindOfDiskIsAttachedBehindTheFilter) {
    start(tiny::repeat({}));
    const Fd direct = disk_file();
    const std::string path = "/proc/self/fd/" + std::to_string(direct.ref().number());
    const auto reopened = open_file(path.c_str(), O_RDWR | O_DIRECT);
    ASSERT_TRUE(reopened.has_value());
    EXPECT_EQ(control_->attach("--device disk,id=direct,fd=0", *reopened), "ok 0000:00:03.0");
    EXPECT_EQ(control_->attach("--device disk,id=memory,fd=0,read-only",
                               tiny::file_of(std::vector<std::byte>(4096))),
              "ok 0000:00:04.0");
    EXPECT_EQ(control_->attach("--device disk,id=store,fd=0,store=16", disk_file()),
              "ok 0000:00:05.0");
    const std::vector<Fd> files = parts(DiskConfig::kPartsMax);
    EXPECT_EQ(control_->request(line_of(files), refs(files)), "ok 0000:00:06.0");
    EXPECT_EQ(control_->request("--device entropy,id=more"), "ok 0000:00:07.0");
}

TEST_F(ControlledVmm, ADiskOfFilesThatCannotBeReadLeavesNothing) {
    start(tiny::repeat({}));
    round_trips();
    const std::size_t fds = entries_of(of_process("fd"));
    std::vector<Fd> files = parts(3);
    files[1] = tiny::file_of(std::vector<std::byte>(100));
    EXPECT_EQ(control_->request(line_of(files), refs(files)),
              "error disk 'image': 100 bytes are no whole number of 512-byte sectors");
    round_trips();  // the files are closed after the answer
    EXPECT_EQ(entries_of(of_process("fd")), fds);
}

TEST_F(ControlledVmm, DetachedDevicesLeaveNothing) {
    start(tiny::repeat({}));
    const auto cycle = [this](std::string_view line) {
        EXPECT_TRUE(control_->attach(line, disk_file()).starts_with("ok "));
        EXPECT_EQ(control_->request("--detach data"), "ok");
    };
    constexpr std::string_view file = "--device disk,id=data,fd=0";
    constexpr std::string_view store = "--device disk,id=data,fd=0,store=16";
    const auto cycle_image = [this, files = parts(9)] {
        EXPECT_TRUE(control_->request(line_of(files), refs(files)).starts_with("ok "));
        EXPECT_EQ(control_->request("--detach image"), "ok");
    };
    const auto cycle_all = [&] {
        cycle(file);
        cycle(store);
        cycle_image();
    };
    for (int i = 0; i < 20; ++i) {
        cycle_all();  // until the heap has found its size
    }
    const std::size_t fds = entries_of(of_process("fd"));
    const std::size_t threads = entries_of(of_process("task"));
    const std::string memory = one_line_of(of_process("status"), "VmData:");
    for (int i = 0; i < 20; ++i) {
        cycle_all();
    }
    EXPECT_EQ(entries_of(of_process("fd")), fds);
    EXPECT_EQ(entries_of(of_process("task")), threads);
    EXPECT_EQ(one_line_of(of_process("status"), "VmData:"), memory);
}

TEST_F(ControlledVmm, DescriptorsThatNoLineNamesAreClosed) {
    start(tiny::repeat({}));
    round_trips();
    const std::size_t fds = entries_of(of_process("fd"));
    EXPECT_EQ(control_->attach("--detach none", disk_file()), "error no device 'none'");
    EXPECT_EQ(control_->attach("--device disk,id=data,fd=1", disk_file()),
              "error descriptor 1 is not there");
    // The last one is closed after the answer.
    for (int turn = 0; turn < 500 && entries_of(of_process("fd")) != fds; ++turn) {
        (void)::poll(nullptr, 0, 10);
    }
    EXPECT_EQ(entries_of(of_process("fd")), fds);
}

TEST_F(ControlledVmm, APausedGuestExecutesNothingUntilItResumes) {
    start(tiny::repeat(tiny::write_port(layout::kSerialPort, 'x')));
    EXPECT_EQ(control_->request("--pause"), "ok");
    round_trips();
    const off_t before = written();
    round_trips();
    EXPECT_EQ(written(), before);
    EXPECT_EQ(control_->request("--pause"), "error the machine is paused already");
    EXPECT_EQ(control_->request("--resume"), "ok");
    while (written() == before) {
        round_trips();
    }
}

TEST_F(ControlledVmm, RunsOnWhenItsClientCloses) {
    start(tiny::repeat(tiny::if_equal(kSlot3, kVirtioBlockId, tiny::power_off())));
    // Sent, and closed before the reply is read.
    const Fd file = disk_file();
    EXPECT_EQ(control_->attach("--device disk,id=other,fd=0", file), "ok 0000:00:03.0");
    control_.reset();
    EXPECT_EQ(child_->reap(), status(ExitReason::PowerOff));
}

/// A program that serves one device to us, the front end.
class ServedDevice : public testing::Test {
protected:
    explicit ServedDevice(const std::string& more = "") {
        auto ends = socket_pair();
        auto control = message_socket_pair();
        EXPECT_TRUE(ends.has_value() && control.has_value());
        SpawnOptions options;
        options.path = PEPITA_VMM;
        options.arguments = {"pepita-vmm", "--device", "entropy,id=rng,vhost-user=3"};
        if (!more.empty()) {
            options.arguments.push_back(more.substr(0, more.find(' ')));
            options.arguments.push_back(more.substr(more.find(' ') + 1));
        }
        options.fds = {{.fd = errors_.ref(), .number = 2},
                       {.fd = ends->second.ref(), .number = 3},
                       {.fd = control->second.ref(), .number = 4}};
        auto child = spawn(std::move(options));
        EXPECT_TRUE(child.has_value());
        child_ = std::move(*child);
        front_end_ = std::move(ends->first);
        control_.emplace(std::move(control->first));
    }
    /// Whether a GET_FEATURES gets its reply.
    static bool answers(const Fd& front_end) {
        const std::array<std::uint32_t, 3> get_features = {1, 1, 0};  // request, version, size
        EXPECT_TRUE(send_some(front_end.ref(), std::as_bytes(std::span(get_features))).has_value());
        std::array<std::byte, 20> reply{};
        pollfd readable = {.fd = front_end.ref().number(), .events = POLLIN, .revents = 0};
        return ::poll(&readable, 1, 20'000) == 1 &&
               receive_some(front_end.ref(), reply).value().size == reply.size();
    }

    Fd errors_ = empty_file();
    Fd front_end_;
    std::optional<Child> child_;
    std::optional<ControlClient> control_;
};

TEST_F(ServedDevice, EndsWithItsFrontEnd) {
    front_end_ = Fd();
    EXPECT_EQ(child_->reap(), (ChildExit{.by_signal = false, .value = 13}));
    EXPECT_EQ(content(errors_), "");
}

TEST_F(ServedDevice, AnswersBehindItsFilter) { EXPECT_TRUE(answers(front_end_)); }

TEST_F(ServedDevice, SaysWhyItDropsAFrontEnd) {
    const std::array<std::uint32_t, 3> nonsense = {~0U, ~0U, ~0U};
    ASSERT_TRUE(send_some(front_end_.ref(), std::as_bytes(std::span(nonsense))).has_value());
    EXPECT_EQ(child_->reap(), (ChildExit{.by_signal = false, .value = 1}));
    EXPECT_NE(content(errors_).find("msg=\"front end dropped\" device=\"entropy 'rng'\""),
              std::string::npos)
        << content(errors_);
}

/// The same with a control socket.
class ServedControl : public ServedDevice {
protected:
    ServedControl() : ServedDevice("--control 4") {}
};

TEST_F(ServedControl, AttachedDeviceServesItsFrontEndUntilItIsDetached) {
    auto ends = socket_pair();
    ASSERT_TRUE(ends.has_value());
    const Fd disk = disk_file();
    const std::array fds{disk.ref(), ends->second.ref()};
    EXPECT_EQ(control_->request("--device disk,id=data,fd=0,vhost-user=1", fds), "ok");
    ends->second = Fd();
    EXPECT_TRUE(answers(ends->first));
    EXPECT_EQ(control_->request("--detach data"), "ok");
    pollfd closed = {.fd = ends->first.ref().number(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&closed, 1, 20'000), 1);
    std::array<std::byte, 1> byte{};
    EXPECT_EQ(receive_some(ends->first.ref(), byte).value().size, 0U);
    EXPECT_TRUE(answers(front_end_));
}

TEST_F(ServedControl, DevicesBehindADetachedOneGoOn) {
    auto first = socket_pair();
    auto second = socket_pair();
    ASSERT_TRUE(first.has_value() && second.has_value());
    EXPECT_EQ(control_->attach("--device entropy,id=first,vhost-user=0", first->second), "ok");
    EXPECT_EQ(control_->attach("--device entropy,id=second,vhost-user=0", second->second), "ok");
    EXPECT_TRUE(answers(first->first));
    EXPECT_EQ(control_->request("--detach first"), "ok");
    EXPECT_TRUE(answers(second->first));
}

TEST_F(ServedControl, HasNoVcpusToPause) {
    EXPECT_EQ(control_->request("--pause"), "error the vCPUs are not in this process");
    EXPECT_EQ(control_->request("--resume"), "error the vCPUs are not in this process");
    EXPECT_EQ(control_->request("--device entropy,id=more"),
              "error 'vhost-user' is missing, and there is no --machine");
}

TEST(VmmProgramUsage, BadCommandLineIsStatusTwo) {
    const Fd null = *open_file("/dev/null", O_RDWR);
    const Outcome outcome = run_program({"--frob", "1"}, null, null);
    EXPECT_EQ(outcome.exit, (ChildExit{.by_signal = false, .value = 2}));
    EXPECT_EQ(outcome.errors,
              "level=error msg=\"bad command line\" error=\"unknown option '--frob'\"\n");
}

TEST(VmmProgramUsage, KvmThatIsNoneIsSaid) {
    const Fd null = *open_file("/dev/null", O_RDWR);
    const Outcome outcome = run_program({"--machine", "kvm=3,kernel=4"}, null, null);
    EXPECT_EQ(outcome.exit, (ChildExit{.by_signal = false, .value = 1}));
    EXPECT_EQ(outcome.errors,
              "level=error msg=\"machine not started\" "
              "error=\"KVM_GET_API_VERSION: Inappropriate ioctl for device (ENOTTY)\"\n");
}

}  // namespace
}  // namespace pepita::vmm
