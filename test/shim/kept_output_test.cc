#include "shim/kept_output.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/socket.h"
#include "shim/container_log.h"

namespace pepita::shim {
namespace {

// The test plays the guest (sockets) and the attachers (pipes).
class KeptOutputTest : public testing::Test {
protected:
    void SetUp() override {
        (void)::signal(SIGPIPE, SIG_IGN);
        ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
        path_ = scratch_ + "/0.log";
        start(*ContainerLog::open(*loop_, path_));
    }
    void TearDown() override {
        std::error_code ignored;
        std::filesystem::remove_all(scratch_, ignored);
    }
    void start(std::unique_ptr<ContainerLog> log) {
        kept_ =
            std::make_unique<KeptOutput>(*loop_, std::move(log), [this] { is_written_ = true; });
        auto [our_out, guest_out] = *socket_pair();
        auto [our_err, guest_err] = *socket_pair();
        ASSERT_TRUE(kept_->connect(LogStream::Stdout, std::move(our_out)).has_value());
        ASSERT_TRUE(kept_->connect(LogStream::Stderr, std::move(our_err)).has_value());
        out_ = std::move(guest_out);
        err_ = std::move(guest_err);
    }
    // An attacher's end.
    Fd attach(LogStream which) {
        Pipe pipe = *make_pipe();
        EXPECT_TRUE(set_nonblocking(pipe.read.ref()).has_value());
        EXPECT_TRUE(kept_->attach(which, std::move(pipe.write)).has_value());
        return std::move(pipe.read);
    }
    static void say(const Fd& guest, std::string_view text) {
        ASSERT_EQ(::send(guest.ref().number(), text.data(), text.size(), MSG_NOSIGNAL),
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
    std::string log_content() const {
        std::ifstream file(path_);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    bool log_has(const std::string& record) const {
        return log_content().find(record) != std::string::npos;
    }
    static std::string take(const Fd& fd) {
        std::string text(1 << 20, '\0');
        const ssize_t got = ::read(fd.ref().number(), text.data(), text.size());
        text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return text;
    }
    static bool has_ended(const Fd& fd) {
        char byte = 0;
        return ::read(fd.ref().number(), &byte, 1) == 0;
    }
    void end_both() {
        out_ = Fd();
        err_ = Fd();
    }

    std::string scratch_ = "/tmp/pepita-kept-XXXXXX";
    std::string path_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    bool is_written_ = false;
    std::unique_ptr<KeptOutput> kept_;
    Fd out_;
    Fd err_;
};

TEST_F(KeptOutputTest, BothStreamsGoToTheLogAndTheirEndIsTold) {
    say(out_, "one\n");
    until([this] { return log_has(" stdout F one\n"); });
    say(err_, "two");
    err_ = Fd();
    until([this] { return log_has(" stderr P two\n"); });
    EXPECT_FALSE(is_written_);
    out_ = Fd();
    until([this] { return is_written_; });
}

TEST_F(KeptOutputTest, EachAttacherGetsACopyFromItsComingOn) {
    say(out_, "before\n");
    until([this] { return log_has("before"); });
    const Fd first = attach(LogStream::Stdout);
    const Fd second = attach(LogStream::Stdout);
    const Fd errors = attach(LogStream::Stderr);
    say(out_, "after");
    say(err_, "oh");
    std::string got;
    until([&] { return (got += take(errors)) == "oh"; });
    got.clear();
    until([&] { return (got += take(first)) == "after"; });
    got.clear();
    until([&] { return (got += take(second)) == "after"; });
    end_both();
    until([&] { return has_ended(first) && has_ended(second) && has_ended(errors); });
    until([this] { return is_written_; });
    EXPECT_TRUE(log_has(" stdout P after\n"));
}

TEST_F(KeptOutputTest, AnAttacherThatDoesNotReadHoldsNobodyUp) {
    const Fd slow = attach(LogStream::Stdout);
    const Fd quick = attach(LogStream::Stdout);
    const std::string line = std::string(8191, 'x') + "\n";
    std::size_t got = 0;
    constexpr std::size_t lines = 768;  // 6 MiB, more than waits for one
    for (std::size_t i = 0; i < lines; ++i) {
        say(out_, line);
        until([&] {
            got += take(quick).size();
            return got == (i + 1) * line.size();
        });
    }
    end_both();
    until([this] { return is_written_; });
    EXPECT_EQ(std::filesystem::file_size(path_), lines * (line.size() + 40));
    // It has what its pipe held, and the end.
    EXPECT_LT(take(slow).size(), lines * line.size());
    EXPECT_TRUE(has_ended(slow));
}

TEST_F(KeptOutputTest, AttachersThatGoAreForgotten) {
    for (std::size_t i = 0; i < KeptOutput::kAttachersMax; ++i) {
        const Fd gone = attach(LogStream::Stdout);
    }
    Pipe pipe = *make_pipe();
    EXPECT_EQ(kept_->attach(LogStream::Stdout, *duplicate(pipe.write.ref())).error().code(),
              Code::ResourceExhausted);
    until(
        [&] { return kept_->attach(LogStream::Stdout, *duplicate(pipe.write.ref())).has_value(); });
}

TEST_F(KeptOutputTest, AStreamThatHasEndedEndsAtOnceForAnAttacher) {
    out_ = Fd();
    until([this] { return has_ended(attach(LogStream::Stdout)); });
}

TEST_F(KeptOutputTest, WithoutALogOutputIsForAttachersAlone) {
    start(nullptr);
    EXPECT_EQ(kept_->reopen_log().error().message(), "the container has no log");
    say(out_, "lost");
    until([this, turns = 0]() mutable { return ++turns == 3; });
    const Fd attacher = attach(LogStream::Stdout);
    say(out_, "seen");
    std::string got;
    until([&] { return (got += take(attacher)) == "seen"; });
    end_both();
    until([this] { return is_written_; });
}

TEST_F(KeptOutputTest, WhatHasComeIsWrittenWhenAllIsGivenUp) {
    say(out_, "last words\nhal");
    say(err_, "oh");
    kept_.reset();
    EXPECT_TRUE(log_has(" stdout F last words\n"));
    EXPECT_TRUE(log_has(" stdout P hal\n"));
    EXPECT_TRUE(log_has(" stderr P oh\n"));
    EXPECT_FALSE(is_written_);
}

TEST_F(KeptOutputTest, RotationUnderLoadLosesAndRepeatsNothing) {
    constexpr int rotations = 20;
    for (int i = 0; i < rotations; ++i) {
        say(out_, "a" + std::to_string(i) + "\nb" + std::to_string(i));
        ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(0)).has_value());
        std::filesystem::rename(path_, path_ + "." + std::to_string(i));
        ASSERT_TRUE(kept_->reopen_log().has_value());
        say(out_, "\n");
    }
    end_both();
    until([this] { return is_written_; });
    std::string text;
    for (int i = 0; i <= rotations; ++i) {
        std::ifstream file(i < rotations ? path_ + "." + std::to_string(i) : path_);
        for (std::string line; std::getline(file, line);) {
            text +=
                line.substr(std::string("2026-11-30T18:40:00.000000042Z stdout F ").size()) + " ";
        }
    }
    std::string expected;
    for (int i = 0; i < rotations; ++i) {
        expected += "a" + std::to_string(i) + " b" + std::to_string(i) + " ";
    }
    EXPECT_EQ(text, expected);
}

}  // namespace
}  // namespace pepita::shim
