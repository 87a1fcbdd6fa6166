// The streaming server with a target of real processes and sockets, for streaming_test.py.
//
//   streaming_host [--certificate FILE --key FILE] [--idle-ms N] [--client-ms N] [--token-ms N]
//
// Reads one JSON object per line and answers with a URL or "error: …":
//   {"verb":"exec","command":[…],"streams":"ioet"} {"verb":"attach","container":SCRIPT,"streams":…}
//   {"verb":"forward","pod":"…","ports":[…]}          {"verb":"sessions"}, which answers with a
//   number
// An attach runs SCRIPT by the shell. A forward connects to the port on 127.0.0.1.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/streaming.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"
#include "test/cri/input_lines.h"

namespace pepita::cri {
namespace {

/// A child, and who is told of its end.
struct Running {
    Child child;
    EventLoop::Watch watch;
    StreamTarget::OnExit on_exit;
};

class Terminal final : public StreamedProcess {
public:
    explicit Terminal(Fd master) : master_(std::move(master)) {}
    void resize(TerminalSize size) override {
        if (master_) {
            const winsize window{
                .ws_row = size.height, .ws_col = size.width, .ws_xpixel = 0, .ws_ypixel = 0};
            ::ioctl(master_.ref().number(), TIOCSWINSZ, &window);
        }
    }

private:
    Fd master_;
};

class ChildTarget final : public StreamTarget {
public:
    explicit ChildTarget(EventLoop& loop) : loop_(loop) {}

    void exec(const ExecRequest& request, OnStarted on_started, OnExit on_exit) override {
        run(request.command, request.streams, std::move(on_started), std::move(on_exit));
    }

    void attach(const AttachRequest& request, OnStarted on_started, OnExit on_exit) override {
        run({"/bin/sh", "-c", request.container_id}, request.streams, std::move(on_started),
            std::move(on_exit));
    }

    void port_forward(const std::string& /*pod_id*/, std::uint16_t port,
                      OnConnected on_connected) override {
        Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(socket.ref().number(), reinterpret_cast<sockaddr*>(&address),
                      sizeof(address)) != 0) {
            return on_connected(
                Error::from_errno(errno, "connect to port " + std::to_string(port)));
        }
        on_connected(std::move(socket));
    }

private:
    void run(const std::vector<std::string>& command, const StreamChoice& choice,
             OnStarted on_started, OnExit on_exit) {
        StartedProcess ours;
        auto child = choice.tty ? start_on_terminal(command, ours) : start(command, choice, ours);
        if (!child) {
            return on_started(std::move(child).error());
        }
        const std::uint64_t id = next_id_++;
        auto running =
            std::make_unique<Running>(*std::move(child), EventLoop::Watch(), std::move(on_exit));
        auto watch =
            loop_.watch(running->child.pidfd(), EPOLLIN, [this, id](std::uint32_t) { on_end(id); });
        CHECK(watch.has_value());
        running->watch = *std::move(watch);
        running_.emplace(id, std::move(running));
        on_started(std::move(ours));
    }

    void on_end(std::uint64_t id) {
        auto running = std::move(running_.extract(id).mapped());
        running->watch.cancel();
        running->on_exit(running->child.reap().shell_status());
    }

    Result<Child> start(const std::vector<std::string>& command, const StreamChoice& choice,
                        StartedProcess& ours) {
        Pipe in = TRY(make_pipe());
        Pipe out = TRY(make_pipe());
        Pipe err = TRY(make_pipe());
        std::vector<PassedFd> fds;
        if (choice.in) {
            fds.push_back({.fd = in.read.ref(), .number = 0});
            ours.in = std::move(in.write);
        }
        if (choice.out) {
            fds.push_back({.fd = out.write.ref(), .number = 1});
            ours.out = std::move(out.read);
        }
        if (choice.err) {
            fds.push_back({.fd = err.write.ref(), .number = 2});
            ours.err = std::move(err.read);
        }
        return spawn({.path = command.front(),
                      .arguments = command,
                      .environment = {"PATH=/usr/bin:/bin"},
                      .fds = fds,
                      .prepare = {},
                      .instead_of_exec = {}});
    }

    Result<Child> start_on_terminal(const std::vector<std::string>& command, StartedProcess& ours) {
        Fd master = TRY(open_file("/dev/ptmx", O_RDWR | O_NOCTTY));
        CHECK(::unlockpt(master.ref().number()) == 0);
        Fd slave = TRY(open_file(::ptsname(master.ref().number()), O_RDWR | O_NOCTTY));
        ours.in = TRY(duplicate(master.ref()));
        ours.out = TRY(duplicate(master.ref()));
        ours.process = std::make_unique<Terminal>(std::move(master));
        const FdRef terminal = slave.ref();
        return spawn({.path = command.front(),
                      .arguments = command,
                      .environment = {"PATH=/usr/bin:/bin"},
                      .fds = {{.fd = terminal, .number = 0},
                              {.fd = terminal, .number = 1},
                              {.fd = terminal, .number = 2}},
                      .prepare =
                          [] {
                              ::setsid();
                              ::ioctl(0, TIOCSCTTY, 0);
                              return Result<void>();
                          },
                      .instead_of_exec = {}});
    }

    EventLoop& loop_;
    std::map<std::uint64_t, std::unique_ptr<Running>> running_;
    std::uint64_t next_id_ = 1;
};

StreamChoice parse_choice(std::string_view text) {
    return {.in = text.contains('i'),
            .out = text.contains('o'),
            .err = text.contains('e'),
            .tty = text.contains('t')};
}

Result<StreamRequest> parse_request(const runtime::oci::Object& object) {
    const std::string verb = TRY(object.text_or_empty("verb"));
    const StreamChoice choice = parse_choice(TRY(object.text_or_empty("streams")));
    if (verb == "exec") {
        return StreamRequest(ExecRequest{.container_id = "c",
                                         .command = TRY(object.texts_or_empty("command")),
                                         .streams = choice});
    }
    if (verb == "attach") {
        return StreamRequest(AttachRequest{.container_id = TRY(object.text_or_empty("container")),
                                           .streams = choice});
    }
    PortForwardRequest forward{.pod_id = TRY(object.text_or_empty("pod")), .ports = {}};
    if (const auto ports = object.find("ports")) {
        for (const runtime::oci::Node& port : TRY(ports->elements())) {
            forward.ports.push_back(static_cast<std::uint16_t>(TRY(port.natural(65'535))));
        }
    }
    return StreamRequest(std::move(forward));
}

Result<std::string> answer(StreamingServer& server, std::string_view line) {
    const runtime::oci::Json json = TRY(runtime::oci::parse_json(line));
    const runtime::oci::Object object = TRY(runtime::oci::Node(json, "request").object());
    if (TRY(object.text_or_empty("verb")) == "sessions") {
        return std::to_string(server.session_count());
    }
    return server.url_for(TRY(parse_request(object)));
}

std::chrono::milliseconds milliseconds(std::string_view text) {
    int value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return std::chrono::milliseconds(value);
}

Result<void> run(std::span<char*> arguments) {
    StreamingServer::Options options;
    for (std::size_t at = 1; at + 1 < arguments.size(); at += 2) {
        const std::string_view name = arguments[at];
        const char* value = arguments[at + 1];
        if (name == "--certificate") {
            options.certificate = TRY(read_file(value));
        } else if (name == "--key") {
            options.key = TRY(read_file(value));
        } else if (name == "--idle-ms") {
            options.idle_timeout = milliseconds(value);
        } else if (name == "--client-ms") {
            options.client_timeout = milliseconds(value);
        } else if (name == "--token-ms") {
            options.token_lifetime = milliseconds(value);
        }
    }
    auto loop = TRY(EventLoop::create());
    ChildTarget target(*loop);
    auto server = TRY(StreamingServer::create(*loop, target, std::move(options)));
    InputLines lines(*loop, [&server](const std::string& line) {
        const auto text = answer(*server, line);
        const std::string reply = text ? *text + "\n" : "error: " + text.error().message() + "\n";
        CHECK(write_all(FdRef(1), reply, "standard output").has_value());
    });
    TRY(lines.start());
    return loop->run();
}

}  // namespace
}  // namespace pepita::cri

int main(int count, char** arguments) {
    ::signal(SIGPIPE, SIG_IGN);
    const auto ran = pepita::cri::run({arguments, static_cast<std::size_t>(count)});
    if (!ran) {
        std::fprintf(stderr, "streaming_host: %s\n", ran.error().message().c_str());
        return 1;
    }
    return 0;
}
