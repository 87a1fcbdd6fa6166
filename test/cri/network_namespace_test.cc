#include "cri/network_namespace.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"

namespace pepita::cri {
namespace {

class NetworkNamespaceTest : public testing::Test {
protected:
    NetworkNamespaceTest() { EXPECT_NE(::mkdtemp(root_.data()), nullptr); }
    ~NetworkNamespaceTest() override { std::filesystem::remove_all(root_); }

    static std::string text_of(const std::string& path) {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    std::string root_ = "/tmp/pepita-netns-XXXXXX";
};

TEST_F(NetworkNamespaceTest, HasAnInterfaceThatIsUpAndIsNotOurs) {
    const std::string path = root_ + "/below/pod";
    const auto made = make_network_namespace(path);
    ASSERT_TRUE(made) << made.error().message();
    struct stat ours{};
    struct stat its{};
    ASSERT_EQ(::stat("/proc/self/ns/net", &ours), 0);
    ASSERT_EQ(::stat(path.c_str(), &its), 0);
    EXPECT_NE(ours.st_ino, its.st_ino);
    std::string routes;
    std::thread([&] {
        const Fd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        ASSERT_EQ(::setns(there.ref().number(), CLONE_NEWNET), 0);
        // Linux lists an interface's addresses once it is up.
        routes =
            text_of("/proc/thread-self/net/if_inet6") + text_of("/proc/thread-self/net/fib_trie");
    }).join();
    EXPECT_NE(routes.find("127.0.0.1"), std::string::npos);
    EXPECT_EQ(make_network_namespace(path).error().code(), Code::AlreadyExists);
    ASSERT_TRUE(remove_network_namespace(path));
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_TRUE(remove_network_namespace(path));
}

TEST_F(NetworkNamespaceTest, OneThatCannotBeMadeLeavesNothing) {
    std::ofstream(root_ + "/file") << "text";
    EXPECT_FALSE(make_network_namespace(root_ + "/file/pod"));
    EXPECT_EQ(make_network_namespace(root_ + "/file").error().code(), Code::AlreadyExists);
    EXPECT_EQ(text_of(root_ + "/file"), "text");
}

}  // namespace
}  // namespace pepita::cri
