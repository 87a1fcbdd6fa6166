#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/streaming/tls.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"

struct MHD_Daemon;
struct MHD_UpgradeResponseHandle;

namespace pepita::cri {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// A request without its body, which is read and dropped.
struct HttpRequest {
    std::string method;
    std::string path;  // without the query
    HttpHeaders headers;

    /// Every value of that header, in order; lists that are joined by commas are split.
    std::vector<std::string_view> values(std::string_view name) const;
    /// The first of them, or "".
    std::string_view value(std::string_view name) const;
};

class HttpServer;

/// A connection that is no longer HTTP's. Its socket is non-blocking; under TLS it is one end of
/// a pair whose other end the server encrypts. Closed when this goes. It must not outlive the
/// server.
class UpgradedSocket {
public:
    UpgradedSocket(UpgradedSocket&& other) noexcept
        : server_(other.server_), handle_(std::exchange(other.handle_, nullptr)), fd_(other.fd_) {}
    UpgradedSocket& operator=(UpgradedSocket&&) = delete;
    UpgradedSocket(const UpgradedSocket&) = delete;
    UpgradedSocket& operator=(const UpgradedSocket&) = delete;
    ~UpgradedSocket();

    FdRef fd() const { return fd_; }

private:
    friend class HttpServer;
    UpgradedSocket(HttpServer& server, MHD_UpgradeResponseHandle* handle, FdRef fd)
        : server_(&server), handle_(handle), fd_(fd) {}

    HttpServer* server_;
    MHD_UpgradeResponseHandle* handle_;
    FdRef fd_;
};

struct HttpReply {
    /// Called for a reply of 101 once the client has it; `early` is what it sent meanwhile.
    using OnUpgraded = std::move_only_function<void(UpgradedSocket, std::string early)>;

    unsigned status = 200;
    HttpHeaders headers;
    std::string body;
    OnUpgraded on_upgraded;
};

/// HTTP/1.1 by libmicrohttpd, on our loop: no thread of its own. Thread: that of `loop`.
class HttpServer {
public:
    struct Tls {
        std::string certificate;  // PEM
        std::string key;          // PEM
    };
    struct Options {
        std::string address = "127.0.0.1";  // IPv4 or IPv6, numeric
        std::uint16_t port = 0;             // 0: any
        /// Its path instead of both, for root alone.
        std::string unix_socket = {};  // NOLINT(readability-redundant-member-init): may be left out
        std::optional<Tls> tls;
        unsigned connections_max = 512;
        std::chrono::seconds request_timeout{30};
    };
    using Handler = std::move_only_function<HttpReply(const HttpRequest&)>;

    static constexpr std::size_t kRequestSizeMax = std::size_t{32} * 1024;

    /// Errors: InvalidArgument for an address or certificate that is none; bind(2)'s.
    static Result<std::unique_ptr<HttpServer>> create(EventLoop& loop, const Options& options,
                                                      Handler handler);
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;
    HttpServer(HttpServer&&) = delete;
    HttpServer& operator=(HttpServer&&) = delete;
    /// Upgraded sockets have gone before.
    ~HttpServer();

    /// "http://127.0.0.1:4711", or "unix:PATH"
    const std::string& base_url() const { return base_url_; }

private:
    friend class UpgradedSocket;
    struct Callbacks;  // libmicrohttpd's
    struct Exchange;

    HttpServer(EventLoop& loop, Handler handler) : loop_(loop), handler_(std::move(handler)) {}
    Result<void> start(const Options& options, Fd listener);
    Result<void> start_tls(const Tls& tls, Fd listener);
    void on_tls_client(Fd client);
    Result<void> relay(Fd client);
    void run();
    void run_soon();

    EventLoop& loop_;
    Handler handler_;
    std::string base_url_;
    MHD_Daemon* daemon_ = nullptr;
    EventLoop::Watch watch_;
    EventLoop::Timer timer_;

    // With TLS only.
    unsigned relays_max_ = 0;
    std::chrono::milliseconds handshake_timeout_{0};
    std::unique_ptr<TlsIdentity> identity_;
    std::map<std::uint64_t, std::unique_ptr<TlsRelay>> relays_;
    std::uint64_t next_relay_ = 1;
    std::unique_ptr<Listener> listener_;
};

}  // namespace pepita::cri
