#include "shim/qmp.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::shim {
namespace {

/// The test is QEMU: it sees what is sent, and sends lines.
class QmpTest : public testing::Test {
protected:
    QmpTest() {
        auto ends = socket_pair();
        EXPECT_TRUE(ends.has_value());
        qemu_ = std::move(ends->first);
        qmp_ = *Qmp::create(*loop_, std::move(ends->second),
                            [this](const std::string& event, const std::string& device) {
                                events_.push_back(event + " " + device);
                            });
    }
    void say(std::string_view line) {
        EXPECT_TRUE(send_some(qemu_.ref(), std::as_bytes(std::span(line))).has_value());
        EXPECT_TRUE(loop_->run_once(std::chrono::seconds(20)).has_value());
    }
    void greet() {
        say("{\"QMP\": {\"version\": {}}}\n");
        EXPECT_EQ(heard(), "{\"execute\":\"qmp_capabilities\"}\n");
        say("{\"return\": {}}\n");
    }
    std::string heard() {
        std::array<char, 1024> bytes{};
        auto got = receive_some(qemu_.ref(), std::as_writable_bytes(std::span(bytes)));
        if (!got) {
            return "";
        }
        fds_ = std::move(got->fds);
        return {bytes.data(), got->size};
    }
    Qmp::OnReply note(const std::string& name) {
        return [this, name](const Result<void>& done) {
            replies_.push_back(name + ": " + (done ? "done" : done.error().message()));
        };
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Fd qemu_;
    std::unique_ptr<Qmp> qmp_;
    std::vector<std::string> events_;
    std::vector<std::string> replies_;
    std::vector<Fd> fds_;
};

TEST_F(QmpTest, WaitsForTheGreetingAndSendsOneCommandAfterTheOther) {
    qmp_->execute("stop", "", note("stop"));
    qmp_->execute("getfd", R"({"fdname":"a"})", note("getfd"), *open_file("/dev/null", O_RDONLY));
    EXPECT_EQ(heard(), "");
    greet();
    EXPECT_EQ(heard(), "{\"execute\":\"stop\"}\n");
    EXPECT_TRUE(fds_.empty());
    say("{\"return\": {}}\n");
    EXPECT_EQ(heard(), "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"a\"}}\n");
    EXPECT_EQ(fds_.size(), 1U);
    say("{\"return\": {}}\n");
    EXPECT_EQ(replies_, (std::vector<std::string>{"stop: done", "getfd: done"}));
}

TEST_F(QmpTest, AnErrorIsQemusOwn) {
    greet();
    qmp_->execute("device_del", R"({"id":"a"})", note("device_del"));
    say("{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'a' not found\"}}\n");
    EXPECT_EQ(replies_, std::vector<std::string>{"device_del: QEMU: Device 'a' not found"});
}

TEST_F(QmpTest, EventsComeBetweenRepliesAndInPieces) {
    greet();
    qmp_->execute("stop", "", note("stop"));
    say("{\"event\": \"STOP\", \"timestamp\": {}}\n{\"event\": \"DEVICE_DELETED\", ");
    say("\"data\": {\"device\": \"device-a\", \"path\": \"/x\"}}\n{\"return\": {}}\n");
    EXPECT_EQ(events_, (std::vector<std::string>{"STOP ", "DEVICE_DELETED device-a"}));
    EXPECT_EQ(replies_, std::vector<std::string>{"stop: done"});
}

TEST_F(QmpTest, TheEndAnswersWhatWaits) {
    greet();
    qmp_->execute("stop", "", note("stop"));
    qemu_ = Fd();
    EXPECT_TRUE(loop_->run_once(std::chrono::seconds(20)).has_value());
    qmp_->execute("cont", "", note("cont"));
    EXPECT_EQ(replies_, (std::vector<std::string>{"stop: QEMU has closed its QMP socket",
                                                  "cont: QEMU has closed its QMP socket"}));
}

TEST_F(QmpTest, WhatIsNoJsonEndsTheConnection) {
    greet();
    qmp_->execute("stop", "", note("stop"));
    say("nonsense\n");
    EXPECT_EQ(replies_, std::vector<std::string>{"stop: QMP line is no JSON object"});
}

}  // namespace
}  // namespace pepita::shim
