#include "shim/kept_input.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::shim {
namespace {

// The test plays the guest (a socket) and the attachers (pipes).
class KeptInputTest : public testing::Test {
protected:
    void SetUp() override { (void)::signal(SIGPIPE, SIG_IGN); }

    void start(KeptInput::Ends ends) {
        input_ = std::make_unique<KeptInput>(*loop_, ends);
        auto [ours, guest] = *socket_pair();
        input_->connect(std::move(ours));
        guest_ = std::move(guest);
    }
    Fd attach() {
        Pipe pipe = *make_pipe();
        EXPECT_TRUE(input_->attach(std::move(pipe.read)).has_value());
        return std::move(pipe.write);
    }
    static void type(const Fd& fd, const std::string& text) {
        ASSERT_EQ(::write(fd.ref().number(), text.data(), text.size()),
                  static_cast<ssize_t>(text.size()));
    }
    void until(const std::function<bool()>& claim) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        bool holds = claim();
        while (!holds && std::chrono::steady_clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(10)).has_value());
            holds = claim();
        }
        ASSERT_TRUE(holds);
    }
    // Adds what the guest has got; false at the end.
    bool take(std::string& into) {
        std::array<char, 256> part{};
        const ssize_t got = ::recv(guest_.ref().number(), part.data(), part.size(), MSG_DONTWAIT);
        into.append(part.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
        return got > 0 || (got < 0 && errno == EAGAIN);
    }
    void expect_input(const std::string& text) {
        std::string got;
        until([&] { return take(got) && got == text; });
    }
    void expect_end() {
        std::string got;
        until([&] { return !take(got); });
        EXPECT_EQ(got, "");
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<KeptInput> input_;
    Fd guest_;
};

TEST_F(KeptInputTest, EveryAttacherMayTypeAndGo) {
    start(KeptInput::Ends::WithProcess);
    Fd first = attach();
    const Fd second = attach();
    type(first, "one");
    expect_input("one");
    type(second, "two");
    expect_input("two");
    type(first, "last");
    first = Fd();
    expect_input("last");
    type(second, "more");
    expect_input("more");
    type(attach(), "third");
    expect_input("third");
}

TEST_F(KeptInputTest, WithTheFirstAttachersEndItEndsWhereItSaysSo) {
    start(KeptInput::Ends::WithAttacher);
    Fd first = attach();
    const Fd second = attach();
    type(first, "all");
    first = Fd();
    expect_input("all");
    expect_end();
    EXPECT_EQ(::write(second.ref().number(), "x", 1), -1);
    EXPECT_EQ(::write(attach().ref().number(), "x", 1), -1);
}

TEST_F(KeptInputTest, AClosedInputEndsForAll) {
    start(KeptInput::Ends::WithProcess);
    const Fd attacher = attach();
    input_->close();
    expect_end();
    EXPECT_EQ(::write(attacher.ref().number(), "x", 1), -1);
}

TEST_F(KeptInputTest, AProcessThatReadsNoMoreEndsItsAttachers) {
    start(KeptInput::Ends::WithProcess);
    const Fd attacher = attach();
    guest_ = Fd();
    until([&] { return ::write(attacher.ref().number(), "x", 1) == -1; });
}

TEST_F(KeptInputTest, AttachersHaveALimit) {
    start(KeptInput::Ends::WithProcess);
    std::array<Fd, KeptInput::kAttachersMax> all;
    for (Fd& one : all) {
        one = attach();
    }
    Pipe pipe = *make_pipe();
    EXPECT_EQ(input_->attach(std::move(pipe.read)).error().code(), Code::ResourceExhausted);
}

}  // namespace
}  // namespace pepita::shim
