#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/poll.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
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
        return to_arguments({.kvm = KvmConfig{.kvm = InheritedFd{3},
                                              .kernel = InheritedFd{4},
                                              .initrd = {},
                                              .command_line = "",
                                              .memory = 16_MiB,
                                              .vcpus = 2,
                                              .console = InheritedFd{5}},
                             .disks = {{.file = InheritedFd{6},
                                        .access = Access::ReadWrite,
                                        .serial = "disk",
                                        .vhost_user = {},
                                        .store = {}}},
                             .vsock = {},
                             .entropy = EntropyConfig{}});
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

/// A program that serves one device to us, the front end.
class ServedDevice : public testing::Test {
protected:
    ServedDevice() {
        auto ends = socket_pair();
        EXPECT_TRUE(ends.has_value());
        SpawnOptions options;
        options.path = PEPITA_VMM;
        options.arguments = {"pepita-vmm", "--entropy", "vhost-user=3"};
        options.fds = {{.fd = errors_.ref(), .number = 2}, {.fd = ends->second.ref(), .number = 3}};
        auto child = spawn(std::move(options));
        EXPECT_TRUE(child.has_value());
        child_ = std::move(*child);
        front_end_ = std::move(ends->first);
    }

    Fd errors_ = empty_file();
    Fd front_end_;
    std::optional<Child> child_;
};

TEST_F(ServedDevice, EndsWithItsFrontEnd) {
    front_end_ = Fd();
    EXPECT_EQ(child_->reap(), (ChildExit{.by_signal = false, .value = 13}));
    EXPECT_EQ(content(errors_), "");
}

TEST_F(ServedDevice, AnswersBehindItsFilter) {
    const std::array<std::uint32_t, 3> get_features = {1, 1, 0};  // request, version, size
    ASSERT_TRUE(send_some(front_end_.ref(), std::as_bytes(std::span(get_features))).has_value());
    std::array<std::byte, 20> reply{};
    pollfd readable = {.fd = front_end_.ref().number(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&readable, 1, 20'000), 1);
    EXPECT_EQ(receive_some(front_end_.ref(), reply).value().size, reply.size());
}

TEST_F(ServedDevice, SaysWhyItDropsAFrontEnd) {
    const std::array<std::uint32_t, 3> nonsense = {~0U, ~0U, ~0U};
    ASSERT_TRUE(send_some(front_end_.ref(), std::as_bytes(std::span(nonsense))).has_value());
    EXPECT_EQ(child_->reap(), (ChildExit{.by_signal = false, .value = 1}));
    EXPECT_NE(content(errors_).find("msg=\"front end dropped\" device=entropy"), std::string::npos)
        << content(errors_);
}

TEST(VmmProgramUsage, BadCommandLineIsStatusTwo) {
    const Fd null = *open_file("/dev/null", O_RDWR);
    const Outcome outcome = run_program({"--frob", "1"}, null, null);
    EXPECT_EQ(outcome.exit, (ChildExit{.by_signal = false, .value = 2}));
    EXPECT_EQ(outcome.errors,
              "level=error msg=\"bad command line\" error=\"--frob: unknown option\"\n");
}

TEST(VmmProgramUsage, KvmThatIsNoneIsSaid) {
    const Fd null = *open_file("/dev/null", O_RDWR);
    const Outcome outcome = run_program({"--kvm", "3", "--kernel", "4"}, null, null);
    EXPECT_EQ(outcome.exit, (ChildExit{.by_signal = false, .value = 1}));
    EXPECT_EQ(outcome.errors,
              "level=error msg=\"machine not started\" "
              "error=\"KVM_GET_API_VERSION: Inappropriate ioctl for device (ENOTTY)\"\n");
}

}  // namespace
}  // namespace pepita::vmm
