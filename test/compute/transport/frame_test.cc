#include "compute/transport/frame.h"

#include <gtest/gtest.h>

#include <span>
#include <string>

#include "kernel-abi/sys/error.h"

namespace pepita::compute {
namespace {

std::string encoded(const Frame& frame) {
    std::string bytes;
    encode(frame, bytes);
    return bytes;
}

std::string refused(const std::string& bytes) {
    FrameReader reader;
    reader.append(std::as_bytes(std::span(bytes)));
    const auto frame = reader.next();
    EXPECT_FALSE(frame);
    return frame ? "" : frame.error().message();
}

TEST(TransportFrame, IsReadAsItWasWrittenHoweverItIsCut) {
    const Frame task{.type = FrameType::Task, .flags = 0, .id = 7, .payload = "abc"};
    const Frame beat{.type = FrameType::Heartbeat, .flags = 0, .id = 0, .payload = {}};
    const std::string bytes = encoded(task) + encoded(beat);
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
        FrameReader reader;
        std::vector<Frame> frames;
        for (const std::string& part : {bytes.substr(0, cut), bytes.substr(cut)}) {
            reader.append(std::as_bytes(std::span(part)));
            for (;;) {
                auto frame = reader.next();
                ASSERT_TRUE(frame);
                if (!*frame) {
                    break;
                }
                frames.push_back(**frame);
            }
        }
        EXPECT_EQ(frames, (std::vector<Frame>{task, beat})) << cut;
    }
}

TEST(TransportFrame, TheLargestIsTakenAndOneMoreIsRefused) {
    std::string bytes = encoded({.type = FrameType::Task,
                                 .flags = 0,
                                 .id = 1,
                                 .payload = std::string(Frame::kPayloadMax, 'x')});
    FrameReader reader;
    reader.append(std::as_bytes(std::span(bytes)));
    const auto frame = reader.next();
    ASSERT_TRUE(frame);
    EXPECT_EQ((*frame)->payload.size(), Frame::kPayloadMax);
    bytes[0] = 1;
    EXPECT_EQ(refused(bytes.substr(0, Frame::kHeaderSize)),
              "a frame with a payload of 16777217 bytes");
}

TEST(TransportFrame, WhatIsNoFrameIsRefusedByItsHeader) {
    const std::string good =
        encoded({.type = FrameType::Cancel, .flags = 0, .id = 1, .payload = {}});
    std::string bytes = good;
    bytes[4] = 0;
    EXPECT_EQ(refused(bytes), "a frame with type 0");
    bytes[4] = 7;
    EXPECT_EQ(refused(bytes), "a frame with type 7");
    bytes = good;
    bytes[5] = 1;  // a cancel has nothing that could be in a file
    EXPECT_EQ(refused(bytes), "a frame with flags 1");
    bytes = good;
    bytes[7] = 1;
    EXPECT_EQ(refused(bytes), "a frame with bytes that must be 0");
}

TEST(TransportHello, AnotherVersionIsNamed) {
    const auto hello = decode_hello(encode_hello({.version = 1, .credit = Hello::kCreditMax}));
    ASSERT_TRUE(hello);
    EXPECT_EQ(hello->credit, Hello::kCreditMax);
    const auto other = decode_hello(encode_hello({.version = 2, .credit = 1}));
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().code(), Code::Unsupported);
    EXPECT_EQ(other.error().message(), "the peer speaks version 2, not 1");
    EXPECT_FALSE(decode_hello(encode_hello({.version = 1, .credit = Hello::kCreditMax + 1})));
    EXPECT_FALSE(decode_hello("1234567"));
    EXPECT_FALSE(decode_hello("123456789"));
}

}  // namespace
}  // namespace pepita::compute
