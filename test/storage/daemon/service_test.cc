#include "storage/daemon/service.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/channel.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/node.h"
#include "storage/daemon/worker.h"
#include "test/support/channel_pair.h"
#include "test/support/fake_volumes.h"

namespace pepita::storage::daemon {
namespace {

using api::FrontEnd;
using api::VolumeInfo;
using Lines = std::vector<std::string>;

/// A client, a channel, the service and its worker, over fakes.
class ServiceTest : public testing::Test {
protected:
    ServiceTest() {
        std::string name = testing::TempDir() + "service_XXXXXX";
        directory_ = ::mkdtemp(name.data());
        EXPECT_TRUE(pair_
                        .answer<void>([&](auto done) {
                            service_.open([this] { return make_node(); }, std::move(done));
                        })
                        .has_value());
    }
    ~ServiceTest() override {
        worker_.reset();  // before what its tasks use
        std::filesystem::remove_all(directory_);
    }
    ServiceTest(const ServiceTest&) = delete;
    ServiceTest& operator=(const ServiceTest&) = delete;
    ServiceTest(ServiceTest&&) = delete;
    ServiceTest& operator=(ServiceTest&&) = delete;

    Result<std::unique_ptr<Node>> make_node() {
        Node::Parts parts{.backing = std::make_unique<test::FakeBacking>(log_),
                          .exporters = {},
                          .state = *open_file(directory_.c_str(), O_RDONLY | O_DIRECTORY)};
        parts.exporters[FrontEnd::VhostUser] = std::make_unique<test::FakeExporter>(log_);
        return Node::open(std::move(parts));
    }
    Result<void> create(const std::string& name) {
        return pair_.answer<void>([&](auto done) {
            client_.create({.name = name, .capacity = Bytes(4096), .file = ""}, std::move(done));
        });
    }

    std::string directory_;
    test::VolumeLog log_;
    test::ChannelPair pair_{
        [this](runtime::Channel::Call call) { dispatch(service_, std::move(call)); }};
    std::unique_ptr<Worker> worker_ = *Worker::start();
    Service service_{*pair_.loop, *worker_};
    api::StorageClient client_{pair_.client};
};

TEST_F(ServiceTest, EveryCallReachesTheNode) {
    const Fd null = *open_file("/dev/null", O_RDWR);
    ASSERT_TRUE(create("a").has_value());
    const auto call = [&](auto ask) { return pair_.answer<void>(std::move(ask)).has_value(); };
    EXPECT_TRUE(call([&](auto done) { client_.snapshot("a", null.ref(), std::move(done)); }));
    EXPECT_TRUE(call([&](auto done) { client_.restore("a", null.ref(), std::move(done)); }));
    EXPECT_EQ(pair_
                  .answer<std::string>(
                      [&](auto done) { client_.attach("a", {.queues = 2}, std::move(done)); })
                  .value(),
              "/fake/a");
    EXPECT_TRUE(call([&](auto done) { client_.resize("a", Bytes(8192), std::move(done)); }));
    EXPECT_EQ(
        pair_.answer<std::vector<VolumeInfo>>([&](auto done) { client_.list(std::move(done)); })
            .value()
            .size(),
        1U);
    EXPECT_EQ(pair_.answer<api::StorageStats>([&](auto done) { client_.stats(std::move(done)); })
                  .value()
                  .store.objects,
              9U);
    EXPECT_TRUE(call([&](auto done) { client_.detach("a", std::move(done)); }));
    EXPECT_TRUE(call([&](auto done) { client_.remove("a", std::move(done)); }));
    EXPECT_EQ(log_.lines, (Lines{"remove strays but", "create a", "snapshot a", "restore a",
                                 "open a", "attach a 2", "resize a 8192", "resized /fake/a",
                                 "stop /fake/a", "remove a"}));
}

TEST_F(ServiceTest, AnErrorOfTheNodeComesBack) {
    ASSERT_TRUE(create("a").has_value());
    const Result<void> again = create("a");
    ASSERT_FALSE(again.has_value());
    EXPECT_EQ(again.error().code(), Code::AlreadyExists);
}

TEST_F(ServiceTest, AClientThatLeavesAfterItsCallHasItDoneAndNobodyIsTold) {
    bool is_answered = false;
    client_.create({.name = "a", .capacity = Bytes(4096), .file = ""},
                   [&](const Result<void>& answer) { is_answered = answer.has_value(); });
    pair_.client->close();
    // Until the server has seen both the call and the end of the connection.
    EXPECT_TRUE(pair_
                    .answer<std::vector<VolumeInfo>>([&](auto done) {
                        pair_.loop->post([this, done = std::move(done)]() mutable {
                            service_.list(std::move(done));
                        });
                    })
                    .has_value());
    EXPECT_FALSE(is_answered);
}

TEST_F(ServiceTest, AnEndAnswersWhatWasAskedAndNothingAfter) {
    ASSERT_TRUE(create("a").has_value());
    ASSERT_TRUE(
        pair_.answer<std::string>([&](auto done) { client_.attach("a", {}, std::move(done)); })
            .has_value());
    std::vector<std::string> answers;
    service_.remove(
        "x", [&](const Result<void>& answer) { answers.push_back(answer.error().message()); });
    bool is_over = false;
    service_.stop(Node::Ending::Leave, [&] { is_over = true; });
    service_.remove(
        "x", [&](const Result<void>& answer) { answers.push_back(answer.error().message()); });
    while (!is_over) {
        ASSERT_TRUE(pair_.loop->run_once(std::chrono::seconds(20)).has_value());
    }
    EXPECT_EQ(answers, (Lines{"the daemon is ending", "volume 'x' does not exist"}));
    EXPECT_EQ(log_.lines.back(), "leave /fake/a");
}

TEST_F(ServiceTest, ACallTooManyIsRefused) {
    std::size_t refused = 0;
    std::size_t answered = 0;
    for (std::size_t count = 0; count <= Service::kWaitingMax; ++count) {
        service_.detach("x", [&](const Result<void>& answer) {
            answer.error().code() == Code::ResourceExhausted ? ++refused : ++answered;
        });
    }
    EXPECT_EQ(refused, 1U);
    while (answered < Service::kWaitingMax) {
        ASSERT_TRUE(pair_.loop->run_once(std::chrono::seconds(20)).has_value());
    }
    EXPECT_TRUE(create("a").has_value());
}

}  // namespace
}  // namespace pepita::storage::daemon
