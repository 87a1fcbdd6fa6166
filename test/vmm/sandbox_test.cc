#include "vmm/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "storage/block_device.h"
#include "storage/store_disk.h"
#include "test/support/sanitizer.h"

namespace pepita::vmm {
namespace {

using Enter = Result<void> (*)();

/// What becomes of a child that does `body` behind the filter: "done", or the signal.
template <typename Body>
std::string fate(Enter enter, Body body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (!enter().has_value()) {
            ::_exit(1);
        }
        body();
        ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status) == SIGSYS ? "killed" : "another signal";
    }
    return WEXITSTATUS(status) == 0 ? "done" : "no filter";
}

template <typename Body>
std::string in_vcpu(Body body) {
    return fate(sandbox::enter_vcpu, [&body] {
        body();
        (void)::syscall(SYS_exit, 0);  // as a thread ends
    });
}

template <typename Body>
std::string in_device_loop(Body body) {
    return fate([] { return sandbox::enter_device_loop(sandbox::Duty::Machine); }, body);
}

TEST(VcpuSandbox, LetsTheGuestRun) {
    PEPITA_SKIP_UNDER_SANITIZERS();
    EXPECT_EQ(in_vcpu([] { (void)::ioctl(-1, abi::kvm::kRun, 0); }), "done");
}

TEST(VcpuSandbox, HasTenCallsAtMost) { EXPECT_LE(sandbox::kVcpu.size(), 10U); }

TEST(VcpuSandbox, KillsEveryOtherIoctl) {
    EXPECT_EQ(in_vcpu([] { (void)::ioctl(-1, abi::kvm::kCreateVm, 0); }), "killed");
}

TEST(VcpuSandbox, KillsWhatOpensReadsOrMaps) {
    EXPECT_EQ(in_vcpu([] { (void)::open("/etc/passwd", O_RDONLY); }), "killed");
    EXPECT_EQ(in_vcpu([] {
                  char byte = 0;
                  (void)!::read(0, &byte, 1);
              }),
              "killed");
    EXPECT_EQ(
        in_vcpu([] { (void)::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }),
        "killed");
}

TEST(DeviceLoopSandbox, KillsWhatLeavesTheProcess) {
    EXPECT_EQ(in_device_loop([] { (void)::open("/etc/passwd", O_RDONLY); }), "killed");
    EXPECT_EQ(in_device_loop([] { (void)::execl("/bin/true", "true", nullptr); }), "killed");
    EXPECT_EQ(in_device_loop([] { (void)::syscall(SYS_fork); }), "killed");
    EXPECT_EQ(in_device_loop([] { (void)::syscall(SYS_ptrace, 0, 0, 0, 0); }), "killed");
}

TEST(DeviceLoopSandbox, SocketsAreUnixAlone) {
    PEPITA_SKIP_UNDER_SANITIZERS();
    EXPECT_EQ(in_device_loop([] { (void)::socket(AF_UNIX, SOCK_STREAM, 0); }), "done");
    EXPECT_EQ(in_device_loop([] { (void)::socket(AF_INET, SOCK_STREAM, 0); }), "killed");
    EXPECT_EQ(in_device_loop([] { (void)::socket(AF_NETLINK, SOCK_RAW, 0); }), "killed");
}

TEST(DeviceLoopSandbox, MemoryIsNeverExecutable) {
    PEPITA_SKIP_UNDER_SANITIZERS();
    EXPECT_EQ(in_device_loop([] {
                  (void)::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                               -1, 0);
              }),
              "done");
    EXPECT_EQ(in_device_loop([] {
                  (void)::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                               -1, 0);
              }),
              "killed");
    EXPECT_EQ(in_device_loop([] { (void)::mprotect(nullptr, 4096, PROT_EXEC); }), "killed");
}

// All that a store does from its first page to where it packs frames anew and gives them back.
TEST(DeviceLoopSandbox, AStoreTakesAndGivesMemory) {
    PEPITA_SKIP_UNDER_SANITIZERS();
    const auto disk = *storage::make_store_disk(16_MiB, Fd(::memfd_create("base", MFD_CLOEXEC)));
    EXPECT_EQ(in_device_loop([&disk] {
                  std::array<std::byte, 4096> page{};
                  const std::array<storage::BlockDevice::Segment, 1> bytes{page};
                  for (std::uint64_t round = 0; round < 4; ++round) {
                      for (std::uint64_t i = 0; i < 4096; ++i) {
                          // Raw, packed, zeros, raw again.
                          (void)::getrandom(page.data(), round == 2 ? 0 : 4096UL >> (round % 3), 0);
                          disk->write(Sectors(i * 8), bytes, i);
                          disk->drain();
                          page.fill(std::byte{0});
                      }
                  }
                  disk->discard(Sectors(0), Sectors(4096 * 8), 1);
                  disk->drain();
              }),
              "done");
}

TEST(DeviceLoopSandbox, IoctlsAreMessagesAndKicks) {
    PEPITA_SKIP_UNDER_SANITIZERS();
    EXPECT_EQ(in_device_loop([] { (void)::ioctl(-1, abi::kvm::kSignalMsi, 0); }), "done");
    EXPECT_EQ(in_device_loop([] { (void)::ioctl(-1, abi::kvm::kIoEventFd, 0); }), "done");
    EXPECT_EQ(in_device_loop([] { (void)::ioctl(-1, abi::kvm::kRun, 0); }), "killed");
    EXPECT_EQ(in_device_loop([] { (void)::ioctl(-1, abi::kvm::kSetUserMemoryRegion, 0); }),
              "killed");
    // The kernel looks at 32 bits of the number; the filter has to look at all of them.
    EXPECT_EQ(in_device_loop(
                  [] { (void)::syscall(SYS_ioctl, -1, abi::kvm::kSignalMsi | (1UL << 32U), 0); }),
              "killed");
}

}  // namespace
}  // namespace pepita::vmm
