// Each system call that a filter allows is needed: without it, what threads do here kills them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/syscall_filter.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "storage/store_disk.h"
#include "test/support/driver.h"
#include "test/support/tiny_guest.h"
#include "test/support/vhost_user_front.h"
#include "test/support/vsock_guest.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/entropy/device.h"
#include "vmm/legacy/serial.h"
#include "vmm/machine.h"
#include "vmm/machine_config.h"
#include "vmm/net/device.h"
#include "vmm/sandbox.h"
#include "vmm/vsock/device.h"
#include "vmm/vsock/packet.h"

namespace pepita::vmm {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

constexpr std::uint16_t kLoopPort = 0x80;

Result<void> no_filter() { return {}; }

std::vector<SyscallRule> without(std::span<const SyscallRule> rules, std::size_t dropped) {
    std::vector<SyscallRule> rest(rules.begin(), rules.end());
    if (dropped < rest.size()) {
        rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(dropped));
    }
    return rest;
}

/// How a child ends that does `body`: "done", "killed" by the filter, or else.
std::string fate(const std::function<void()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
        (void)::prctl(PR_SET_DUMPABLE, 0);
        (void)::signal(SIGPIPE, SIG_IGN);
        body();
        ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status) == SIGSYS ? "killed" : "signal " + std::to_string(WTERMSIG(status));
    }
    return WEXITSTATUS(status) == 0 ? "done" : "status " + std::to_string(WEXITSTATUS(status));
}

/// Left to the loop.
class LoopPort final : public BusTarget {
public:
    explicit LoopPort(EventLoop& loop) : loop_(loop) {}
    void read(std::uint64_t, std::span<std::byte> into) override { store(into, 0); }
    Written write(std::uint64_t, std::span<const std::byte>) override { return Written::NeedsLoop; }
    void write_on_loop(std::uint64_t, std::span<const std::byte>) override { loop_.stop(); }

private:
    EventLoop& loop_;
};

/// A machine whose guest writes a port that is the loop's, and then runs for ever.
struct RunningMachine {
    RunningMachine(EventLoop& loop, Vcpu::Prepare prepare) : port(loop) {
        const Fd kvm = *open_file("/dev/kvm", O_RDWR);
        machine = *Machine::create(loop, {.kvm = kvm.ref(), .memory = 16_MiB});
        const tiny::Code code = tiny::write_port(kLoopPort, 1) + tiny::Code{{0xeb, 0xfe}};
        const auto into = *machine->memory().span_at(virtio::GuestAddress{tiny::kLoadAddress},
                                                     Bytes(code.bytes.size()));
        std::ranges::copy(std::as_bytes(std::span(code.bytes)), into.begin());
        CHECK(machine->set_entry(virtio::GuestAddress{tiny::kLoadAddress}, layout::kStartInfo)
                  .has_value());
        CHECK(machine->ports().add(kLoopPort, 1, port).has_value());
        CHECK(machine->start(prepare, [](ExitReason) {}).has_value());
    }

    LoopPort port;
    std::unique_ptr<Machine> machine;
};

// ---- the vCPU's ----

std::size_t dropped_from_vcpu = 0;  // Vcpu::Prepare carries nothing; set before its thread starts

Result<void> enter_vcpu_without_one() {
    return sandbox::enter(without(sandbox::kVcpu, dropped_from_vcpu));
}

void run_a_vcpu(std::size_t dropped) {
    dropped_from_vcpu = dropped;
    const auto loop = *EventLoop::create();
    RunningMachine running(*loop, enter_vcpu_without_one);
    running.machine->resume();
    CHECK(loop->run().has_value());
    for (int i = 0; i < 20; ++i) {  // long enough for a vCPU to wait in its sleep
        running.machine->pause();
        CHECK(loop->run_once(1ms).has_value());
        running.machine->resume();
    }
    running.machine->stop();
}

class SandboxNeeds : public testing::Test {
protected:
    void SetUp() override {
        const auto kvm = open_file("/dev/kvm", O_RDWR);
        if (!kvm) {
            GTEST_SKIP() << kvm.error().message();
        }
    }
};

TEST_F(SandboxNeeds, X14_EveryCallOfAVcpu) {
    ASSERT_EQ(fate([] { run_a_vcpu(sandbox::kVcpu.size()); }), "done");
    for (std::size_t i = 0; i < sandbox::kVcpu.size(); ++i) {
        EXPECT_EQ(fate([i] { run_a_vcpu(i); }), "killed") << "call " << sandbox::kVcpu.at(i).number;
    }
}

// ---- the device loop's ----

/// All that there is for a device loop to do. Made before the filter, used behind it.
class Everything {
public:
    Everything(std::string directory, sandbox::Duty duty) : directory_(std::move(directory)) {
        if (duty == sandbox::Duty::Machine) {
            running_ = std::make_unique<RunningMachine>(*loop_, no_filter);
        }
        guest_.start();
        client_ = *connect_unix(path());
        say(client_, "CONNECT 1000\n");
    }

    void use(sandbox::Duty duty) {
        if (duty == sandbox::Duty::Machine) {
            use_machine();
        } else {
            use_front_end();
        }
        use_vsock();
        use_disks();
        use_entropy();
        use_net();
        use_console();
        use_memory();
        log::error("the last", {});
    }

private:
    std::string path() const { return directory_ + "/v.sock"; }

    static Fd open_disk(const std::string& path) {
        Fd file = *open_file(path.c_str(), O_RDWR | O_CREAT);
        CHECK(::ftruncate(file.ref().number(), 1U << 20U) == 0);
        return file;
    }
    static Fd memory_disk() {
        Fd file(::memfd_create("disk", MFD_CLOEXEC));
        CHECK(::ftruncate(file.ref().number(), 1U << 20U) == 0);
        return file;
    }
    static std::unique_ptr<net::NetDevice> make_net(EventLoop& loop, Fd tap) {
        std::vector<Fd> taps;
        taps.push_back(std::move(tap));
        return *net::NetDevice::create(loop, std::move(taps), {});
    }
    static void say(const Fd& socket, std::string_view text) {
        CHECK(send_some(socket.ref(), std::as_bytes(std::span(text))).has_value());
    }
    void run_until(const std::function<bool()>& done) {
        const auto limit = EventLoop::Clock::now() + 20s;
        while (!done()) {
            CHECK(EventLoop::Clock::now() < limit);
            CHECK(loop_->run_once(1ms).has_value());
        }
    }
    /// The next message with that operation; others are passed over.
    test::VsockMessage message(vsock::VsockOp op) {
        std::optional<test::VsockMessage> message;
        run_until([&] {
            message = guest_.receive();
            return message && message->op == op;
        });
        return *message;
    }

    void use_machine() {
        Machine& machine = *running_->machine;
        CHECK(machine.add(virtio::GuestAddress{0xd000'0000}, kick_.ref()).has_value());
        machine.send(layout::kMsiAddressStart, 0x40);
        machine.resume();
        machine.pause();
    }
    void use_vsock() {
        const vsock::Ports ports = message(vsock::VsockOp::Request).ports;
        const auto send = [&](vsock::VsockOp op, vsock::Ports of, std::string_view payload = {}) {
            vsock::Packet packet{.ports = of, .op = op, .buf_alloc = 65536};
            packet.flags = op == vsock::VsockOp::Shutdown ? abi::kVsockShutdownSend : 0;
            guest_.send(packet, payload);
        };
        send(vsock::VsockOp::Response, ports);
        say(client_, "from the host");
        CHECK(message(vsock::VsockOp::Rw).payload == "from the host");
        send(vsock::VsockOp::Rw, ports, "from the guest");
        send(vsock::VsockOp::Shutdown, ports);
        client_ = Fd();
        (void)message(vsock::VsockOp::Rst);
        // And one that the guest begins.
        const vsock::Ports other{.host = 52, .guest = 1001};
        send(vsock::VsockOp::Request, other);
        (void)message(vsock::VsockOp::Response);
    }
    void use_disks() {
        std::array<std::byte, 4096> page{};
        const std::array<storage::BlockDevice::Segment, 1> bytes{page};
        for (storage::BlockDevice* disk : {file_disk_.get(), memory_disk_.get(), store_.get()}) {
            page.fill(std::byte{7});
            disk->write(Sectors(0), bytes, 0);
            disk->drain();
            disk->read(Sectors(0), bytes, 1);
            disk->drain();
        }
        constexpr std::uint64_t kPages = 128;  // enough for the store to give some back
        for (std::uint64_t i = 0; i < kPages; ++i) {
            std::ranges::copy(std::as_bytes(std::span(&i, 1)), page.begin());
            std::ranges::generate(std::span(page).subspan(8),
                                  [&, x = i] mutable { return std::byte(x = x * 48271 + 11); });
            store_->write(Sectors(i * 8), bytes, i);
            store_->drain();
        }
        store_->discard(Sectors(0), Sectors(kPages * 8), 1);
        store_->drain();
    }
    void use_front_end() {
        using enum abi::VhostUserRequest;
        front_.send(SetFeatures, test::kRingFeatures | abi::kVirtioFVersion1);
        front_.share(ram_);
        const std::array kick{kick_.ref()};
        const std::array call{call_.ref()};
        front_.send(SetVringNum,
                    abi::VhostUserVringState{.index = 0, .num = served_queue_.geometry().size});
        front_.send(SetVringBase, abi::VhostUserVringState{.index = 0, .num = 0});
        front_.send(SetVringAddr, test::VhostUserFront::addresses_of(served_queue_, 0));
        front_.send(SetVringKick, std::uint64_t{0}, kick);
        front_.send(SetVringCall, std::uint64_t{0}, call);
        front_.send(SetVringEnable, abi::VhostUserVringState{.index = 0, .num = 1});
        const auto at = ram_.allocate(64);
        served_queue_.add({{.at = at, .length = 64, .direction = test::Direction::FromDevice}});
        signal_eventfd(kick_.ref());
        run_until([this] { return served_queue_.collect().has_value(); });
        front_.hang_up();
        run_until([this] { return is_front_end_gone_; });
    }
    void use_entropy() {
        const auto at = ram_.allocate(64);
        random_queue_.add({{.at = at, .length = 64, .direction = test::Direction::FromDevice}});
        random_.start(session_);
        CHECK(random_.start_queue(0, random_queue_.setup()).has_value());
        run_until([this] { return random_queue_.collect().has_value(); });
        random_.reset();
    }
    void use_net() {
        net_.start(session_);
        CHECK(net_.start_queue(0, net_receive_.setup()).has_value());
        CHECK(net_.start_queue(1, net_transmit_.setup()).has_value());
        const auto at = ram_.allocate(128);
        net_transmit_.add({{.at = at, .length = 64}});
        net_.kick(1);
        net_receive_.add({{.at = at, .length = 128, .direction = test::Direction::FromDevice}});
        net_.kick(0);
        say(wire_.second, "a frame and a header");
        run_until([this] { return net_receive_.collect().has_value(); });
        net_.reset();
    }
    void use_console() {
        CHECK(serial_->write(0, std::array{std::byte{'x'}}) == Written::Done);
        CHECK(loop_->run_once(1s).has_value());
        serial_.reset();
    }
    void use_memory() {
        large_ = std::make_unique_for_overwrite<std::byte[]>(64U << 20U);  // too much for a heap
        large_.reset();
        std::vector<std::unique_ptr<std::array<std::byte, 65'536>>> pieces;
        while (pieces.size() < 256) {
            pieces.push_back(std::make_unique<std::array<std::byte, 65'536>>());
        }
    }

    std::string directory_;
    std::unique_ptr<std::byte[]> large_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<RunningMachine> running_;
    Fd host_listener_ = *listen_unix(path() + "_52");
    std::unique_ptr<vsock::VsockDevice> vsock_ =
        *vsock::VsockDevice::create(*loop_, *listen_unix(path()),
                                    {.guest_cid = test::VsockGuest::kCid, .guest_prefix = path()});
    test::VsockGuest guest_{*vsock_};
    Fd client_;
    std::unique_ptr<storage::BlockDevice> file_disk_ = *storage::FileDevice::create(
        open_disk(directory_ + "/disk"), storage::Access::ReadWrite, *loop_);
    std::unique_ptr<storage::BlockDevice> memory_disk_ =
        *storage::FileDevice::create(memory_disk(), storage::Access::ReadWrite, *loop_);
    std::unique_ptr<storage::BlockDevice> store_ =
        *storage::make_store_disk(16_MiB, Fd(::memfd_create("base", MFD_CLOEXEC)));
    test::GuestRam ram_;
    Entropy served_{*loop_};
    bool is_front_end_gone_ = false;
    std::pair<Fd, Fd> ends_ = *socket_pair();
    std::unique_ptr<virtio::VhostUserTransport> transport_ =
        *virtio::VhostUserTransport::create(*loop_, std::move(ends_.first), served_,
                                            [this](const Error&) { is_front_end_gone_ = true; });
    test::VhostUserFront front_{*loop_, std::move(ends_.second)};
    test::QueueDriver served_queue_{ram_};
    Fd kick_ = *create_eventfd();
    Fd call_ = *create_eventfd();
    Entropy random_{*loop_};
    test::QueueDriver random_queue_{ram_};
    test::CountingNotifier notifier_;
    virtio::Session session_{
        .memory = ram_.memory(), .features = test::kRingFeatures, .notifier = notifier_};
    std::pair<Fd, Fd> wire_ = *message_socket_pair();
    std::unique_ptr<net::NetDevice> net_made_ = make_net(*loop_, std::move(wire_.first));
    net::NetDevice& net_ = *net_made_;
    test::QueueDriver net_receive_{ram_};
    test::QueueDriver net_transmit_{ram_};
    Fd console_ = memory_disk();
    std::unique_ptr<Serial> serial_ = *Serial::create(*loop_, console_.ref(), [](Ioapic::Level) {});
};

void run_a_device_loop(const std::string& directory, sandbox::Duty duty, std::size_t dropped) {
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)::dup2(null, STDERR_FILENO);  // for log::error
    auto everything = std::make_unique<Everything>(directory, duty);
    std::vector<SyscallRule> rules = without(sandbox::device_loop_rules(duty), dropped);
    rules.insert(rules.end(), sandbox::kAttach.begin(), sandbox::kAttach.end());
    CHECK(sandbox::enter(rules).has_value());
    everything->use(duty);
    everything.reset();
}

void expect_each_call_of(sandbox::Duty duty) {
    // On a file system of a disk: one in memory needs no io_uring.
    std::string pattern = std::string(PEPITA_VMM) + "-needs-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    const auto fate_without = [&](std::size_t dropped) {
        const std::string directory = pattern + "/" + std::to_string(dropped);
        std::filesystem::create_directory(directory);
        return fate([&] { run_a_device_loop(directory, duty, dropped); });
    };
    const std::vector<SyscallRule> rules = sandbox::device_loop_rules(duty);
    EXPECT_EQ(fate_without(rules.size()), "done");
    for (std::size_t i = 0; i < rules.size(); ++i) {
        // Not here: a host without a clock in user space; memory that its owner cuts off, which
        // lent_mapping_test has; a virtio-fs device with a server that serves.
        if (rules[i].number != SYS_clock_gettime && rules[i].number != SYS_rt_sigreturn &&
            rules[i].number != SYS_preadv2) {
            EXPECT_EQ(fate_without(i), "killed") << "call " << rules[i].number;
        }
    }
    std::filesystem::remove_all(pattern);
}

TEST_F(SandboxNeeds, X14_EveryCallOfTheDeviceLoopOfAMachine) {
    expect_each_call_of(sandbox::Duty::Machine);
}

TEST_F(SandboxNeeds, X14_EveryCallOfTheDeviceLoopOfFrontEnds) {
    expect_each_call_of(sandbox::Duty::FrontEnds);
}

TEST(SandboxSize, X14_IsNoLargerThanItsPromise) {
    EXPECT_LE(sandbox::kVcpu.size(), 10U);
    EXPECT_LE(sandbox::device_loop_rules(sandbox::Duty::Machine).size(), 33U);
    EXPECT_LE(sandbox::device_loop_rules(sandbox::Duty::FrontEnds).size(), 31U);
}

}  // namespace
}  // namespace pepita::vmm
