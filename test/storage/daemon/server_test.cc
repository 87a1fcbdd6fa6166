#include "storage/daemon/server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/channel.h"
#include "storage/api/storage_api.h"
#include "test/support/fake_storage_service.h"

namespace pepita::storage::daemon {
namespace {

class ServerTest : public testing::Test {
protected:
    ServerTest() {
        std::string name = testing::TempDir() + "server_XXXXXX";
        directory_ = ::mkdtemp(name.data());
        path_ = directory_ + "/s";
    }
    ~ServerTest() override { std::filesystem::remove_all(directory_); }
    ServerTest(const ServerTest&) = delete;
    ServerTest& operator=(const ServerTest&) = delete;
    ServerTest(ServerTest&&) = delete;
    ServerTest& operator=(ServerTest&&) = delete;

    Result<std::unique_ptr<Server>> listen() { return Server::listen(*loop_, path_, service_); }

    std::string directory_;
    std::string path_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    test::FakeStorageService service_;
};

TEST_F(ServerTest, ServesClientsAtASocketOfItsOwner) {
    const auto server = listen();
    ASSERT_TRUE(server.has_value());
    struct stat found{};
    ASSERT_EQ(::stat(path_.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777U, 0600U);
    const auto channel = *runtime::Channel::create(*loop_, *connect_unix(path_), {});
    api::StorageClient client(channel);
    bool is_answered = false;
    client.remove("web", [&](const Result<void>& answer) { is_answered = answer.has_value(); });
    while (!is_answered) {
        ASSERT_TRUE(loop_->run_once(std::chrono::seconds(20)).has_value());
    }
    EXPECT_EQ(service_.method, "remove");
}

TEST_F(ServerTest, TheSocketGoesWithIt) {
    listen().value().reset();
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ServerTest, ReplacesASocketThatNobodyListensAt) {
    listen_unix(path_).value() = Fd();
    ASSERT_TRUE(std::filesystem::exists(path_));
    EXPECT_TRUE(listen().has_value());
}

TEST_F(ServerTest, LeavesAlonePathsThatAreTaken) {
    const Fd other = *listen_unix(path_);
    const auto server = listen();
    ASSERT_FALSE(server.has_value());
    EXPECT_EQ(server.error().code(), Code::AlreadyExists);
    EXPECT_EQ(server.error().message(), "another process listens at '" + path_ + "'");
    EXPECT_TRUE(connect_unix(path_).has_value());
}

TEST_F(ServerTest, LeavesAFileAlone) {
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), path_, "mine", 0600).has_value());
    const auto server = listen();
    ASSERT_FALSE(server.has_value());
    EXPECT_EQ(server.error().message(), "'" + path_ + "' is no socket");
    EXPECT_EQ(read_file(path_).value(), "mine");
}

TEST_F(ServerTest, AClientWithRubbishLosesItsConnectionAndNothingElse) {
    const auto server = listen();
    const Fd rubbish = *connect_unix(path_);
    const std::vector<std::byte> bytes(64, std::byte{0xff});
    ASSERT_TRUE(send_some(rubbish.ref(), bytes).has_value());
    std::vector<std::byte> into(1);
    Result<Received> end = receive_some(rubbish.ref(), into);
    while (!end && end.error().code() == Code::Unavailable && end.error().sys_errno() == EAGAIN) {
        ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(100)).has_value());
        end = receive_some(rubbish.ref(), into);
    }
    EXPECT_TRUE(!end || end->size == 0);
    EXPECT_TRUE(connect_unix(path_).has_value());
}

TEST_F(ServerTest, ALockIsHeldByOne) {
    Result<Fd> first = take_lock(path_);
    ASSERT_TRUE(first.has_value());
    const Result<Fd> second = take_lock(path_);
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), Code::FailedPrecondition);
    first = Error(Code::Internal, "given back");
    EXPECT_TRUE(take_lock(path_).has_value());
}

}  // namespace
}  // namespace pepita::storage::daemon
