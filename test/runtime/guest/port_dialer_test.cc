#include "runtime/guest/port_dialer.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/guest/stream_server.h"

namespace pepita::runtime::guest {
namespace {

// A port of this machine's loopback, in one family.
struct Listening {
    Fd socket;
    std::uint16_t port = 0;
};

Listening listen_on(int family, int backlog = 8) {
    Listening made{.socket = Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0))};
    sockaddr_in6 address{};
    socklen_t size = sizeof(address);
    const int number = made.socket.ref().number();
    // SAFETY: sockaddr is the head that every socket address shares (POSIX <sys/socket.h>).
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (family == AF_INET) {
        sockaddr_in ip4{};
        ip4.sin_family = AF_INET;
        ip4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        std::memcpy(&address, &ip4, sizeof(ip4));
        size = sizeof(ip4);
    } else {
        const int only = 1;
        (void)::setsockopt(number, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
        address.sin6_family = AF_INET6;
        address.sin6_addr = in6addr_loopback;
    }
    if (::bind(number, generic, size) != 0 || ::listen(number, backlog) != 0 ||
        ::getsockname(number, generic, &size) != 0) {
        return {};
    }
    made.port = ntohs(address.sin6_port);  // at the same place in both
    return made;
}

class PortDialerTest : public testing::Test {
protected:
    void SetUp() override { (void)::signal(SIGPIPE, SIG_IGN); }

    Result<std::uint64_t> dial(std::uint16_t port) {
        std::optional<Result<std::uint64_t>> answer;
        dialer_->dial(port,
                      [&](Result<std::uint64_t> number) { answer.emplace(std::move(number)); });
        until([&] { return answer.has_value(); });
        return std::move(answer).value();
    }
    // The host's end of a stream.
    Fd connect(std::uint64_t number) {
        auto [ours, theirs] = *socket_pair();
        streams_.add(std::move(theirs));
        EXPECT_EQ(::send(ours.ref().number(), &number, sizeof(number), MSG_NOSIGNAL), 8);
        return std::move(ours);
    }
    void until(const std::function<bool()>& claim) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        bool holds = claim();
        while (!holds && std::chrono::steady_clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(10)).has_value());
            holds = claim();
        }
        ASSERT_TRUE(holds);
    }
    // What comes until the end of the stream.
    std::string read_all(const Fd& fd) {
        std::string text;
        until([&] {
            std::array<char, 256> part{};
            const ssize_t got = ::recv(fd.ref().number(), part.data(), part.size(), MSG_DONTWAIT);
            text.append(part.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
            return got == 0 || (got < 0 && errno != EAGAIN);
        });
        return text;
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    StreamServer streams_{*loop_};
    std::unique_ptr<PortDialer> dialer_ = std::make_unique<PortDialer>(*loop_, streams_);
};

TEST_F(PortDialerTest, AStreamIsJoinedWithThePort) {
    const Listening server = listen_on(AF_INET);
    const auto number = dial(server.port);
    const Fd host = connect(number.value());
    const Fd accepted(::accept(server.socket.ref().number(), nullptr, nullptr));
    ASSERT_EQ(::send(host.ref().number(), "question", 8, MSG_NOSIGNAL), 8);
    ASSERT_EQ(::shutdown(host.ref().number(), SHUT_WR), 0);
    EXPECT_EQ(read_all(accepted), "question");
    ASSERT_EQ(::send(accepted.ref().number(), "answer", 6, MSG_NOSIGNAL), 6);
    ASSERT_EQ(::shutdown(accepted.ref().number(), SHUT_WR), 0);
    EXPECT_EQ(read_all(host), "answer");
}

TEST_F(PortDialerTest, APortThatOnlyIp6HasIsFound) {
    const Listening server = listen_on(AF_INET6);
    if (server.port == 0) {
        GTEST_SKIP() << "this machine has no IPv6";
    }
    EXPECT_TRUE(dial(server.port).has_value());
}

TEST_F(PortDialerTest, APortWhereNobodyListensIsNamedWithTheReason) {
    std::uint16_t port = 0;
    {
        const Listening gone = listen_on(AF_INET);
        port = gone.port;
    }
    const auto number = dial(port);
    EXPECT_EQ(number.error().code(), Code::Unavailable);
    EXPECT_EQ(number.error().message(),
              "port " + std::to_string(port) + ": connect: Connection refused (ECONNREFUSED)");
}

TEST_F(PortDialerTest, AServerThatGoesEndsTheStream) {
    const Listening server = listen_on(AF_INET);
    const Fd host = connect(dial(server.port).value());
    { const Fd accepted(::accept(server.socket.ref().number(), nullptr, nullptr)); }
    EXPECT_EQ(read_all(host), "");
}

TEST_F(PortDialerTest, ConnectionsHaveALimit) {
    const Listening server = listen_on(AF_INET, PortDialer::kConnectionsMax);
    std::vector<std::uint64_t> numbers;
    for (std::size_t i = 0; i < PortDialer::kConnectionsMax; ++i) {
        numbers.push_back(dial(server.port).value());
    }
    EXPECT_EQ(dial(server.port).error().code(), Code::ResourceExhausted);
    {
        const Fd host = connect(numbers.front());
        const Fd accepted(::accept(server.socket.ref().number(), nullptr, nullptr));
    }
    // Both sides are gone: there is room again.
    Result<std::uint64_t> again = dial(server.port);
    until([&] {
        again = again ? std::move(again) : dial(server.port);
        return again.has_value();
    });
}

TEST_F(PortDialerTest, ADialerThatGoesTakesItsNumbersWithIt) {
    const Listening server = listen_on(AF_INET);
    const std::uint64_t number = dial(server.port).value();
    dialer_.reset();
    EXPECT_EQ(read_all(connect(number)), "");
}

}  // namespace
}  // namespace pepita::runtime::guest
