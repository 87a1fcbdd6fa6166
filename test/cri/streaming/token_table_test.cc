#include "cri/streaming/token_table.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <variant>

#include "cri/streaming.h"
#include "kernel-abi/sys/error.h"

namespace pepita::cri {
namespace {

using std::chrono::seconds;

class TokenTableTest : public testing::Test {
protected:
    static AttachRequest request() { return {.container_id = "web", .streams = {.out = true}}; }

    TokenTable table_{seconds(60)};
    TokenTable::Clock::time_point start_{seconds(1000)};
};

TEST_F(TokenTableTest, ATokenWorksOnce) {
    const std::string token = *table_.put(request(), start_);
    const auto taken = table_.take(token, start_);
    ASSERT_TRUE(taken);
    EXPECT_EQ(std::get<AttachRequest>(*taken).container_id, "web");
    EXPECT_FALSE(table_.take(token, start_));
}

TEST_F(TokenTableTest, ATokenExpires) {
    const std::string early = *table_.put(request(), start_);
    const std::string late = *table_.put(request(), start_ + seconds(1));
    EXPECT_FALSE(table_.take(early, start_ + seconds(60)));
    EXPECT_TRUE(table_.take(late, start_ + seconds(60)));
}

TEST_F(TokenTableTest, TokensDiffer) {
    EXPECT_NE(*table_.put(request(), start_), *table_.put(request(), start_));
}

TEST_F(TokenTableTest, RefusesOneTooManyUntilOneIsTakenOrExpires) {
    std::string last;
    for (std::size_t count = 0; count < TokenTable::kWaitingMax; ++count) {
        last = *table_.put(request(), start_);
    }
    EXPECT_EQ(table_.put(request(), start_).error().code(), Code::ResourceExhausted);
    ASSERT_TRUE(table_.take(last, start_));
    EXPECT_TRUE(table_.put(request(), start_));
    EXPECT_EQ(table_.put(request(), start_).error().code(), Code::ResourceExhausted);
    EXPECT_TRUE(table_.put(request(), start_ + seconds(60)));
}

}  // namespace
}  // namespace pepita::cri
