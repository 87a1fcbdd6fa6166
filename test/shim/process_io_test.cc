#include "shim/process_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container.h"
#include "runtime/pod_api.h"
#include "runtime/task_api.h"

namespace pepita::shim {
namespace {

using std::chrono::seconds;

struct Pipe {
    Fd out;
    Fd in;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    return {.out = Fd(ends[0]), .in = Fd(ends[1])};
}

void put(FdRef fd, const std::string& text) {
    ASSERT_EQ(::write(fd.number(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

std::string take(FdRef fd) {
    std::array<char, 256> text{};
    const ssize_t got = ::read(fd.number(), text.data(), text.size());
    return {text.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

// The test plays the client (pipes) and the guest (sockets).
class ProcessIoTest : public testing::Test {
protected:
    void SetUp() override { (void)::signal(SIGPIPE, SIG_IGN); }

    void start(runtime::TaskIo io, runtime::WindowSize window = {}) {
        auto made = ProcessIo::create(
            *loop_, std::move(io), window,
            {.on_output_written = [this] { is_written_ = true; },
             .on_resize = [this](runtime::WindowSize size) { sizes_.push_back(size); },
             .on_signal = [this](std::uint32_t signal) { signals_.push_back(signal); },
             .on_proxy_gone = [this] { is_proxy_gone_ = true; }});
        ASSERT_TRUE(made.has_value());
        io_ = *std::move(made);
    }

    // Turns the loop until the claim holds.
    void until(const std::function<bool()>& claim) {
        const auto deadline = std::chrono::steady_clock::now() + seconds(20);
        bool holds = claim();  // asked once a turn: a claim may read what it looks for
        while (!holds && std::chrono::steady_clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
            holds = claim();
        }
        ASSERT_TRUE(holds);
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<ProcessIo> io_;
    bool is_written_ = false;
    bool is_proxy_gone_ = false;
    std::vector<runtime::WindowSize> sizes_;
    std::vector<std::uint32_t> signals_;
};

TEST_F(ProcessIoTest, PassesInputAndItsEnd) {
    Pipe client = make_pipe();
    runtime::TaskIo io;
    io.in.fd = std::move(client.out);
    start(std::move(io));
    EXPECT_EQ(io_->streams(), (runtime::Streams{.has_stdin = true}));
    auto [ours, guest] = *socket_pair();
    ASSERT_TRUE(io_->attach(std::move(ours), Fd(), Fd()).has_value());
    put(client.in.ref(), "question");
    ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    EXPECT_EQ(take(guest.ref()), "question");
    { const Fd gone = std::move(client.in); }
    ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    std::array<std::byte, 1> more{};
    EXPECT_EQ(receive_some(guest.ref(), more).value().size, 0U);
}

TEST_F(ProcessIoTest, AFifoIsAtItsEndWhenItIsClosedAndNotWithItsClient) {
    const std::string path = "/tmp/pepita-fifo-" + std::to_string(::getpid());
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    runtime::TaskIo io;
    io.in.path = path;
    start(std::move(io));
    EXPECT_TRUE(io_->streams().has_stdin);
    auto [ours, guest] = *socket_pair();
    ASSERT_TRUE(io_->attach(std::move(ours), Fd(), Fd()).has_value());
    EXPECT_FALSE(open_file(path.c_str(), O_WRONLY | O_NONBLOCK).has_value());  // nobody reads yet
    ASSERT_TRUE(io_->start_input().has_value());
    { put(open_file(path.c_str(), O_WRONLY).value().ref(), "one"); }
    ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    EXPECT_EQ(take(guest.ref()), "one");
    { put(open_file(path.c_str(), O_WRONLY).value().ref(), "two"); }
    io_->close_stdin();
    until([&guest] { return take(guest.ref()) == "two"; });
    std::array<std::byte, 1> more{};
    until([&] {
        const auto got = receive_some(guest.ref(), more);
        return got && got->size == 0;
    });
    ASSERT_EQ(::unlink(path.c_str()), 0);
}

TEST_F(ProcessIoTest, OutputIsWrittenWhenBothStreamsEnded) {
    Pipe out = make_pipe();
    Pipe err = make_pipe();
    runtime::TaskIo io;
    io.out.fd = std::move(out.in);
    io.err.fd = std::move(err.in);
    start(std::move(io));
    auto [our_out, guest_out] = *socket_pair();
    auto [our_err, guest_err] = *socket_pair();
    ASSERT_TRUE(io_->attach(Fd(), std::move(our_out), std::move(our_err)).has_value());
    EXPECT_FALSE(io_->is_output_written());
    put(guest_out.ref(), "answer");
    { const Fd gone = std::move(guest_out); }
    put(guest_err.ref(), "complaint");
    { const Fd gone = std::move(guest_err); }
    until([this] { return is_written_; });
    EXPECT_TRUE(io_->is_output_written());
    EXPECT_EQ(take(out.out.ref()), "answer");
    EXPECT_EQ(take(err.out.ref()), "complaint");
}

TEST_F(ProcessIoTest, TheGuestLearnsThatNobodyReads) {
    Pipe out = make_pipe();
    runtime::TaskIo io;
    io.out.fd = std::move(out.in);
    start(std::move(io));
    auto [ours, guest] = *socket_pair();
    ASSERT_TRUE(io_->attach(Fd(), std::move(ours), Fd()).has_value());
    { const Fd gone = std::move(out.out); }
    until([this] { return is_written_; });
    EXPECT_EQ(::send(guest.ref().number(), "x", 1, MSG_NOSIGNAL), -1);
}

TEST_F(ProcessIoTest, TheClientsOwnDescriptorStaysBlocking) {
    Pipe client = make_pipe();
    runtime::TaskIo io;
    io.in.fd = *duplicate(client.out.ref());
    start(std::move(io));
    EXPECT_EQ(::fcntl(client.out.ref().number(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(ProcessIoTest, TheProxyGetsTheStatusAndItsSignalsArrive) {
    auto [ours, proxy] = *socket_pair();
    runtime::TaskIo io;
    io.proxy = std::move(ours);
    start(std::move(io));
    const std::uint32_t signal = SIGUSR1;
    ASSERT_TRUE(send_some(proxy.ref(), std::as_bytes(std::span(&signal, 1))).has_value());
    until([this] { return !signals_.empty(); });
    EXPECT_EQ(signals_, (std::vector<std::uint32_t>{SIGUSR1}));
    io_->exited(137);
    std::uint32_t status = 0;
    ASSERT_TRUE(
        receive_some(proxy.ref(), std::as_writable_bytes(std::span(&status, 1))).has_value());
    EXPECT_EQ(status, 137U);
    EXPECT_FALSE(is_proxy_gone_);
}

TEST_F(ProcessIoTest, AProxyThatDiesIsNoticed) {
    auto [ours, proxy] = *socket_pair();
    runtime::TaskIo io;
    io.proxy = std::move(ours);
    start(std::move(io));
    { const Fd gone = std::move(proxy); }
    until([this] { return is_proxy_gone_; });
}

TEST_F(ProcessIoTest, TheConsoleSocketGetsATerminalThatReportsItsSize) {
    auto [ours, client] = *socket_pair();
    runtime::TaskIo io;
    io.terminal = runtime::Terminal::Yes;
    io.console_socket = std::move(ours);
    start(std::move(io), {.rows = 24, .columns = 80});
    std::array<std::byte, 64> name{};
    auto received = receive_some(client.ref(), name);
    ASSERT_TRUE(received.has_value());
    ASSERT_EQ(received->fds.size(), 1U);
    const FdRef master = received->fds[0].ref();
    until([this] { return !sizes_.empty(); });
    EXPECT_EQ(sizes_.back(), (runtime::WindowSize{.rows = 24, .columns = 80}));
    winsize size{};
    size.ws_row = 50;
    size.ws_col = 132;
    ASSERT_EQ(::ioctl(master.number(), TIOCSWINSZ, &size), 0);
    until([this] { return sizes_.size() == 2; });
    EXPECT_EQ(sizes_.back(), (runtime::WindowSize{.rows = 50, .columns = 132}));

    auto [guest_end, guest] = *socket_pair();
    ASSERT_TRUE(io_->attach(std::move(guest_end), Fd(), Fd()).has_value());
    put(master, "typed\r");  // raw: neither echoed nor translated
    until([&] {
        std::array<char, 16> text{};
        return ::recv(guest.ref().number(), text.data(), text.size(), MSG_DONTWAIT) == 6 &&
               std::string(text.data(), 6) == "typed\r";
    });
    put(guest.ref(), "shown\n");
    ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    EXPECT_EQ(take(master), "shown\n");
}

// The streams are the shim's own: a log, attachers.
class KeptProcessIoTest : public ProcessIoTest {
protected:
    void SetUp() override {
        ProcessIoTest::SetUp();
        ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
    }
    void TearDown() override {
        std::error_code ignored;
        std::filesystem::remove_all(scratch_, ignored);
    }
    runtime::TaskIo kept(const std::string& in) const {
        runtime::TaskIo io;
        io.in.path = in;
        io.out.path = "cri-log://" + path_;
        io.err.path = io.out.path;
        return io;
    }
    bool log_has(const std::string& record) const {
        std::ifstream file(path_);
        const std::string content{std::istreambuf_iterator<char>(file), {}};
        return content.find(record) != std::string::npos;
    }
    std::string refusal(runtime::TaskIo io) {
        return ProcessIo::create(*loop_, std::move(io), {}, {}).error().message();
    }

    std::string scratch_ = "/tmp/pepita-io-XXXXXX";
    std::string path_ = "/tmp/pepita-io-none/0.log";
};

class LoggedProcessIoTest : public KeptProcessIoTest {
protected:
    void SetUp() override {
        KeptProcessIoTest::SetUp();
        path_ = scratch_ + "/0.log";
    }
};

TEST_F(LoggedProcessIoTest, OutputGoesToTheLogAndIsWrittenWhenBothStreamsEnded) {
    start(kept(""));
    EXPECT_EQ(io_->streams(), (runtime::Streams{.has_stdout = true, .has_stderr = true}));
    auto [our_out, guest_out] = *socket_pair();
    auto [our_err, guest_err] = *socket_pair();
    ASSERT_TRUE(io_->attach(Fd(), std::move(our_out), std::move(our_err)).has_value());
    EXPECT_FALSE(io_->is_output_written());
    put(guest_out.ref(), "answer\n");
    put(guest_err.ref(), "complaint\n");
    { const Fd gone = std::move(guest_out); }
    { const Fd gone = std::move(guest_err); }
    until([this] { return is_written_; });
    EXPECT_TRUE(io_->is_output_written());
    EXPECT_TRUE(log_has(" stdout F answer\n"));
    EXPECT_TRUE(log_has(" stderr F complaint\n"));
}

TEST_F(LoggedProcessIoTest, AnAttacherSeesAndTypesAndEndsWithTheProcess) {
    start(kept("attach:"));
    EXPECT_TRUE(io_->streams().has_stdin);
    auto [our_in, guest_in] = *socket_pair();
    auto [our_out, guest_out] = *socket_pair();
    ASSERT_TRUE(io_->attach(std::move(our_in), std::move(our_out), Fd()).has_value());
    Pipe in = make_pipe();
    Pipe out = make_pipe();
    Pipe err = make_pipe();
    ASSERT_TRUE(io_->add_attacher({.container = "",
                                   .in = std::move(in.out),
                                   .out = std::move(out.in),
                                   .err = std::move(err.in)})
                    .has_value());
    EXPECT_EQ(take(err.out.ref()), "");  // its stream is not there
    put(in.in.ref(), "question");
    until([&, &from = guest_in] { return take(from.ref()) == "question"; });
    put(guest_out.ref(), "answer");
    ASSERT_TRUE(loop_->run_once(seconds(1)).has_value());
    EXPECT_EQ(take(out.out.ref()), "answer");
    io_->exited(0);
    { const Fd gone = std::move(guest_out); }
    until([this] { return is_written_; });
    EXPECT_EQ(take(out.out.ref()), "");
    EXPECT_EQ(::write(in.in.ref().number(), "x", 1), -1);
    EXPECT_EQ(take(guest_in.ref()), "");
}

TEST_F(LoggedProcessIoTest, OfATerminalBothWaysAreKept) {
    runtime::TaskIo io = kept("attach:once");
    io.terminal = runtime::Terminal::Yes;
    io.err = {};
    start(std::move(io));
    auto [ours, guest] = *socket_pair();
    ASSERT_TRUE(io_->attach(std::move(ours), Fd(), Fd()).has_value());
    auto [client, theirs] = *socket_pair();
    ASSERT_TRUE(io_->add_attacher({.container = "",
                                   .in = *duplicate(theirs.ref()),
                                   .out = std::move(theirs),
                                   .err = {}})
                    .has_value());
    put(client.ref(), "typed");
    until([&, &from = guest] { return take(from.ref()) == "typed"; });
    put(guest.ref(), "shown\r\n");
    until([&, &from = client] { return take(from.ref()) == "shown\r\n"; });
    EXPECT_TRUE(log_has(" stdout F shown\r\n"));
}

TEST_F(LoggedProcessIoTest, OutputMayBeKeptWithoutALog) {
    runtime::TaskIo io;
    io.out.path = "attach:";
    start(std::move(io));
    EXPECT_EQ(io_->streams(), (runtime::Streams{.has_stdout = true}));
    EXPECT_EQ(io_->reopen_log().error().message(), "the container has no log");
}

TEST_F(LoggedProcessIoTest, WhatAClientHasCannotBeAttachedTo) {
    Pipe out = make_pipe();
    runtime::TaskIo io;
    io.out.fd = std::move(out.in);
    start(std::move(io));
    EXPECT_EQ(io_->add_attacher({}).error().message(),
              "the container's streams are a client's own");
    EXPECT_EQ(io_->reopen_log().error().message(), "the container has no log");
}

TEST_F(LoggedProcessIoTest, BothStreamsHaveOneLog) {
    runtime::TaskIo io = kept("");
    io.err.path += "2";
    EXPECT_EQ(refusal(std::move(io)),
              "one log for both streams, not '" + path_ + "' and '" + path_ + "2'");
}

TEST_F(KeptProcessIoTest, ALogWithoutADirectoryIsRefusedByName) {
    EXPECT_EQ(refusal(kept("")),
              "open the log '" + path_ + "': No such file or directory (ENOENT)");
}

}  // namespace
}  // namespace pepita::shim
