#include "vmm/machine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/memory_file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/tiny_guest.h"
#include "vmm/boot/layout.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/legacy/reset.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

/// Calls back on the loop with each byte that the guest writes.
class TestPort final : public BusTarget {
public:
    explicit TestPort(std::move_only_function<void(std::uint8_t)> on_write)
        : on_write_(std::move(on_write)) {}
    void read(std::uint64_t, std::span<std::byte> into) override { store(into, 0x5a); }
    Written write(std::uint64_t, std::span<const std::byte>) override { return Written::NeedsLoop; }
    void write_on_loop(std::uint64_t, std::span<const std::byte> from) override {
        on_write_(static_cast<std::uint8_t>(load(from)));
    }

private:
    std::move_only_function<void(std::uint8_t)> on_write_;
};

/// Remembers which thread did what. Bytes from 0x80 on are left to the loop.
class ThreadPort final : public BusTarget {
public:
    void read(std::uint64_t, std::span<std::byte> into) override {
        store(into, 0x5a);
        reader = ::pthread_self();
    }
    Written write(std::uint64_t, std::span<const std::byte> from) override {
        if (load(from) >= 0x80) {
            return Written::NeedsLoop;
        }
        writer = ::pthread_self();
        written.push_back(static_cast<std::uint8_t>(load(from)));
        return Written::Done;
    }
    void write_on_loop(std::uint64_t, std::span<const std::byte> from) override {
        finisher = ::pthread_self();
        written.push_back(static_cast<std::uint8_t>(load(from)));
    }

    pthread_t reader = 0;
    pthread_t writer = 0;
    pthread_t finisher = 0;
    std::vector<std::uint8_t> written;
};

Result<void> nothing() { return {}; }

class MachineTest : public testing::Test {
protected:
    static constexpr std::uint16_t kTestPort = 0x80;

    void SetUp() override {
        auto kvm = open_file("/dev/kvm", O_RDWR);
        if (!kvm) {
            GTEST_SKIP() << kvm.error().message();
        }
        kvm_ = std::move(*kvm);
        loop_ = *EventLoop::create();
    }

    void TearDown() override {
        if (machine_) {
            machine_->stop();
        }
    }

    void make(std::uint32_t vcpus, const tiny::Code& code) {
        auto machine =
            Machine::create(*loop_, {.kvm = kvm_.ref(), .memory = 16_MiB, .vcpus = vcpus});
        ASSERT_TRUE(machine.has_value()) << machine.error().message();
        machine_ = std::move(*machine);
        put(tiny::kLoadAddress, code);
        ASSERT_TRUE(
            machine_->set_entry(virtio::GuestAddress{tiny::kLoadAddress}, layout::kStartInfo));
        ASSERT_TRUE(ends_.attach(machine_->ports()));
    }

    void put(std::uint32_t at, const tiny::Code& code) {
        const auto into =
            machine_->memory().span_at(virtio::GuestAddress{at}, Bytes(code.bytes.size()));
        ASSERT_TRUE(into.has_value());
        std::ranges::copy(std::as_bytes(std::span(code.bytes)), into->begin());
    }

    /// Runs the guest to its end; nothing where it does not come within 20 s.
    std::optional<ExitReason> run() {
        std::optional<ExitReason> reason;
        const auto started = machine_->start(nothing, [&](ExitReason why) {
            reason = why;
            loop_->stop();
        });
        EXPECT_TRUE(started.has_value());
        const auto deadline = loop_->after(20s, [this] { loop_->stop(); });
        machine_->resume();
        EXPECT_TRUE(loop_->run().has_value());
        return reason;
    }

    Fd kvm_;
    std::unique_ptr<EventLoop> loop_;
    std::unique_ptr<Machine> machine_;
    EndPorts ends_{[this](ExitReason reason) { machine_->end(reason); }};
};

TEST_F(MachineTest, PowerOffThroughTheSleepRegister) {
    make(1, tiny::power_off() + tiny::halt());
    EXPECT_EQ(run(), ExitReason::PowerOff);
}

TEST_F(MachineTest, ResetThroughTheResetRegister) {
    make(1, tiny::reset() + tiny::halt());
    EXPECT_EQ(run(), ExitReason::Reset);
}

TEST_F(MachineTest, ResetThroughTheKeyboardController) {
    make(1, tiny::keyboard_reset() + tiny::halt());
    EXPECT_EQ(run(), ExitReason::Reset);
}

TEST_F(MachineTest, PanicThroughThePanicDevice) {
    make(1, tiny::panic() + tiny::halt());
    EXPECT_EQ(run(), ExitReason::GuestPanic);
}

TEST_F(MachineTest, TripleFaultEndsIt) {
    make(1, tiny::triple_fault());
    EXPECT_EQ(run(), ExitReason::TripleFault);
}

TEST_F(MachineTest, MemoryHoldsWhatIsStoredUpToItsLastWord) {
    constexpr std::uint32_t kLastWord = (16U << 20U) - 4;
    make(1, tiny::store(kLastWord, 0x12345678) +
                tiny::if_equal(kLastWord, 0x12345678, tiny::power_off()) + tiny::reset());
    EXPECT_EQ(run(), ExitReason::PowerOff);
    EXPECT_EQ(machine_->memory().read<std::uint32_t>(virtio::GuestAddress{kLastWord}).value(),
              0x12345678U);
}

TEST_F(MachineTest, BeyondMemoryReadsOnesAndLosesWrites) {
    constexpr std::uint32_t kBeyond = 16U << 20U;
    make(1, tiny::store(kBeyond, 0x12345678) +
                tiny::if_equal(kBeyond, 0xffffffff, tiny::power_off()) + tiny::reset());
    EXPECT_EQ(run(), ExitReason::PowerOff);
}

TEST_F(MachineTest, DeviceAnswersAtItsAddress) {
    constexpr std::uint32_t kDevice = 0xd000'0000;
    make(1, tiny::store(kDevice, 0x77) + tiny::if_equal(kDevice, 0x5a, tiny::power_off()) +
                tiny::reset());
    std::uint8_t written = 0;
    TestPort device([&](std::uint8_t value) { written = value; });
    ASSERT_TRUE(machine_->mmio().add(kDevice, 4, device));
    EXPECT_EQ(run(), ExitReason::PowerOff);
    EXPECT_EQ(written, 0x77);
}

TEST_F(MachineTest, ExitsAreAnsweredOnTheVcpusThreadButWhatNeedsTheLoop) {
    constexpr std::uint32_t kDevice = 0xd000'0000;
    make(1, tiny::store(kDevice, 1) + tiny::write_port(kTestPort, 2) + tiny::store(kDevice, 0x80) +
                tiny::if_equal(kDevice, 0x5a, tiny::power_off()) + tiny::reset());
    ThreadPort memory;
    ThreadPort port;
    ASSERT_TRUE(machine_->mmio().add(kDevice, 4, memory));
    ASSERT_TRUE(machine_->ports().add(kTestPort, 1, port));
    EXPECT_EQ(run(), ExitReason::PowerOff);
    EXPECT_EQ(memory.written, (std::vector<std::uint8_t>{1, 0x80}));
    EXPECT_EQ(port.written, std::vector<std::uint8_t>{2});
    EXPECT_NE(memory.reader, ::pthread_self());
    EXPECT_EQ(memory.reader, memory.writer);
    EXPECT_EQ(memory.reader, port.writer);
    EXPECT_EQ(memory.finisher, ::pthread_self());
}

TEST_F(MachineTest, StringOfBytesKeepsItsOrderAcrossThreads) {
    constexpr std::uint32_t kString = 0x120000;
    const tiny::Code bytes{{1, 2, 0x80, 3, 0x81, 0x82, 4}};
    make(1, tiny::Code{{0xbe, 0x00, 0x00, 0x12, 0x00}} +        // mov esi, kString
                tiny::Code{{0xb9, 0x07, 0x00, 0x00, 0x00}} +    // mov ecx, 7
                tiny::Code{{0x66, 0xba, kTestPort, 0x00}} +     // mov dx, kTestPort
                tiny::Code{{0xf3, 0x6e}} + tiny::power_off());  // rep outsb
    put(kString, bytes);
    ThreadPort port;
    ASSERT_TRUE(machine_->ports().add(kTestPort, 1, port));
    EXPECT_EQ(run(), ExitReason::PowerOff);
    EXPECT_EQ(port.written, bytes.bytes);
}

TEST_F(MachineTest, KickComesAsAnEventAndNotAsAnExit) {
    constexpr std::uint32_t kDoorbell = 0xd000'0000;
    make(1, tiny::store(kDoorbell, 1) + tiny::power_off());
    bool has_exited = false;
    TestPort device([&](std::uint8_t) { has_exited = true; });
    ASSERT_TRUE(machine_->mmio().add(kDoorbell, 4, device));
    const Fd kicked = *create_eventfd();
    ASSERT_TRUE(machine_->add(virtio::GuestAddress{kDoorbell}, kicked.ref()).has_value());
    EXPECT_EQ(machine_->add(virtio::GuestAddress{kDoorbell}, kicked.ref()).error().code(),
              Code::AlreadyExists);
    EXPECT_EQ(run(), ExitReason::PowerOff);
    EXPECT_EQ(drain_eventfd(kicked.ref()), 1U);
    EXPECT_FALSE(has_exited);
}

// What an interrupt needs: a GDT for the handler's CS, an IDT with vector 0x40, a local APIC that
// is on. The tables lie behind the code, at fixed places.
constexpr std::uint32_t kTables = 0x110000;
constexpr std::uint32_t kHandler = 0x111000;

tiny::Code interrupt_tables() {
    constexpr std::uint32_t kIdt = kTables + 0x100;
    tiny::Code tables{.bytes = std::vector<std::uint8_t>(0x100 + (0x41 * 8))};
    const auto put = [&tables](std::size_t at, std::initializer_list<std::uint8_t> bytes) {
        std::ranges::copy(bytes, tables.bytes.begin() + static_cast<std::ptrdiff_t>(at));
    };
    put(0x08, {0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0});             // flat code, selector 8
    put(0x10, {0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0});             // flat data
    put(0x40, {0x17, 0, kTables & 0xff, 0, kTables >> 16U, 0});  // GDTR
    put(0x48, {0x07, 0x02, kIdt & 0xff, (kIdt >> 8U) & 0xff, kIdt >> 16U, 0});  // IDTR
    put(0x100 + (0x40 * 8),
        {kHandler & 0xff, (kHandler >> 8U) & 0xff, 8, 0, 0, 0x8e, kHandler >> 16U, 0});
    return tables;
}

tiny::Code wait_for_interrupt() {
    const tiny::Code lgdt{{0x0f, 0x01, 0x15, 0x40, 0x00, 0x11, 0x00}};  // [kTables + 0x40]
    const tiny::Code lidt{{0x0f, 0x01, 0x1d, 0x48, 0x00, 0x11, 0x00}};  // [kTables + 0x48]
    const tiny::Code stack{{0xbc, 0x00, 0x00, 0x12, 0x00}};             // mov esp, 0x120000
    const tiny::Code apic_on = tiny::store(0xfee000f0, 0x1ff);
    const tiny::Code sti{{0xfb}};
    return lgdt + lidt + stack + apic_on + tiny::write_port(0x80, 1) + sti + tiny::halt();
}

TEST_F(MachineTest, MessageWakesAHaltedGuest) {
    make(1, wait_for_interrupt());
    put(kTables, interrupt_tables());
    put(kHandler, tiny::power_off() + tiny::halt());
    EventLoop::Timer later;
    TestPort ready([&](std::uint8_t) {
        // Not at once: by then the guest has gone to sleep.
        later = loop_->after(20ms, [this] { machine_->send(layout::kMsiAddressStart, 0x40); });
    });
    ASSERT_TRUE(machine_->ports().add(kTestPort, 1, ready));
    EXPECT_EQ(run(), ExitReason::PowerOff);
}

TEST_F(MachineTest, MessageToNobodyIsLost) {
    make(1, tiny::power_off() + tiny::halt());
    machine_->send(layout::kMsiAddressStart | (77U << 12U), 0x40);
    machine_->send(~std::uint64_t{0}, ~std::uint32_t{0});
    EXPECT_EQ(run(), ExitReason::PowerOff);
}

TEST_F(MachineTest, SecondProcessorRunsOnceItIsWoken) {
    constexpr std::uint32_t kCommandHigh = 0xfee00310;
    constexpr std::uint32_t kCommandLow = 0xfee00300;
    constexpr std::uint32_t kStartAt = 0x8000;  // real mode, page 8
    make(2, tiny::store(0xfee000f0, 0x1ff) + tiny::store(kCommandHigh, 1U << 24U) +
                tiny::store(kCommandLow, 0x4500)           // INIT
                + tiny::store(kCommandLow, 0x4600 | 0x08)  // SIPI
                + tiny::write_port(kTestPort, 1) + tiny::halt());
    put(kStartAt, {{0xb0, 2, 0xe6, kTestPort, 0xf4, 0xeb, 0xfd}});
    std::set<std::uint8_t> seen;
    TestPort port([&](std::uint8_t processor) {
        seen.insert(processor);
        if (seen.size() == 2) {
            machine_->end(ExitReason::PowerOff);
        }
    });
    ASSERT_TRUE(machine_->ports().add(kTestPort, 1, port));
    EXPECT_EQ(run(), ExitReason::PowerOff);
    EXPECT_EQ(seen, (std::set<std::uint8_t>{1, 2}));
}

TEST_F(MachineTest, StopsWhereverItsProcessorsAre) {
    make(4, tiny::Code{{0xeb, 0xfe}});  // one spins, three wait for their INIT
    ASSERT_TRUE(machine_->start(nothing, [](ExitReason) {}).has_value());
    machine_->resume();
    const auto soon = loop_->after(5ms, [this] { loop_->stop(); });
    ASSERT_TRUE(loop_->run().has_value());
    machine_->stop();
}

TEST_F(MachineTest, PausedGuestStandsStillUntilItIsResumed) {
    constexpr std::uint32_t kCounter = 0x120000;
    make(2, {{0xff, 0x05, 0x00, 0x00, 0x12, 0x00, 0xeb, 0xf8}});  // inc dword [kCounter]; jmp
    ASSERT_TRUE(machine_->start(nothing, [](ExitReason) {}).has_value());
    const auto counter = [this] {
        return machine_->memory().read<std::uint32_t>(virtio::GuestAddress{kCounter}).value();
    };
    const auto wait_for_more_than = [&](std::uint32_t before) {
        const auto deadline = EventLoop::Clock::now() + 20s;
        while (counter() <= before && EventLoop::Clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(1ms).has_value());
        }
    };
    for (int round = 0; round < 20; ++round) {
        machine_->resume();
        wait_for_more_than(counter());
        machine_->pause();
        const std::uint32_t paused_at = counter();
        ASSERT_TRUE(loop_->run_once(2ms).has_value());
        ASSERT_EQ(counter(), paused_at);
    }
}

TEST_F(MachineTest, ExitThatWaitsForTheLoopOutlivesAPause) {
    make(1, tiny::write_port(kTestPort, 1) + tiny::power_off());
    int writes = 0;
    TestPort port([&](std::uint8_t) { ++writes; });
    ASSERT_TRUE(machine_->ports().add(kTestPort, 1, port));
    std::optional<ExitReason> reason;
    ASSERT_TRUE(machine_->start(nothing, [&](ExitReason why) {
        reason = why;
        loop_->stop();
    }));
    machine_->resume();
    machine_->pause();
    machine_->resume();
    machine_->pause();
    // Answered while paused, if it got so far; the guest does not go on.
    ASSERT_TRUE(loop_->run_once(5ms).has_value());
    EXPECT_LE(writes, 1);
    EXPECT_EQ(reason, std::nullopt);
    machine_->resume();
    const auto deadline = loop_->after(20s, [this] { loop_->stop(); });
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(reason, ExitReason::PowerOff);
    EXPECT_EQ(writes, 1);
}

TEST_F(MachineTest, RamIsTheFileThatItIsGiven) {
    constexpr std::uint32_t kWord = 0x120000;
    const Fd file = *create_memory_file("ram", 16_MiB);
    machine_ = std::move(
        *Machine::create(*loop_, {.kvm = kvm_.ref(), .memory = 16_MiB, .ram_file = file.ref()}));
    put(tiny::kLoadAddress, tiny::store(kWord, 0x12345678) + tiny::power_off());
    ASSERT_TRUE(machine_->set_entry(virtio::GuestAddress{tiny::kLoadAddress}, layout::kStartInfo));
    ASSERT_TRUE(ends_.attach(machine_->ports()));
    EXPECT_EQ(run(), ExitReason::PowerOff);
    std::uint32_t seen = 0;
    ASSERT_TRUE(read_exactly(file.ref(), std::as_writable_bytes(std::span(&seen, 1)), kWord));
    EXPECT_EQ(seen, 0x12345678U);
}

TEST_F(MachineTest, RamFileThatIsTooShortIsRefused) {
    const Fd file = *create_memory_file("ram", 8_MiB);
    const auto machine =
        Machine::create(*loop_, {.kvm = kvm_.ref(), .memory = 16_MiB, .ram_file = file.ref()});
    EXPECT_EQ(machine.error().code(), Code::InvalidArgument);
}

TEST_F(MachineTest, IsGoneWithoutHavingRun) {
    make(2, tiny::halt());
    ASSERT_TRUE(machine_->start(nothing, [](ExitReason) {}).has_value());
}

TEST_F(MachineTest, ThreadThatCannotPrepareEndsTheMachine) {
    make(1, tiny::power_off());
    std::optional<ExitReason> reason;
    const auto refuse = []() -> Result<void> { return Error(Code::Internal, "no filter"); };
    ASSERT_TRUE(machine_->start(refuse, [&](ExitReason why) {
        reason = why;
        loop_->stop();
    }));
    const auto deadline = loop_->after(20s, [this] { loop_->stop(); });
    machine_->resume();
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(reason, ExitReason::InternalError);
}

TEST(Machine, WantsAKvm) {
    const auto loop = *EventLoop::create();
    const Fd null = *open_file("/dev/null", O_RDWR);
    const auto machine = Machine::create(*loop, {.kvm = null.ref(), .memory = 16_MiB});
    EXPECT_EQ(machine.error().message(),
              "KVM_GET_API_VERSION: Inappropriate ioctl for device (ENOTTY)");
}

}  // namespace
}  // namespace pepita::vmm
