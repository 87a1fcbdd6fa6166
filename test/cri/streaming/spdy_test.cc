#include "cri/streaming/spdy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/streaming/framing.h"
#include "cri/streaming/spdy_dictionary.h"
#include "test/cri/streaming/recorder.h"

namespace pepita::cri {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string big_endian(std::uint32_t value) {
    std::string text;
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
        text.push_back(static_cast<char>(value >> shift & 0xffU));
    }
    return text;
}

std::string control(std::uint16_t type, std::uint8_t flags, const std::string& body) {
    return big_endian(0x8003'0000U | type) +
           big_endian(std::uint32_t{flags} << 24U | static_cast<std::uint32_t>(body.size())) + body;
}

std::string data(std::uint32_t id, std::uint8_t flags, const std::string& body) {
    return big_endian(id) +
           big_endian(std::uint32_t{flags} << 24U | static_cast<std::uint32_t>(body.size())) + body;
}

class SpdyFramingTest : public testing::Test {
protected:
    std::string open(std::uint32_t id, std::uint8_t flags = 0, const std::string& type = "stdin") {
        return control(1, flags,
                       big_endian(id) + big_endian(0) + std::string(2, '\0') +
                           client_->deflate({{"streamtype", type}}));
    }
    Result<void> feed(const std::string& bytes) { return framing_->feed(bytes_of(bytes), events_); }

    std::unique_ptr<SpdyHeaderCodec> client_ = *SpdyHeaderCodec::create();
    std::unique_ptr<SpdyFraming> framing_ = *SpdyFraming::create();
    Recorder events_;
};

TEST(SpdyDictionary, IsThatOfTheDraft) {
    std::string all;
    for (const std::string_view word : kSpdyDictionaryWords) {
        all += big_endian(static_cast<std::uint32_t>(word.size())) + std::string(word);
    }
    all += kSpdyDictionaryText;
    EXPECT_EQ(all.size(), 1423U);
    EXPECT_EQ(::adler32(::adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(all.data()),
                        static_cast<uInt>(all.size())),
              0xe3c6a7c2U);
}

TEST_F(SpdyFramingTest, ReportsStreamDataAndHalfClose) {
    ASSERT_TRUE(feed(open(1) + data(1, 0, "abc") + data(1, 1, "d")));
    EXPECT_THAT(events_.log, ElementsAre("open 1 stdin", "data 1 abc", "data 1 d", "finish 1"));
}

TEST_F(SpdyFramingTest, ParsesFramesThatComeByteByByte) {
    for (const char byte : open(1) + data(1, 1, "ab")) {
        ASSERT_TRUE(feed(std::string(1, byte)));
    }
    EXPECT_THAT(events_.log, ElementsAre("open 1 stdin", "data 1 a", "data 1 b", "finish 1"));
}

TEST_F(SpdyFramingTest, SharesOneCompressionContextAmongStreams) {
    ASSERT_TRUE(feed(open(1, 0, "error")));
    ASSERT_TRUE(feed(open(3, 1, "stdout")));
    EXPECT_THAT(events_.log, ElementsAre("open 1 error", "open 3 stdout", "finish 3"));
}

TEST_F(SpdyFramingTest, EchoesPing) {
    const std::string ping = control(6, 0, big_endian(7));
    ASSERT_TRUE(feed(ping));
    EXPECT_EQ(framing_->output(), ping);
}

TEST_F(SpdyFramingTest, DoesNotAnswerAPingOfItsOwnNumbers) {
    ASSERT_TRUE(feed(control(6, 0, big_endian(8))));
    EXPECT_THAT(framing_->output(), IsEmpty());
}

TEST_F(SpdyFramingTest, SendsDataAndFinishOnce) {
    ASSERT_TRUE(feed(open(1)));
    framing_->send(StreamId{1}, bytes_of("xy"));
    framing_->finish(StreamId{1});
    framing_->finish(StreamId{1});
    framing_->send(StreamId{1}, bytes_of("late"));
    EXPECT_EQ(framing_->output(), data(1, 0, "xy") + data(1, 1, ""));
}

TEST_F(SpdyFramingTest, IgnoresDataOfStreamsThatEnded) {
    ASSERT_TRUE(feed(open(1, 1) + data(1, 0, "late") + data(9, 0, "never opened")));
    EXPECT_THAT(events_.log, ElementsAre("open 1 stdin", "finish 1"));
}

TEST_F(SpdyFramingTest, ReportsReset) {
    ASSERT_TRUE(feed(open(1) + control(3, 0, big_endian(1) + big_endian(5))));
    EXPECT_THAT(events_.log, ElementsAre("open 1 stdin", "reset 1"));
}

TEST_F(SpdyFramingTest, RefusesOneStreamTooMany) {
    std::string all;
    for (std::uint32_t index = 0; index <= SpdyFraming::kStreamsMax; ++index) {
        all += open(2 * index + 1);
    }
    ASSERT_TRUE(feed(all));
    EXPECT_EQ(events_.log.size(), SpdyFraming::kStreamsMax);
    EXPECT_EQ(framing_->output(),
              control(3, 0, big_endian(2 * SpdyFraming::kStreamsMax + 1) + big_endian(3)));
}

TEST_F(SpdyFramingTest, RefusesStreamNumbersThatGoBack) {
    ASSERT_TRUE(feed(open(3)));
    EXPECT_THAT(feed(open(1)).error().message(), HasSubstr("stream 1 is not next"));
}

TEST_F(SpdyFramingTest, RefusesAnotherVersion) {
    EXPECT_THAT(feed(big_endian(0x8002'0006U) + big_endian(4)).error().message(),
                HasSubstr("another version"));
}

TEST_F(SpdyFramingTest, TakesAControlFrameAtTheLimitAndRefusesOneMore) {
    constexpr std::uint32_t kMax = SpdyFraming::kControlFrameSizeMax;
    ASSERT_TRUE(feed(control(4, 0, std::string(kMax, '\0'))));
    EXPECT_THAT(feed(big_endian(0x8003'0004U) + big_endian(kMax + 1)).error().message(),
                HasSubstr("control frame of 65537 bytes"));
}

TEST_F(SpdyFramingTest, RefusesHeadersThatInflateBeyondTheLimit) {
    const std::string bomb =
        client_->deflate({{"a", std::string(SpdyHeaderCodec::kBlockSizeMax, 'x')}});
    EXPECT_LT(bomb.size(), 1000U);
    EXPECT_THAT(feed(control(1, 0, big_endian(1) + big_endian(0) + std::string(2, '\0') + bomb))
                    .error()
                    .message(),
                HasSubstr("inflates to more than 65536 bytes"));
}

TEST_F(SpdyFramingTest, RefusesHeadersThatAreNoZlibData) {
    EXPECT_THAT(feed(control(1, 0, big_endian(1) + big_endian(0) + std::string(2, '\0') + "junk"))
                    .error()
                    .message(),
                HasSubstr("no zlib data"));
}

TEST(SpdyHeaderCodec, RefusesACountBeyondItsBlock) {
    StreamHeaders many(SpdyHeaderCodec::kHeadersMax + 1, {"a", "b"});
    const auto client = *SpdyHeaderCodec::create();
    const auto server = *SpdyHeaderCodec::create();
    EXPECT_THAT(server->inflate(bytes_of(client->deflate(many))).error().message(),
                HasSubstr("more than 64 headers"));
}

TEST(SpdyHeaderCodec, TakesAsManyHeadersAsTheLimit) {
    const StreamHeaders many(SpdyHeaderCodec::kHeadersMax, {"a", "b"});
    const auto client = *SpdyHeaderCodec::create();
    const auto server = *SpdyHeaderCodec::create();
    EXPECT_EQ(server->inflate(bytes_of(client->deflate(many))).value(), many);
}

}  // namespace
}  // namespace pepita::cri
