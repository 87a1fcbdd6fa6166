#include "cri/streaming/websocket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/streaming/framing.h"
#include "kernel-abi/sys/error.h"
#include "test/cri/streaming/recorder.h"

namespace pepita::cri {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A client's frame: masked, with a mask of zeros.
std::string frame(std::uint8_t first, const std::string& payload) {
    std::string text(1, static_cast<char>(first));
    if (payload.size() < 126) {
        text.push_back(static_cast<char>(0x80U | payload.size()));
    } else {
        text.push_back(static_cast<char>(0x80 | 126));
        text.push_back(static_cast<char>(payload.size() >> 8U));
        text.push_back(static_cast<char>(payload.size() & 0xffU));
    }
    return text + std::string(4, '\0') + payload;
}

constexpr std::uint8_t kFin = 0x80;
constexpr std::uint8_t kContinuation = 0;
constexpr std::uint8_t kBinary = 2;
constexpr std::uint8_t kClose = 8;
constexpr std::uint8_t kPing = 9;

class ChannelFramingTest : public testing::Test {
protected:
    void SetUp() override { open(ChannelFraming::Version::V5); }
    void open(ChannelFraming::Version version) {
        framing_ = *ChannelFraming::create(version, {{.number = 0,
                                                      .client_writes = true,
                                                      .headers = {{"streamtype", "stdin"}},
                                                      .greeting = {}},
                                                     {.number = 1,
                                                      .client_writes = false,
                                                      .headers = {{"streamtype", "stdout"}},
                                                      .greeting = {}}});
    }
    Result<void> feed(const std::string& bytes) { return framing_->feed(bytes_of(bytes), events_); }

    std::unique_ptr<ChannelFraming> framing_;
    Recorder events_;
};

TEST_F(ChannelFramingTest, OpensItsChannelsAtTheStart) {
    framing_->start(events_);
    EXPECT_THAT(events_.log, ElementsAre("open 0 stdin", "open 1 stdout"));
}

TEST_F(ChannelFramingTest, ReadsTheChannelOfAMessageInFragmentsWithAPingBetween) {
    ASSERT_TRUE(feed(frame(kBinary, std::string("\0ab", 3)) + frame(kFin | kPing, "hi") +
                     frame(kFin | kContinuation, "cd")));
    EXPECT_THAT(events_.log, ElementsAre("data 0 ab", "data 0 cd"));
    EXPECT_EQ(framing_->output(), "\x8a\x02hi");  // pong
}

TEST_F(ChannelFramingTest, IgnoresChannelsThatTheClientDoesNotWrite) {
    ASSERT_TRUE(feed(frame(kFin | kBinary, "\1x") + frame(kFin | kBinary, "\7x")));
    EXPECT_THAT(events_.log, IsEmpty());
}

TEST_F(ChannelFramingTest, ClosesAChannelOnceInVersion5) {
    ASSERT_TRUE(feed(frame(kFin | kBinary, std::string("\xff\0", 2)) +
                     frame(kFin | kBinary, std::string("\xff\0", 2)) +
                     frame(kFin | kBinary, std::string("\0late", 5))));
    EXPECT_THAT(events_.log, ElementsAre("finish 0"));
}

TEST_F(ChannelFramingTest, HasNoCloseInVersion4) {
    open(ChannelFraming::Version::V4);
    ASSERT_TRUE(feed(frame(kFin | kBinary, std::string("\xff\0", 2))));
    EXPECT_THAT(events_.log, IsEmpty());
}

TEST_F(ChannelFramingTest, SendsAChannelByteAndTheData) {
    framing_->send(StreamId{1}, bytes_of("out"));
    EXPECT_EQ(framing_->output(), "\x82\x04\x01out");
}

TEST_F(ChannelFramingTest, AnswersClose) {
    EXPECT_EQ(feed(frame(kFin | kClose, "\x03\xe8")).error().code(), Code::Cancelled);
    EXPECT_EQ(framing_->output(), "\x88\x02\x03\xe8");
}

TEST_F(ChannelFramingTest, RefusesAFrameWithoutMask) {
    EXPECT_EQ(feed(std::string("\x82\x02\0a", 4)).error().code(), Code::InvalidArgument);
    EXPECT_THAT(events_.log, IsEmpty());
}

TEST_F(ChannelFramingTest, RefusesReservedBits) {
    EXPECT_EQ(feed(frame(0xf2, "a")).error().code(), Code::InvalidArgument);
}

TEST(TunnelFraming, CarriesSpdyInMessages) {
    const auto framing = *TunnelFraming::create();
    Recorder events;
    const std::string ping("\x80\x03\0\x06\0\0\0\x04\0\0\0\x01", 12);
    ASSERT_TRUE(framing->feed(bytes_of(frame(kFin | kBinary, ping)), events));
    EXPECT_EQ(framing->output(), "\x82\x0c" + ping);
}

TEST(TunnelFraming, ReportsWhatIsNoSpdy) {
    const auto framing = *TunnelFraming::create();
    Recorder events;
    EXPECT_EQ(
        framing->feed(bytes_of(frame(kFin | kBinary, "\x80\x09xxxxxx")), events).error().code(),
        Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita::cri
