#include "runtime/container/home.h"

#include <gtest/gtest.h>

#include <string>

namespace pepita::runtime::container {
namespace {

TEST(Home, IsTheFirstEntrysOfThatUser) {
    const std::string passwd =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n"
        "again:x:1000:1000::/home/again:\n";
    EXPECT_EQ(home_of(passwd, 0), "/root");
    EXPECT_EQ(home_of(passwd, 1000), "/home/web");
    EXPECT_EQ(home_of(passwd, 1001), "/");
}

TEST(Home, LinesThatAreNoEntriesArePassedOver) {
    EXPECT_EQ(home_of("", 0), "/");
    EXPECT_EQ(home_of("\n:::\nroot:x:0:0:root:/root\nroot:x:0:0:root:/six:fields:more\n", 0), "/");
    EXPECT_EQ(home_of("a:x:0x0:0::/a:\nb:x:-0:0::/b:\nc:x::0::/c:\nd:x:0:0::/d:", 0), "/d");
    EXPECT_EQ(home_of("a:x:4294967296:0::/wrapped:\n", 0), "/");
    EXPECT_EQ(home_of("a:x:0:0::relative:\n", 0), "/");
}

}  // namespace
}  // namespace pepita::runtime::container
