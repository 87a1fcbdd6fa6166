#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/task_api.h"
#include "test/support/pod_fixture.h"

namespace pepita::shim {
namespace {

class PodStreamsTest : public test::PodTest {
protected:
    std::string log_path() const { return scratch_ + "/bundle/0.log"; }
    runtime::TaskIo logged() const {
        runtime::TaskIo io;
        io.out.path = "cri-log://" + log_path();
        io.err.path = io.out.path;
        return io;
    }
    test::Answer<void> reopen(const std::string& id) {
        return ask<void>([&](auto done) { pod_->reopen_log(id, std::move(done)); });
    }
    test::Answer<void> attach(const std::string& id, Fd out = {}) {
        return ask<void>([&](auto done) {
            pod_->attach({.container = id, .in = {}, .out = std::move(out), .err = {}},
                         std::move(done));
        });
    }
    test::Answer<void> connect_port() {
        auto [client, theirs] = *socket_pair();
        return ask<void>([&, &socket = theirs](auto done) {
            pod_->connect_port(80, std::move(socket), std::move(done));
        });
    }
};

TEST_F(PodStreamsTest, ALogIsReopenedWhileItsContainerRuns) {
    const auto created = create("a", logged());
    EXPECT_EQ(reopen("a")->value().error().message(), "container is being created");
    come_up();
    ASSERT_TRUE(created->value().has_value());
    std::filesystem::rename(log_path(), log_path() + ".old");
    EXPECT_TRUE(reopen("a")->value().has_value());
    EXPECT_TRUE(std::filesystem::exists(log_path()));
    ASSERT_TRUE(start("a")->value().has_value());
    EXPECT_TRUE(reopen("a")->value().has_value());
    EXPECT_TRUE(kill("a")->value().has_value());
    EXPECT_EQ(reopen("a")->value().error().message(), "container not running");
    EXPECT_EQ(reopen("b")->value().error().code(), Code::NotFound);
}

TEST_F(PodStreamsTest, AnAttacherSeesWhatTheContainerWrites) {
    auto [ours, guest] = *socket_pair();
    machine_.connected.out = std::move(ours);
    const auto created = create("a", logged());
    come_up();
    ASSERT_TRUE(start("a")->value().has_value());
    Pipe pipe = *make_pipe();
    ASSERT_TRUE(attach("a", std::move(pipe.write))->value().has_value());
    ASSERT_EQ(::send(guest.ref().number(), "hello\n", 6, MSG_NOSIGNAL), 6);
    settle();
    std::string text(6, '\0');
    ASSERT_EQ(::read(pipe.read.ref().number(), text.data(), text.size()), 6);
    EXPECT_EQ(text, "hello\n");
    std::ifstream log(log_path());
    const std::string content{std::istreambuf_iterator<char>(log), {}};
    EXPECT_TRUE(content.ends_with("Z stdout F hello\n"));
    const auto exit = wait("a");
    EXPECT_TRUE(kill("a")->value().has_value());
    EXPECT_FALSE(exit->has_value());  // its output is not all here yet
    { const Fd gone = std::move(guest); }
    settle();
    EXPECT_EQ(exit->value().value().exit_status, 137U);
    EXPECT_EQ(::read(pipe.read.ref().number(), text.data(), text.size()), 0);
    EXPECT_EQ(attach("a")->value().error().message(), "container not running");
    EXPECT_EQ(attach("b")->value().error().code(), Code::NotFound);
}

TEST_F(PodStreamsTest, PortsAreConnectedWhileTheGuestIsUp) {
    EXPECT_EQ(connect_port()->value().error().message(), "the pod is not running");
    ASSERT_TRUE(create_sandbox()->value().has_value());
    come_up();
    auto [ours, guest] = *socket_pair();
    machine_.connected.in = std::move(ours);
    EXPECT_TRUE(connect_port()->value().has_value());
    EXPECT_EQ(machine_.guest.dialed, 80);
    ASSERT_TRUE(stop_sandbox()->value().has_value());
    EXPECT_EQ(connect_port()->value().error().message(), "the pod is not running");
}

}  // namespace
}  // namespace pepita::shim
