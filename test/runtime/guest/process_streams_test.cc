#include "runtime/guest/process_streams.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "runtime/guest/stream_server.h"

namespace pepita::runtime::guest {
namespace {

constexpr Streams kAll{.has_stdin = true, .has_stdout = true, .has_stderr = true};

// Bytes of which each tells its place, so that loss and disorder show.
std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    std::uint32_t state = 1;
    for (char& byte : text) {
        state = state * 1664525 + 1013904223;
        byte = static_cast<char>(state >> 24U);
    }
    return text;
}

class ProcessStreamsTest : public testing::Test {
protected:
    ProcessStreamsTest() { (void)std::signal(SIGPIPE, SIG_IGN); }

    void make(const Streams& streams = kAll) { stdio_ = *streams_->make_pipes(streams); }

    // The host comes for the stream of this number.
    Fd come_for(std::uint64_t number) {
        auto [ours, theirs] = *socket_pair();
        EXPECT_EQ(::send(ours.ref().number(), &number, sizeof(number), 0), 8);
        server_.add(std::move(theirs));
        run();
        return std::move(ours);
    }

    void run() { EXPECT_TRUE(loop_->run_once(std::chrono::seconds(0)).has_value()); }

    // Serves until it is so.
    void run_until(const std::function<bool()>& is_so) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!is_so() && std::chrono::steady_clock::now() < deadline) {
            run();
        }
        EXPECT_TRUE(is_so());
    }

    // Reads what is there into `text`; whether the stream has ended.
    static bool read_some(const Fd& fd, std::string& text, std::size_t most = 4096) {
        std::string buffer(most, '\0');
        const ssize_t got = ::recv(fd.ref().number(), buffer.data(), most, MSG_DONTWAIT);
        if (got > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(got));
        }
        return got == 0 || (got < 0 && errno != EAGAIN);
    }

    // All that a stream gives until it ends.
    std::string read_all(const Fd& fd) {
        std::string text;
        run_until([&] { return read_some(fd, text); });
        return text;
    }

    std::string read_words(const Fd& fd, std::string_view until) {
        std::string text;
        run_until([&] {
            (void)read_some(fd, text);
            return text.contains(until);
        });
        return text;
    }

    static void write_to(const Fd& fd, std::string_view text) {
        EXPECT_EQ(::write(fd.ref().number(), text.data(), text.size()),
                  static_cast<ssize_t>(text.size()));
    }

    static bool has_hung_up(const Fd& fd) {
        pollfd asked{.fd = fd.ref().number(), .events = 0, .revents = 0};
        return ::poll(&asked, 1, 0) == 1 && (asked.revents & (POLLHUP | POLLERR)) != 0;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    StreamServer server_{*loop_};
    std::unique_ptr<ProcessStreams> streams_ = std::make_unique<ProcessStreams>(*loop_, server_);
    container::Stdio stdio_;  // the process's ends
};

TEST_F(ProcessStreamsTest, OnlyWhatIsAskedForIsMade) {
    make({.has_stdin = false, .has_stdout = true, .has_stderr = false});
    EXPECT_FALSE(stdio_.in);
    EXPECT_TRUE(stdio_.out);
    EXPECT_FALSE(stdio_.err);
    EXPECT_EQ(streams_->numbers().in, 0U);
    EXPECT_NE(streams_->numbers().out, 0U);
    EXPECT_EQ(streams_->numbers().err, 0U);
}

TEST_F(ProcessStreamsTest, OutputAndErrorsStayApart) {
    make();
    const Fd out = come_for(streams_->numbers().out);
    const Fd err = come_for(streams_->numbers().err);
    write_to(stdio_.out, "result");
    write_to(stdio_.err, "complaint");
    stdio_ = {};
    EXPECT_EQ(read_all(out), "result");
    EXPECT_EQ(read_all(err), "complaint");
}

TEST_F(ProcessStreamsTest, TenMegabytesArriveInOrderAtASlowReader) {
    make();
    const Fd out = come_for(streams_->numbers().out);
    ASSERT_TRUE(set_nonblocking(stdio_.out.ref()).has_value());
    const std::string sent = pattern(10'000'000);
    std::string received;
    std::string_view rest = sent;
    run_until([&] {
        const ssize_t wrote = ::write(stdio_.out.ref().number(), rest.data(), rest.size());
        rest.remove_prefix(wrote > 0 ? static_cast<std::size_t>(wrote) : 0);
        if (rest.empty() && stdio_.out) {
            stdio_.out = Fd();
        }
        return read_some(out, received, 10'007);  // less a turn than the pump moves
    });
    EXPECT_EQ(received.size(), sent.size());
    EXPECT_TRUE(received == sent);
}

TEST_F(ProcessStreamsTest, InputArrivesAndItsEndClosesThePipe) {
    make();
    Fd in = come_for(streams_->numbers().in);
    write_to(in, "typed");
    ASSERT_EQ(::shutdown(in.ref().number(), SHUT_WR), 0);
    run_until([&] { return has_hung_up(stdio_.in); });
    std::array<char, 16> buffer{};
    EXPECT_EQ(::read(stdio_.in.ref().number(), buffer.data(), buffer.size()), 5);
    EXPECT_EQ(std::string_view(buffer.data(), 5), "typed");
    EXPECT_EQ(::read(stdio_.in.ref().number(), buffer.data(), buffer.size()), 0);
}

TEST_F(ProcessStreamsTest, CloseStdinClosesThePipeWithAConnectionOrWithout) {
    make();
    streams_->close_stdin();
    EXPECT_TRUE(has_hung_up(stdio_.in));
    EXPECT_TRUE(has_hung_up(come_for(streams_->numbers().in)));
    streams_ = std::make_unique<ProcessStreams>(*loop_, server_);
    make();
    const Fd in = come_for(streams_->numbers().in);
    EXPECT_FALSE(has_hung_up(stdio_.in));
    streams_->close_stdin();
    EXPECT_TRUE(has_hung_up(stdio_.in));
}

TEST_F(ProcessStreamsTest, CloseStdinLosesNothingThatHasCome) {
    make();
    const Fd in = come_for(streams_->numbers().in);
    const std::string sent = pattern(100'000);  // more than the pipe holds
    write_to(in, sent);
    run();
    streams_->close_stdin();
    std::string received;
    run_until([&] {
        std::array<char, 4096> buffer{};
        const ssize_t got = ::read(stdio_.in.ref().number(), buffer.data(), buffer.size());
        received.append(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
        return got == 0;
    });
    EXPECT_TRUE(received == sent);
}

TEST_F(ProcessStreamsTest, TheHostLearnsThatNobodyReadsItsInput) {
    make();
    const Fd closed = come_for(streams_->numbers().in);
    stdio_.in = Fd();
    run_until([&] { return has_hung_up(closed); });
    streams_ = std::make_unique<ProcessStreams>(*loop_, server_);
    make();
    const Fd ended = come_for(streams_->numbers().in);
    streams_->exited();
    EXPECT_TRUE(has_hung_up(ended));
    streams_ = std::make_unique<ProcessStreams>(*loop_, server_);
    make();
    streams_->exited();
    EXPECT_TRUE(has_hung_up(come_for(streams_->numbers().in)));
}

TEST_F(ProcessStreamsTest, TheRestGoesOutAtTheExitThoughAnOrphanHoldsThePipe) {
    make();
    const Fd out = come_for(streams_->numbers().out);
    write_to(stdio_.out, "last words");
    streams_->exited();  // while stdio_.out is open still
    EXPECT_EQ(read_all(out), "last words");
}

TEST_F(ProcessStreamsTest, AConnectionAfterTheExitStillGetsTheRest) {
    make();
    write_to(stdio_.out, "last words");
    write_to(stdio_.err, "last complaint");
    stdio_.out = Fd();
    streams_->exited();
    EXPECT_EQ(read_all(come_for(streams_->numbers().out)), "last words");
    EXPECT_EQ(read_all(come_for(streams_->numbers().err)), "last complaint");
}

TEST_F(ProcessStreamsTest, MoreThanASocketHoldsIsDrainedAfterTheExit) {
    make();
    // As much as the pipe takes.
    ASSERT_TRUE(::fcntl(stdio_.out.ref().number(), F_SETPIPE_SZ, 1 << 20) >= 1 << 20);
    const std::string sent = pattern(1 << 20);
    write_to(stdio_.out, sent);
    const Fd out = come_for(streams_->numbers().out);
    streams_->exited();
    std::string received;
    run_until([&] { return read_some(out, received, 5003); });
    EXPECT_EQ(received.size(), sent.size());
    EXPECT_TRUE(received == sent);
}

TEST_F(ProcessStreamsTest, AReaderThatGoesIsAClosedPipeForTheWriter) {
    make();
    Fd out = come_for(streams_->numbers().out);
    out = Fd();
    run_until([&] { return has_hung_up(stdio_.out); });
    EXPECT_EQ(::write(stdio_.out.ref().number(), "x", 1), -1);
    EXPECT_EQ(errno, EPIPE);
}

TEST_F(ProcessStreamsTest, AProcessThatClosesItsInputEndsNothingElse) {
    make();
    const Fd in = come_for(streams_->numbers().in);
    const Fd out = come_for(streams_->numbers().out);
    stdio_.in = Fd();
    write_to(in, "nobody reads this");
    run();
    write_to(stdio_.out, "still here");
    stdio_.out = Fd();
    EXPECT_EQ(read_all(out), "still here");
}

TEST_F(ProcessStreamsTest, NumbersAreForgottenWithTheStreams) {
    make();
    const std::uint64_t number = streams_->numbers().out;
    streams_.reset();
    EXPECT_EQ(read_all(come_for(number)), "");
}

TEST_F(ProcessStreamsTest, WithoutATerminalThereIsNothingToResize) {
    make();
    const auto resized = streams_->resize({.rows = 1, .columns = 1});
    ASSERT_FALSE(resized.has_value());
    EXPECT_EQ(resized.error().code(), Code::FailedPrecondition);
}

class TerminalStreamsTest : public ProcessStreamsTest {
protected:
    TerminalStreamsTest() {
        int master = -1;
        int slave = -1;
        EXPECT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
        slave_ = Fd(slave);
        EXPECT_TRUE(streams_->take_terminal(Fd(master)).has_value());
    }
    Fd slave_;
};

TEST_F(TerminalStreamsTest, OneConnectionGoesBothWays) {
    EXPECT_EQ(streams_->numbers().out, 0U);
    EXPECT_EQ(streams_->numbers().err, 0U);
    const Fd host = come_for(streams_->numbers().in);
    write_to(slave_, "prompt> ");
    EXPECT_EQ(read_words(host, "> "), "prompt> ");
    write_to(host, "ls\n");
    EXPECT_EQ(read_words(host, "ls\r\n"), "ls\r\n");  // the terminal's echo
    std::array<char, 16> line{};
    EXPECT_EQ(::read(slave_.ref().number(), line.data(), line.size()), 3);
    EXPECT_EQ(std::string_view(line.data(), 3), "ls\n");
}

TEST_F(TerminalStreamsTest, ItsEndIsTheStreamsEndAfterTheLastByte) {
    const Fd host = come_for(streams_->numbers().in);
    write_to(slave_, "bye");
    slave_ = Fd();
    EXPECT_EQ(read_all(host), "bye");
}

TEST_F(TerminalStreamsTest, TheExitEndsItThoughAnOrphanHoldsIt) {
    const Fd host = come_for(streams_->numbers().in);
    write_to(slave_, "bye");
    streams_->exited();
    EXPECT_EQ(read_all(host), "bye");
}

TEST_F(TerminalStreamsTest, ResizeReachesTheProcess) {
    ASSERT_TRUE(streams_->resize({.rows = 40, .columns = 120}).has_value());
    winsize size{};
    ASSERT_EQ(::ioctl(slave_.ref().number(), TIOCGWINSZ, &size), 0);
    EXPECT_EQ(size.ws_row, 40);
    EXPECT_EQ(size.ws_col, 120);
}

}  // namespace
}  // namespace pepita::runtime::guest
