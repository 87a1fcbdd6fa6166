#include "vmm/legacy/serial.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/ioapic.h"

namespace pepita::vmm {
namespace {

class SerialTest : public testing::Test {
protected:
    static std::array<Fd, 2> make_pipe() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
        return {Fd(ends[0]), Fd(ends[1])};
    }
    std::uint8_t read(std::uint64_t offset) {
        std::array<std::byte, 1> byte{std::byte{0xff}};
        serial_->read(offset, byte);
        return static_cast<std::uint8_t>(load(byte));
    }
    void write(std::uint64_t offset, std::uint8_t value) {
        const std::array byte{std::byte{value}};
        if (serial_->write(offset, byte) == Written::NeedsLoop) {
            serial_->write_on_loop(offset, byte);
        }
    }
    void turn() { ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(0)).has_value()); }
    std::string output() {
        turn();
        if (loop_->until_deadline()) {
            EXPECT_TRUE(loop_->run_once(std::chrono::seconds(1)).has_value());
        }
        std::array<char, 4096> text{};
        const ssize_t size = ::read(pipe_[0].ref().number(), text.data(), text.size());
        return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : "";
    }
    int edges() {
        int count = 0;
        Ioapic::Level before = Ioapic::Level::Low;
        for (const Ioapic::Level level : levels_) {
            count += static_cast<int>(before == Ioapic::Level::Low && level == Ioapic::Level::High);
            before = level;
        }
        return count;
    }

    std::array<Fd, 2> pipe_ = make_pipe();
    std::vector<Ioapic::Level> levels_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<Serial> serial_ = *Serial::create(
        *loop_, pipe_[1].ref(), [this](Ioapic::Level level) { levels_.push_back(level); });
};

TEST_F(SerialTest, WritesWhatItIsSent) {
    write(0, 'o');
    write(0, 'k');
    EXPECT_EQ(output(), "ok");
}

TEST_F(SerialTest, IsAlwaysReadyToSendAndNeverHasInput) {
    EXPECT_EQ(read(5), 0x60);
    EXPECT_EQ(read(0), 0);
}

TEST_F(SerialTest, DivisorIsApartFromData) {
    write(3, 0x83);  // DLAB
    write(0, 0x34);
    write(1, 0x12);
    EXPECT_EQ(read(0), 0x34);
    EXPECT_EQ(read(1), 0x12);
    write(3, 0x03);
    EXPECT_EQ(output(), "");
    EXPECT_EQ(read(1), 0);  // interrupt enable again
}

// Linux's autoconfig(): this is how it tells a 16550A.
TEST_F(SerialTest, FifosShowInInterruptId) {
    write(2, 1);
    EXPECT_EQ(read(2) & 0xc0, 0xc0);
    write(2, 0);
    EXPECT_EQ(read(2) & 0xc0, 0);
}

TEST_F(SerialTest, LoopbackShowsTheDriversOwnLines) {
    write(4, 0x10 | 0x0a);  // RTS and OUT2
    EXPECT_EQ(read(6) & 0xf0, 0x90);
    write(0, 'x');
    EXPECT_EQ(output(), "");
}

TEST_F(SerialTest, EnablingRaisesTheInterruptAndReadingItsIdDropsIt) {
    write(1, 0x02);
    EXPECT_EQ(edges(), 1);
    EXPECT_EQ(read(2) & 0x0f, 0x02);
    EXPECT_EQ(levels_.back(), Ioapic::Level::Low);
    EXPECT_EQ(read(2) & 0x0f, 0x01);
}

TEST_F(SerialTest, WhatIsSentIsAnotherEdgeOnceItIsOut) {
    write(1, 0x02);
    (void)read(2);
    write(0, 'a');
    write(0, 'b');
    EXPECT_EQ(edges(), 1);
    EXPECT_EQ(output(), "ab");
    EXPECT_EQ(edges(), 2);
    write(0, 'c');
    turn();
    EXPECT_EQ(edges(), 3);
}

TEST_F(SerialTest, InterruptComesInLoopbackToo) {
    write(4, 0x10);
    write(1, 0x02);
    (void)read(2);
    write(0, 'x');
    EXPECT_EQ(output(), "");
    EXPECT_EQ(edges(), 2);
}

TEST_F(SerialTest, ByteBeyondTheBufferWaitsForTheLoopAndNoneIsLost) {
    const std::array byte{std::byte{'.'}};
    std::size_t buffered = 0;
    while (serial_->write(0, byte) == Written::Done) {
        ++buffered;
    }
    EXPECT_EQ(buffered, 256U);
    serial_->write_on_loop(0, byte);
    EXPECT_EQ(output(), std::string(257, '.'));
}

TEST_F(SerialTest, WritesOutWhatIsBufferedWhenItGoes) {
    write(0, 'x');
    serial_.reset();
    EXPECT_EQ(output(), "x");
}

TEST_F(SerialTest, ConsoleThatNobodyReadsLosesBytesAndStopsNothing) {
    const std::string page(4096, '.');
    while (::write(pipe_[1].ref().number(), page.data(), page.size()) > 0) {}
    write(0, 'x');
    EXPECT_EQ(output().size(), 4096U);
    EXPECT_EQ(read(5), 0x60);
}

}  // namespace
}  // namespace pepita::vmm
