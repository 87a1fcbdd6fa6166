#include "vmm/vsock/handshake.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pepita::vmm::vsock {
namespace {

std::size_t feed(Handshake& handshake, std::string_view text) {
    return handshake.take(std::as_bytes(std::span(text)));
}

std::optional<std::uint32_t> port_of(std::string_view line) {
    Handshake handshake;
    EXPECT_EQ(feed(handshake, line), line.size());
    EXPECT_TRUE(handshake.is_complete());
    return handshake.port();
}

TEST(Handshake, ReadsThePort) {
    EXPECT_EQ(port_of("CONNECT 52\n"), 52U);
    EXPECT_EQ(port_of("CONNECT 4294967295\n"), 4294967295U);
}

TEST(Handshake, LeavesWhatFollowsTheLine) {
    Handshake handshake;
    EXPECT_EQ(feed(handshake, "CONNECT 52\nhello"), 11U);
    EXPECT_EQ(handshake.port(), 52U);
}

TEST(Handshake, TakesALineInPieces) {
    Handshake handshake;
    EXPECT_EQ(feed(handshake, "CONN"), 4U);
    EXPECT_FALSE(handshake.is_complete());
    EXPECT_EQ(feed(handshake, "ECT 7\n"), 6U);
    EXPECT_EQ(handshake.port(), 7U);
}

TEST(Handshake, RefusesWhatIsNoRequest) {
    EXPECT_EQ(port_of("\n"), std::nullopt);
    EXPECT_EQ(port_of("CONNECT \n"), std::nullopt);
    EXPECT_EQ(port_of("CONNECT -1\n"), std::nullopt);
    EXPECT_EQ(port_of("CONNECT 4294967296\n"), std::nullopt);
    EXPECT_EQ(port_of("CONNECT 52 53\n"), std::nullopt);
    EXPECT_EQ(port_of("GET / HTTP/1.1\n"), std::nullopt);
}

TEST(Handshake, LineMayHave32BytesAndNoMore) {
    const std::string zeros(Handshake::kLineMax - 11, '0');
    EXPECT_EQ(port_of("CONNECT " + zeros + "52\n"), 52U);
    Handshake handshake;
    EXPECT_EQ(feed(handshake, "CONNECT 0" + zeros + "52\n"), Handshake::kLineMax);
    EXPECT_TRUE(handshake.is_complete());
    EXPECT_EQ(handshake.port(), std::nullopt);
}

TEST(Handshake, AnswersAsFirecrackerDoes) {
    EXPECT_EQ(accepted_line(1U << 30U), "OK 1073741824\n");
}

}  // namespace
}  // namespace pepita::vmm::vsock
