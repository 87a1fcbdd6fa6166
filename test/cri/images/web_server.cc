// The web servers of critest: nginx, and Apache under the name httpd. A page for each request; the
// process and its files look as nginx's do, which is what critest looks for.
//
// Usage: nginx PORT
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

constexpr std::string_view kMaster = "nginx: master process";
constexpr std::string_view kPage =
    "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 18\r\n"
    "Connection: close\r\n\r\nWelcome to nginx!\n";
constexpr std::size_t kRequestMax = 65536;

/// Ends the process, so that an idle connection holds no other one back.
[[noreturn]] void serve(const Fd& client) {
    std::string request;
    std::array<char, 4096> block{};
    while (!request.contains("\r\n\r\n") && request.size() < kRequestMax) {
        const ssize_t count = ::read(client.ref().number(), block.data(), block.size());
        if (count <= 0) {
            ::_exit(0);
        }
        request.append(block.data(), static_cast<std::size_t>(count));
    }
    ::_exit(write_all(client.ref(), kPage, "the client") ? 0 : 1);
}

Result<Fd> listen_at(std::uint16_t port) {
    Fd listener(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 address{};  // of IPv4 too
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    sockaddr_in older{};
    older.sin_family = AF_INET;
    older.sin_port = htons(port);
    const int yes = 1;
    const auto is_bound = [&](const void* to, socklen_t size) {
        // SAFETY: the socket interface's way to pass an address of any family.
        return ::setsockopt(listener.ref().number(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) ==
                   0 &&
               ::bind(listener.ref().number(), static_cast<const sockaddr*>(to), size) == 0;
    };
    if (!listener || !is_bound(&address, sizeof(address))) {
        listener = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!listener || !is_bound(&older, sizeof(older))) {
            return Error::from_errno(errno, "listen at port " + std::to_string(port));
        }
    }
    if (::listen(listener.ref().number(), SOMAXCONN) != 0) {
        return Error::from_errno(errno, "listen");
    }
    return listener;
}

Result<void> run(const std::string& name, std::uint16_t port) {
    (void)::signal(SIGTERM, [](int) { ::_exit(0); });  // process 1 has no default
    (void)::signal(SIGQUIT, [](int) { ::_exit(0); });
    (void)::signal(SIGCHLD, SIG_IGN);
    const Fd listener = TRY(listen_at(port));
    constexpr const char* pid_file = "/var/run/nginx.pid";
    const Fd file(::open(pid_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file) {
        return Error::from_errno(errno, "create '" + std::string(pid_file) + "'");
    }
    TRY(write_all(file.ref(), std::to_string(::getpid()) + "\n", pid_file));
    (void)::printf("%s: serving port %d\n", name.c_str(), port);
    (void)::fflush(stdout);
    for (;;) {
        const Fd client(::accept4(listener.ref().number(), nullptr, nullptr, SOCK_CLOEXEC));
        if (client && ::fork() == 0) {
            serve(client);
        }
    }
}

}  // namespace
}  // namespace pepita

int main(int argc, char** argv) {
    const std::string_view name = argv[0];
    std::uint16_t port = 0;
    const std::string_view text = argc == 2 ? argv[1] : "";
    if (std::from_chars(text.data(), text.data() + text.size(), port).ec != std::errc()) {
        (void)::fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    if (name.ends_with("nginx")) {  // once more, under the name that nginx gives itself
        std::string master(pepita::kMaster);
        std::array<char*, 3> arguments{master.data(), argv[1], nullptr};
        (void)::execv("/usr/sbin/nginx", arguments.data());
        return EXIT_FAILURE;
    }
    const auto done = pepita::run(
        name == pepita::kMaster ? "nginx" : std::string(name.substr(name.rfind('/') + 1)), port);
    (void)::fprintf(stderr, "%s: %s\n", argv[0], done.error().message().c_str());
    return EXIT_FAILURE;
}
