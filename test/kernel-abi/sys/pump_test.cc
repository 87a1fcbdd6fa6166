#include "kernel-abi/sys/pump.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"

namespace pepita {
namespace {

using std::chrono::milliseconds;

struct Pipe {
    Fd out;
    Fd in;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    return {.out = Fd(ends[0]), .in = Fd(ends[1])};
}

void put(FdRef fd, const std::string& text) {
    ASSERT_EQ(::write(fd.number(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

std::string take(FdRef fd) {
    std::string text(1 << 20, '\0');
    const ssize_t got = ::read(fd.number(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
}

class PumpTest : public testing::Test {
protected:
    void SetUp() override { (void)::signal(SIGPIPE, SIG_IGN); }

    void start(FdRef source, FdRef sink) {
        auto made = Pump::create(*loop_, source, sink, [this](Pump::End how) {
            ended_ = how;
            loop_->stop();
        });
        ASSERT_TRUE(made.has_value());
        pump_ = *std::move(made);
    }
    void turn() { ASSERT_TRUE(loop_->run_once(milliseconds(0)).has_value()); }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<Pump> pump_;
    std::optional<Pump::End> ended_;
};

TEST_F(PumpTest, MovesWhatComesAndEndsWithTheSource) {
    Pipe from = make_pipe();
    const Pipe to = make_pipe();
    start(from.out.ref(), to.in.ref());
    put(from.in.ref(), "hello");
    turn();
    EXPECT_EQ(take(to.out.ref()), "hello");
    { const Fd gone = std::move(from.in); }
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(ended_, Pump::End::Source);
}

TEST_F(PumpTest, AFullSinkHoldsTheSourceBackAndLosesNothing) {
    const Pipe from = make_pipe();
    const Pipe to = make_pipe();
    start(from.out.ref(), to.in.ref());
    const std::string block(65536, 'x');
    put(from.in.ref(), block);  // fills the sink's pipe
    turn();
    put(from.in.ref(), block);  // fills the buffer
    turn();
    put(from.in.ref(), block);  // stays in the source
    turn();
    turn();
    EXPECT_EQ(::write(from.in.ref().number(), "y", 1), -1);
    EXPECT_EQ(take(to.out.ref()).size(), block.size());
    turn();
    EXPECT_EQ(take(to.out.ref()).size(), block.size());
}

TEST_F(PumpTest, ASinkWhoseReaderWentEndsItWithoutANewByte) {
    const Pipe from = make_pipe();
    Pipe to = make_pipe();
    start(from.out.ref(), to.in.ref());
    { const Fd gone = std::move(to.out); }
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(ended_, Pump::End::Sink);
}

TEST_F(PumpTest, FinishPassesOnWhatIsThereThoughAWriterRemains) {
    const Pipe from = make_pipe();
    const Pipe to = make_pipe();
    start(from.out.ref(), to.in.ref());
    put(from.in.ref(), "last words");
    pump_->finish();
    EXPECT_EQ(ended_, Pump::End::Source);
    EXPECT_EQ(take(to.out.ref()), "last words");
}

TEST_F(PumpTest, RegularFilesAreBothSourceAndSink) {
    const Fd source(::memfd_create("source", MFD_CLOEXEC));
    const Fd sink(::memfd_create("sink", MFD_CLOEXEC));
    const std::string text(3 << 20, 'f');
    put(source.ref(), text);
    ASSERT_EQ(::lseek(source.ref().number(), 0, SEEK_SET), 0);
    start(source.ref(), sink.ref());
    ASSERT_TRUE(loop_->run().has_value());
    EXPECT_EQ(ended_, Pump::End::Source);
    EXPECT_EQ(::lseek(sink.ref().number(), 0, SEEK_END), static_cast<off_t>(text.size()));
}

TEST_F(PumpTest, ABlockingSocketDoesNotStopTheLoop) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    const Fd source(ends[0]);
    const Fd peer(ends[1]);
    const Pipe to = make_pipe();
    start(source.ref(), to.in.ref());
    put(peer.ref(), "a");
    turn();
    EXPECT_EQ(take(to.out.ref()), "a");
}

}  // namespace
}  // namespace pepita
