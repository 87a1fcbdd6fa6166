#include "cri/network_usage.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cri/network_namespace.h"
#include "kernel-abi/sys/error.h"

namespace pepita::cri {
namespace {

constexpr std::string_view kHead =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
    "fifo colls carrier compressed\n";

TEST(NetworkUsage, IsThatOfThePodsOwnInterfaces) {
    const std::string text = std::string(kHead) +
                             "    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n"
                             "  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n"
                             " eth0:1: 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
                             "pepita2: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n";
    const std::vector<InterfaceUsage> found = parse_network_usage(text);
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0], (InterfaceUsage{.name = "eth0",
                                        .received_bytes = 1,
                                        .received_packets = 2,
                                        .receive_errors = 3,
                                        .receive_drops = 4,
                                        .sent_bytes = 5,
                                        .sent_packets = 6,
                                        .send_errors = 7,
                                        .send_drops = 8}));
    EXPECT_EQ(found[1].name, "eth0:1");
    EXPECT_EQ(found[1].received_bytes, 18'446'744'073'709'551'615U);
}

TEST(NetworkUsage, LinesThatAreNoneArePassedOver) {
    EXPECT_TRUE(parse_network_usage("").empty());
    EXPECT_TRUE(parse_network_usage(kHead).empty());
    EXPECT_TRUE(parse_network_usage("eth0: 1 2 3\n: 1\n  \neth1: a b c\n").empty());
}

TEST(NetworkUsage, AThreadReturnsFromTheNamespaceThatItLooksInto) {
    const std::string path = "/tmp/pepita-usage-netns";
    ASSERT_TRUE(make_network_namespace(path));
    struct stat before{};
    struct stat after{};
    ASSERT_EQ(::stat("/proc/thread-self/ns/net", &before), 0);
    const auto usage = read_network_usage(path);
    ASSERT_EQ(::stat("/proc/thread-self/ns/net", &after), 0);
    EXPECT_TRUE(remove_network_namespace(path));
    ASSERT_TRUE(usage) << usage.error().message();
    EXPECT_TRUE(usage->empty());
    EXPECT_EQ(before.st_ino, after.st_ino);
    EXPECT_EQ(read_network_usage(path).error().code(), Code::NotFound);
}

}  // namespace
}  // namespace pepita::cri
