#include "compute/transport/connection.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/socket.h"
#include "test/support/open_descriptors.h"

namespace pepita::compute {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// One end, and what it was told.
struct End {
    std::unique_ptr<Connection> connection;
    std::vector<std::pair<std::uint64_t, std::string>> tasks;
    std::vector<std::uint64_t> cancelled;
    std::map<std::uint64_t, std::string> results;  // or the message of its error
    std::string closed;

    void open(EventLoop& loop, Fd socket, const Connection::Options& options) {
        auto made = Connection::create(
            loop, std::move(socket), options,
            {.on_task = [this](auto id,
                               std::string payload) { tasks.emplace_back(id, std::move(payload)); },
             .on_cancel = [this](auto id) { cancelled.push_back(id); },
             .on_result =
                 [this](auto id, Result<std::string> output) {
                     results[id] = output ? *std::move(output) : output.error().message();
                 },
             .on_credit = [] {},
             .on_closed = [this](const Error& error) { closed = error.message(); }});
        ASSERT_TRUE(made);
        connection = *std::move(made);
    }
};

class TransportTest : public testing::Test {
protected:
    void SetUp() override {
        loop_ = *EventLoop::create();
        auto pair = socket_pair();
        ASSERT_TRUE(pair);
        pair_ = *std::move(pair);
    }
    void open_both(std::uint32_t credit) {
        pool_.open(*loop_, std::move(pair_.first), {});
        worker_.open(*loop_, std::move(pair_.second), {.credit = credit});
        run_until([&] { return pool_.connection->credit() == credit; });
    }
    /// The pool's end alone, with its hello sent to the test.
    void open_pool() { pool_.open(*loop_, std::move(pair_.first), {.credit = 1}); }

    template <typename Condition>
    void run_until(const Condition& condition) {
        const auto deadline = TimePoint::clock::now() + seconds(30);
        while (!condition()) {
            ASSERT_LT(TimePoint::clock::now(), deadline);
            ASSERT_TRUE(loop_->run_once(milliseconds(100)));
        }
    }
    void say(const std::vector<Frame>& frames, std::span<const FdRef> fds = {}) {
        std::string bytes;
        for (const Frame& frame : frames) {
            encode(frame, bytes);
        }
        ASSERT_TRUE(send_some(pair_.second.ref(), std::as_bytes(std::span(bytes)), fds));
    }

    std::unique_ptr<EventLoop> loop_;
    std::pair<Fd, Fd> pair_;
    End pool_;
    End worker_;
};

const Frame kHello{.type = FrameType::Hello,
                   .flags = 0,
                   .id = 0,
                   .payload = encode_hello({.version = 1, .credit = 1})};

TEST_F(TransportTest, ATaskHasItsResult) {
    open_both(2);
    ASSERT_TRUE(pool_.connection->send_task(1, "one"));
    ASSERT_TRUE(pool_.connection->send_task(2, ""));
    run_until([&] { return worker_.tasks.size() == 2; });
    EXPECT_EQ(worker_.tasks[0], (std::pair<std::uint64_t, std::string>(1, "one")));
    worker_.connection->send_result(2, std::string("two"));
    worker_.connection->send_result(1, Error(Code::NotFound, "no such function"));
    run_until([&] { return pool_.results.size() == 2; });
    EXPECT_EQ(pool_.results[1], "no such function");
    EXPECT_EQ(pool_.results[2], "two");
}

TEST_F(TransportTest, CreditBoundsWhatIsSent) {
    open_both(2);
    EXPECT_TRUE(pool_.connection->send_task(1, ""));
    EXPECT_EQ(pool_.connection->send_task(1, "").error().code(), Code::AlreadyExists);
    EXPECT_TRUE(pool_.connection->send_task(2, ""));
    EXPECT_EQ(pool_.connection->send_task(3, "").error().code(), Code::ResourceExhausted);
    run_until([&] { return worker_.tasks.size() == 2; });
    worker_.connection->send_result(1, std::string());
    run_until([&] { return pool_.connection->credit() == 1; });
    EXPECT_TRUE(pool_.connection->send_task(3, ""));
}

TEST_F(TransportTest, LargePayloadsGoThroughMemoryFilesAmongSmallOnes) {
    open_both(8);
    const std::string large(Connection::kFileSize, 'L');
    const std::string larger(Frame::kPayloadMax, 'M');
    const std::vector<std::string> payloads{"a", large, "b", larger, large, "c"};
    for (std::uint64_t id = 0; id < payloads.size(); ++id) {
        ASSERT_TRUE(pool_.connection->send_task(id, payloads[id]));
    }
    run_until([&] { return worker_.tasks.size() == payloads.size(); });
    for (std::uint64_t id = 0; id < payloads.size(); ++id) {
        EXPECT_EQ(worker_.tasks[id].first, id);
        EXPECT_TRUE(worker_.tasks[id].second == payloads[id]) << id;
    }
    worker_.connection->send_result(1, std::string(large));
    run_until([&] { return pool_.results.contains(1); });
    EXPECT_TRUE(pool_.results[1] == large);
    EXPECT_EQ(pool_.connection->send_task(99, larger + "x").error().code(), Code::OutOfRange);
}

TEST_F(TransportTest, ACancelledTaskHasAResultAllTheSame) {
    open_both(1);
    ASSERT_TRUE(pool_.connection->send_task(5, ""));
    pool_.connection->send_cancel(5);
    pool_.connection->send_cancel(6);  // there is none
    run_until([&] { return !worker_.cancelled.empty(); });
    EXPECT_EQ(worker_.cancelled, std::vector<std::uint64_t>{5});
    worker_.connection->send_result(5, Error(Code::Cancelled, "cancelled"));
    run_until([&] { return pool_.results.contains(5); });
}

TEST_F(TransportTest, TasksOfALostWorkerHaveTheirResultBeforeTheEnd) {
    open_both(2);
    ASSERT_TRUE(pool_.connection->send_task(1, ""));
    worker_.connection.reset();
    run_until([&] { return !pool_.closed.empty(); });
    EXPECT_TRUE(pool_.results[1].starts_with("the worker is lost: ")) << pool_.results[1];
    EXPECT_EQ(pool_.connection->credit(), 0U);
    EXPECT_EQ(pool_.connection->send_task(2, "").error().code(), Code::Unavailable);
}

TEST_F(TransportTest, ASilentPeerIsLost) {
    open_pool();
    say({kHello});
    run_until([&] { return !pool_.closed.empty(); });
    EXPECT_EQ(pool_.closed, "the peer is silent");
}

struct Lie {
    std::vector<Frame> frames;
    std::string message;
};

TEST_F(TransportTest, ALyingPeerIsLost) {
    const auto frame = [](FrameType type, std::uint64_t id, std::string payload = {}) {
        return Frame{.type = type, .flags = 0, .id = id, .payload = std::move(payload)};
    };
    Frame file = frame(FrameType::Task, 1, encode_u64(70'000));
    file.flags = Frame::kInFile;
    const std::vector<Lie> lies{
        {{frame(FrameType::Task, 1)}, "the peer sent something else than a hello at first"},
        {{kHello, kHello}, "the peer sent a second hello"},
        {{frame(FrameType::Hello, 0, encode_hello({.version = 9, .credit = 1}))},
         "the peer speaks version 9, not 1"},
        {{kHello, frame(FrameType::Task, 1), frame(FrameType::Task, 2)},
         "the peer sent a task beyond its credit"},
        {{kHello, frame(FrameType::Success, 1)}, "the peer sent a result of no task of ours"},
        {{kHello, file}, "the peer sent a frame without its memory file"},
    };
    for (const Lie& lie : lies) {
        pair_ = *socket_pair();
        pool_ = {};
        open_pool();
        say(lie.frames);
        run_until([&] { return !pool_.closed.empty(); });
        EXPECT_EQ(pool_.closed, lie.message);
    }
}

TEST_F(TransportTest, ADescriptorThatIsNoSealedMemoryFileIsRefused) {
    Frame file{.type = FrameType::Task, .flags = Frame::kInFile, .id = 1, .payload = encode_u64(5)};
    const auto refused = [&](FdRef fd) {
        pair_ = *socket_pair();
        pool_ = {};
        open_pool();
        say({kHello, file}, std::vector{fd});
        run_until([&] { return !pool_.closed.empty(); });
        return pool_.closed;
    };
    const Fd null = *open_file("/dev/null", O_RDONLY);
    EXPECT_EQ(refused(null.ref()), "the peer sent a descriptor that is no sealed memory file");
    const Fd memory(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(refused(memory.ref()), "the peer sent a descriptor that is no sealed memory file");
    ASSERT_EQ(::fcntl(memory.ref().number(), F_ADD_SEALS, F_SEAL_WRITE), 0);
    EXPECT_EQ(refused(memory.ref()), "the peer sent a memory file of another size than it says");
}

TEST_F(TransportTest, NothingIsLeftOpen) {
    pair_ = {};
    const std::size_t before = open_descriptors();
    pair_ = *socket_pair();
    open_both(4);
    ASSERT_TRUE(pool_.connection->send_task(1, std::string(Connection::kFileSize, 'x')));
    ASSERT_TRUE(pool_.connection->send_task(2, std::string(Connection::kFileSize, 'y')));
    run_until([&] { return worker_.tasks.size() == 2; });
    pool_.connection.reset();
    run_until([&] { return !worker_.closed.empty(); });
    worker_.connection.reset();
    EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace pepita::compute
