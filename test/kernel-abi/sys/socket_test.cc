#include "kernel-abi/sys/socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

TEST(Socket, CarriesDescriptorsBesideBytes) {
    auto [a, b] = *socket_pair();
    const Fd null = *open_file("/dev/null", O_RDONLY);
    const std::array<std::byte, 3> bytes{};
    const std::array<FdRef, 2> fds{null.ref(), null.ref()};
    ASSERT_EQ(send_some(a.ref(), bytes, fds).value_or(0), 3U);
    std::array<std::byte, 16> into{};
    const auto received = receive_some(b.ref(), into);
    ASSERT_TRUE(received.has_value());
    EXPECT_EQ(received->size, 3U);
    ASSERT_EQ(received->fds.size(), 2U);
    EXPECT_NE(::fcntl(received->fds[0].ref().number(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(Socket, CarriesAsManyDescriptorsAsTheKernelDoes) {
    auto [a, b] = *socket_pair();
    const Fd null = *open_file("/dev/null", O_RDONLY);
    const std::vector<FdRef> fds(253, null.ref());
    const std::array<std::byte, 1> byte{};
    ASSERT_EQ(send_some(a.ref(), byte, fds).value_or(0), 1U);
    std::array<std::byte, 1> into{};
    EXPECT_EQ(receive_some(b.ref(), into).value().fds.size(), 253U);
}

TEST(Socket, EmptySocketIsUnavailableAndAnEndIsZeroBytes) {
    auto [a, b] = *socket_pair();
    std::array<std::byte, 16> into{};
    EXPECT_EQ(receive_some(b.ref(), into).error().sys_errno(), EAGAIN);
    { const Fd gone = std::move(a); }
    EXPECT_EQ(receive_some(b.ref(), into).value().size, 0U);
}

TEST(Socket, PathOfOneByteTooManyIsRefusedByName) {
    const std::string path(108, 'x');
    const auto listener = listen_unix(path);
    ASSERT_FALSE(listener.has_value());
    EXPECT_EQ(listener.error().code(), Code::InvalidArgument);
    EXPECT_EQ(listener.error().message(), "socket path '" + path + "' must have 1 to 107 bytes");
}

TEST(Socket, TakenPathAlreadyExists) {
    const std::string path = "/tmp/pepita-socket-test-" + std::to_string(::getpid());
    const auto first = listen_unix(path);
    ASSERT_TRUE(first.has_value());
    EXPECT_EQ(listen_unix(path).error().code(), Code::AlreadyExists);
    EXPECT_TRUE(connect_unix(path).has_value());
    EXPECT_EQ(::unlink(path.c_str()), 0);
    EXPECT_EQ(connect_unix(path).error().code(), Code::NotFound);
}

TEST(Socket, X4_NoLinkIsFollowedInADirectoryOfOthers) {
    std::string scratch = testing::TempDir() + "pepita-socket-XXXXXX";
    ASSERT_NE(::mkdtemp(scratch.data()), nullptr);
    const Fd directory = *open_file(scratch.c_str(), O_RDONLY | O_DIRECTORY);
    const auto listener = listen_unix_at(directory.ref(), "real.sock");
    ASSERT_TRUE(listener.has_value());
    EXPECT_TRUE(connect_unix_at(directory.ref(), "real.sock").has_value());
    ASSERT_EQ(::symlinkat("real.sock", directory.ref().number(), "link.sock"), 0);
    EXPECT_EQ(connect_unix_at(directory.ref(), "link.sock").error().sys_errno(), ELOOP);
    ASSERT_EQ(::symlinkat(scratch.c_str(), directory.ref().number(), "there"), 0);
    EXPECT_EQ(connect_unix_at(directory.ref(), "there/real.sock").error().sys_errno(), ELOOP);
    EXPECT_EQ(connect_unix_at(directory.ref(), "../x").error().sys_errno(), EXDEV);
    EXPECT_EQ(connect_unix_at(directory.ref(), ".").error().code(), Code::InvalidArgument);
    EXPECT_EQ(connect_unix_at(directory.ref(), "none").error().code(), Code::NotFound);
    std::filesystem::remove_all(scratch);
}

TEST(Socket, X1_NothingWaitsWhateverTheFlagsOfTheSocketSay) {
    auto [a, b] = *socket_pair();
    for (const Fd* const end : {&a, &b}) {
        ASSERT_EQ(::fcntl(end->ref().number(), F_SETFL, 0), 0);
    }
    std::array<std::byte, 4096> bytes{};
    EXPECT_EQ(receive_some(b.ref(), bytes).error().sys_errno(), EAGAIN);
    Result<std::size_t> sent = std::size_t{0};
    while (sent) {
        sent = send_some(a.ref(), bytes);
    }
    EXPECT_EQ(sent.error().sys_errno(), EAGAIN);
}

TEST(UnixSocket, ModeIsAsAskedWhateverTheUmask) {
    const std::string path = testing::TempDir() + "/mode.sock";
    for (const mode_t mode : {0600U, 0666U}) {
        const auto listener = listen_unix(path, mode);
        ASSERT_TRUE(listener.has_value()) << listener.error().message();
        struct stat status{};
        ASSERT_EQ(::stat(path.c_str(), &status), 0);
        EXPECT_EQ(status.st_mode & 0777U, mode);
        EXPECT_TRUE(connect_unix(path).has_value());
        ASSERT_EQ(::unlink(path.c_str()), 0);
    }
}

}  // namespace
}  // namespace pepita
