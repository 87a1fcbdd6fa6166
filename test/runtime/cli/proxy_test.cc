#include "runtime/proxy.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::runtime::cli {
namespace {

Proxy start() {
    auto proxy = start_proxy({});
    EXPECT_TRUE(proxy.has_value()) << proxy.error().message();
    return *std::move(proxy);
}

void send_number(const Proxy& proxy, std::uint32_t number) {
    EXPECT_EQ(send_some(proxy.socket.ref(), std::as_bytes(std::span(&number, 1))).value_or(0), 4U);
}

std::uint32_t receive_number(const Proxy& proxy) {
    pollfd ready{.fd = proxy.socket.ref().number(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&ready, 1, 10'000), 1);
    std::uint32_t number = 0;
    const auto got =
        receive_some(proxy.socket.ref(), std::as_writable_bytes(std::span(&number, 1)));
    EXPECT_EQ(got.has_value() ? got->size : 0, 4U);
    return number;
}

TEST(Proxy, ExitsWithTheStatusItIsTold) {
    Proxy proxy = start();
    send_number(proxy, 42);
    EXPECT_EQ(proxy.process.reap(), (ChildExit{.by_signal = false, .value = 42}));
}

TEST(Proxy, IsInTheNetworkThatIsGiven) {
    const Proxy first = start();
    const auto network_of = [](const Proxy& proxy) {
        return "/proc/" + std::to_string(proxy.process.pid()) + "/ns/net";
    };
    const auto second = start_proxy({}, std::nullopt, network_of(first));
    ASSERT_TRUE(second.has_value());
    const auto inode = [](const std::string& path) {
        struct stat about{};
        EXPECT_EQ(::stat(path.c_str(), &about), 0);
        return about.st_ino;
    };
    EXPECT_EQ(inode(network_of(*second)), inode(network_of(first)));
    const auto third = start_proxy({}, std::nullopt, "/nowhere");
    ASSERT_TRUE(third.has_value());
    EXPECT_NE(inode(network_of(*third)), inode(network_of(first)));
    EXPECT_NE(inode(network_of(*third)), inode("/proc/self/ns/net"));
}

TEST(Proxy, StatusMayComeInPieces) {
    Proxy proxy = start();
    const std::array<std::byte, 4> status{std::byte{7}};
    EXPECT_EQ(send_some(proxy.socket.ref(), std::span(status).first(1)).value_or(0), 1U);
    EXPECT_EQ(send_some(proxy.socket.ref(), std::span(status).last(3)).value_or(0), 3U);
    EXPECT_EQ(proxy.process.reap(), (ChildExit{.by_signal = false, .value = 7}));
}

TEST(Proxy, LostShimIs255) {
    Proxy proxy = start();
    { const Fd closed = std::move(proxy.socket); }
    EXPECT_EQ(proxy.process.reap(), (ChildExit{.by_signal = false, .value = 255}));
}

TEST(Proxy, PassesSignalsOnAndLivesOn) {
    Proxy proxy = start();
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGWINCH, SIGTSTP,
                             SIGABRT, SIGRTMIN}) {
        proxy.process.send_signal(signal);
        EXPECT_EQ(receive_number(proxy), static_cast<std::uint32_t>(signal));
    }
    send_number(proxy, 0);
    EXPECT_EQ(proxy.process.reap(), ChildExit());
}

TEST(Proxy, KilledIsAnEndOfFileAtTheShim) {
    Proxy proxy = start();
    proxy.process.send_signal(SIGKILL);
    (void)proxy.process.reap();
    std::array<std::byte, 4> bytes{};
    EXPECT_EQ(receive_some(proxy.socket.ref(), bytes)->size, 0U);
}

TEST(Proxy, HasASessionANameAndNothingElseOpen) {
    const Proxy proxy = start();
    const pid_t pid = proxy.process.pid();
    EXPECT_EQ(::getsid(pid), pid);
    const std::string proc = "/proc/" + std::to_string(pid);
    std::ifstream comm(proc + "/comm");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(comm), {}), "pepita-proxy\n");
    EXPECT_EQ(std::filesystem::read_symlink(proc + "/cwd"), "/");
    // 0 to 2 are /dev/null, 3 the socket, 4 what it reads signals from, once it has come that far.
    struct stat output{};
    ASSERT_EQ(::stat((proc + "/fd/1").c_str(), &output), 0);
    EXPECT_EQ(output.st_rdev, makedev(1, 3));
    EXPECT_LE(std::distance(std::filesystem::directory_iterator(proc + "/fd"), {}), 5);
}

}  // namespace
}  // namespace pepita::runtime::cli
