#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

class Connection;
class HttpServer;
class TokenTable;
class UpgradedSocket;
struct Agreement;
struct HttpReply;
struct HttpRequest;

/// Which standard streams a client wants. With `tty` there is no `err`.
struct StreamChoice {
    bool in = false;
    bool out = false;
    bool err = false;
    bool tty = false;
};

struct ExecRequest {
    std::string container_id;
    std::vector<std::string> command;
    StreamChoice streams;
};

struct AttachRequest {
    std::string container_id;
    StreamChoice streams;
};

struct PortForwardRequest {
    std::string pod_id;
    std::vector<std::uint16_t> ports;  // for WebSocket clients without SPDY, which cannot name any
};

using StreamRequest = std::variant<ExecRequest, AttachRequest, PortForwardRequest>;

struct TerminalSize {
    std::uint16_t width = 0;
    std::uint16_t height = 0;
};

/// A process whose streams a client holds. It goes when the client has, or when its end has been
/// reported; what an abandoned process then does is the target's decision.
class StreamedProcess {
public:
    StreamedProcess() = default;
    StreamedProcess(const StreamedProcess&) = delete;
    StreamedProcess& operator=(const StreamedProcess&) = delete;
    StreamedProcess(StreamedProcess&&) = delete;
    StreamedProcess& operator=(StreamedProcess&&) = delete;
    virtual ~StreamedProcess() = default;

    virtual void resize(TerminalSize size) = 0;
};

/// Our ends of the streams that the request chose: pipes, sockets or terminals, no two of them the
/// same number, and nobody else's open files, for they become non-blocking. `in` closes where the
/// client half-closes its stream.
struct StartedProcess {
    Fd in;
    Fd out;
    Fd err;
    std::unique_ptr<StreamedProcess> process;
};

/// Who runs what clients ask for. Calls arrive on the server's loop and return at once; the
/// callbacks are called later, or within, on the same thread, also after the server has gone.
class StreamTarget {
public:
    using OnStarted = std::move_only_function<void(Result<StartedProcess>)>;
    /// The exit status as the shell counts; an Error where it is not known. After OnStarted.
    using OnExit = std::move_only_function<void(Result<std::uint32_t>)>;
    using OnConnected = std::move_only_function<void(Result<Fd>)>;

    StreamTarget() = default;
    StreamTarget(const StreamTarget&) = delete;
    StreamTarget& operator=(const StreamTarget&) = delete;
    StreamTarget(StreamTarget&&) = delete;
    StreamTarget& operator=(StreamTarget&&) = delete;
    virtual ~StreamTarget() = default;

    virtual void exec(const ExecRequest& request, OnStarted on_started, OnExit on_exit) = 0;
    virtual void attach(const AttachRequest& request, OnStarted on_started, OnExit on_exit) = 0;
    /// A connected stream socket to the pod's port.
    virtual void port_forward(const std::string& pod_id, std::uint16_t port,
                              OnConnected on_connected) = 0;
};

/// The server behind the URLs of Exec, Attach and PortForward: SPDY/3.1 and WebSocket, over HTTP
/// or TLS. A URL works once and for a minute. Thread: that of `loop`; the process ignores SIGPIPE.
class StreamingServer {
public:
    struct Options {
        std::string address = "127.0.0.1";  // numeric
        std::uint16_t port = 0;             // 0: any
        std::string certificate;            // PEM; TLS if not empty
        std::string key;                    // PEM
        unsigned connections_max = 512;
        std::chrono::milliseconds token_lifetime{60'000};
        std::chrono::milliseconds idle_timeout{4 * 3'600'000};  // the kubelet's default
        /// For the client's request, and for the streams that it has to open.
        std::chrono::milliseconds client_timeout{30'000};
        /// For the client's close at the end.
        std::chrono::milliseconds linger_timeout{3'000};
        /// After a process has ended, its children may hold its output open: so long a silence
        /// ends it.
        std::chrono::milliseconds output_grace{1'000};
    };

    /// `target` is borrowed for the server's life. Errors: as HttpServer::create().
    static Result<std::unique_ptr<StreamingServer>> create(EventLoop& loop, StreamTarget& target,
                                                           Options options);
    StreamingServer(const StreamingServer&) = delete;
    StreamingServer& operator=(const StreamingServer&) = delete;
    StreamingServer(StreamingServer&&) = delete;
    StreamingServer& operator=(StreamingServer&&) = delete;
    /// Ends every session.
    ~StreamingServer();

    /// The URL for the client. The caller has checked that the container or pod exists.
    /// Errors: InvalidArgument for a choice of streams that CRI excludes; ResourceExhausted while
    /// 1000 URLs wait for their clients.
    Result<std::string> url_for(StreamRequest request);

    std::size_t session_count() const { return connections_.size(); }

private:
    StreamingServer(EventLoop& loop, StreamTarget& target, Options options);
    HttpReply on_request(const HttpRequest& request);
    void on_upgraded(UpgradedSocket socket, std::string_view early, const Agreement& agreement,
                     const StreamRequest& request);

    EventLoop& loop_;
    StreamTarget& target_;
    Options options_;
    std::unique_ptr<TokenTable> tokens_;
    std::unique_ptr<HttpServer> http_;
    std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
    std::uint64_t next_id_ = 1;
};

}  // namespace pepita::cri
