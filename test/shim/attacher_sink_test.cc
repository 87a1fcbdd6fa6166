#include "shim/attacher_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::shim {
namespace {

class AttacherSinkTest : public testing::Test {
protected:
    void SetUp() override { (void)::signal(SIGPIPE, SIG_IGN); }

    void start(Fd sink) {
        auto made = AttacherSink::create(*loop_, std::move(sink), [this] {
            is_over_ = true;
            sink_.reset();
        });
        ASSERT_TRUE(made.has_value());
        sink_ = *std::move(made);
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
    void until_over() {
        until([this] { return is_over_; });
    }
    static std::string take(FdRef fd) {
        std::string text(1 << 20, '\0');
        const ssize_t got = ::read(fd.number(), text.data(), text.size());
        text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return text;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<AttacherSink> sink_;
    bool is_over_ = false;
};

TEST_F(AttacherSinkTest, WhatIsPutIsThereAtOnce) {
    Pipe pipe = *make_pipe();
    start(std::move(pipe.write));
    sink_->put("one");
    EXPECT_EQ(take(pipe.read.ref()), "one");
    sink_->finish();
    until_over();
    EXPECT_EQ(take(pipe.read.ref()), "");
}

TEST_F(AttacherSinkTest, ASlowAttacherGetsAllThatTheLimitHolds) {
    auto [ours, theirs] = *socket_pair();
    start(std::move(ours));
    const std::string block(std::size_t{64} * 1024, 'x');
    std::string all;
    for (std::size_t put = 0; put < AttacherSink::kWaitingMax; put += block.size()) {
        sink_->put(block);
        all += block;
    }
    sink_->finish();
    std::string got;
    until([&, &from = theirs] {
        got += take(from.ref());
        return got.size() == all.size();
    });
    EXPECT_EQ(got, all);
    until_over();
}

TEST_F(AttacherSinkTest, AnAttacherThatIsTooSlowIsGivenUp) {
    Pipe pipe = *make_pipe();
    start(std::move(pipe.write));
    sink_->put(std::string(AttacherSink::kWaitingMax, 'x'));
    sink_->put(std::string(std::size_t{128} * 1024, 'x'));
    EXPECT_FALSE(is_over_);  // told later
    sink_->put("more");
    until_over();
}

TEST_F(AttacherSinkTest, AnAttacherThatGoesIsNoticed) {
    Pipe pipe = *make_pipe();
    start(std::move(pipe.write));
    { const Fd gone = std::move(pipe.read); }
    until_over();
}

TEST_F(AttacherSinkTest, AFileTakesAll) {
    start(*open_file("/dev/null", O_RDWR));
    sink_->put(std::string(AttacherSink::kWaitingMax * 2, 'x'));
    sink_->finish();
    until_over();
}

}  // namespace
}  // namespace pepita::shim
