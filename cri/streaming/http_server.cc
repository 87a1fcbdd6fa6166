#include "cri/streaming/http_server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/streaming/same_name.h"
#include "cri/streaming/tls.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::cri {
namespace {

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;
    bool is_v6 = false;
};

// SAFETY: sockaddr_storage is made to hold every family's address.
Result<Address> parse_address(const std::string& text, std::uint16_t port) {
    Address address;
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address.size = sizeof(*v4);
        return address;
    }
    if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        address.size = sizeof(*v6);
        address.is_v6 = true;
        return address;
    }
    return Error(Code::InvalidArgument, "'" + text + "' is no IPv4 or IPv6 address");
}

// SAFETY: as parse_address().
Result<Fd> listen_at(const Address& address, const std::string& name) {
    const int family = address.is_v6 ? AF_INET6 : AF_INET;
    Fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) {
        return Error::from_errno(errno, "socket");
    }
    const int on = 1;
    ::setsockopt(socket.ref().number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(socket.ref().number(), reinterpret_cast<const sockaddr*>(&address.storage),
               address.size) != 0) {
        return Error::from_errno(errno, "bind '" + name + "'");
    }
    if (::listen(socket.ref().number(), SOMAXCONN) != 0) {
        return Error::from_errno(errno, "listen '" + name + "'");
    }
    return socket;
}

// SAFETY: as parse_address(). sin_port and sin6_port have the same place.
Result<std::uint16_t> port_of(FdRef socket) {
    sockaddr_storage storage{};
    socklen_t size = sizeof(storage);
    if (::getsockname(socket.number(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
        return Error::from_errno(errno, "getsockname");
    }
    return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

struct Listening {
    Fd socket;
    std::string url;
};

Result<Listening> listen_at_address(const HttpServer::Options& options) {
    const std::string name =
        options.address.contains(':') ? "[" + options.address + "]" : options.address;
    const Address address = TRY(parse_address(options.address, options.port));
    Fd socket = TRY(listen_at(address, name + ":" + std::to_string(options.port)));
    const std::uint16_t port = TRY(port_of(socket.ref()));
    return Listening{
        .socket = std::move(socket),
        .url = (options.tls ? "https://" : "http://") + name + ":" + std::to_string(port)};
}

Result<Listening> listen_at_path(const std::string& path) {
    constexpr mode_t mode = 0600;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return Error::from_errno(errno, "remove '" + path + "'");
    }
    return Listening{.socket = TRY(listen_unix(path, mode)), .url = "unix:" + path};
}

MHD_OptionItem option(MHD_OPTION name, std::intptr_t value) {
    return {.option = name, .value = value, .ptr_value = nullptr};
}

MHD_Result add_header(void* to, MHD_ValueKind /*kind*/, const char* name, const char* value) {
    static_cast<HttpHeaders*>(to)->emplace_back(name, value == nullptr ? "" : value);
    return MHD_YES;
}

}  // namespace

std::vector<std::string_view> HttpRequest::values(std::string_view name) const {
    std::vector<std::string_view> found;
    for (const auto& [key, joined] : headers) {
        if (!same_name(key, name)) {
            continue;
        }
        std::string_view rest = joined;
        while (!rest.empty()) {
            const std::size_t comma = std::min(rest.find(','), rest.size());
            if (const std::string_view one = trimmed(rest.substr(0, comma)); !one.empty()) {
                found.push_back(one);
            }
            rest.remove_prefix(std::min(comma + 1, rest.size()));
        }
    }
    return found;
}

std::string_view HttpRequest::value(std::string_view name) const {
    const std::vector<std::string_view> all = values(name);
    return all.empty() ? std::string_view() : all.front();
}

UpgradedSocket::~UpgradedSocket() {
    if (handle_ != nullptr) {
        ::MHD_upgrade_action(handle_, MHD_UPGRADE_ACTION_CLOSE);
        server_->run_soon();
    }
}

/// One request and what becomes of it; libmicrohttpd notifies us of its end.
struct HttpServer::Exchange {
    HttpServer* server;
    HttpReply::OnUpgraded on_upgraded;
};

// SAFETY: libmicrohttpd passes back the pointers that we gave it.
struct HttpServer::Callbacks {
    // NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature
    static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url,
                                 const char* method, const char* /*version*/, const char* /*body*/,
                                 std::size_t* body_size, void** exchange) {
        if (*exchange == nullptr) {  // the head is complete, a body may follow
            *exchange =
                std::make_unique<Exchange>(static_cast<HttpServer*>(self), HttpReply::OnUpgraded())
                    .release();
            return MHD_YES;
        }
        if (*body_size > 0) {
            *body_size = 0;
            return MHD_YES;
        }
        HttpRequest request{.method = method, .path = url, .headers = {}};
        ::MHD_get_connection_values(connection, MHD_HEADER_KIND, add_header, &request.headers);
        return reply(*static_cast<Exchange*>(*exchange), connection,
                     static_cast<HttpServer*>(self)->handler_(request));
    }

    static MHD_Result reply(Exchange& exchange, MHD_Connection* connection, HttpReply reply) {
        MHD_Response* response = nullptr;
        if (reply.on_upgraded) {
            exchange.on_upgraded = std::move(reply.on_upgraded);
            response = ::MHD_create_response_for_upgrade(on_upgrade, &exchange);
        } else {
            response = ::MHD_create_response_from_buffer(reply.body.size(), reply.body.data(),
                                                         MHD_RESPMEM_MUST_COPY);
        }
        if (response == nullptr) {
            return MHD_NO;  // closes the connection
        }
        for (const auto& [name, value] : reply.headers) {
            ::MHD_add_response_header(response, name.c_str(), value.c_str());
        }
        const MHD_Result queued = ::MHD_queue_response(connection, reply.status, response);
        ::MHD_destroy_response(response);
        return queued;
    }

    // NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature
    static void on_upgrade(void* cls, MHD_Connection* /*connection*/, void* /*exchange*/,
                           const char* early, std::size_t early_size, MHD_socket socket,
                           MHD_UpgradeResponseHandle* handle) {
        auto& exchange = *static_cast<Exchange*>(cls);
        const int on = 1;
        // Fails on the pair of a TLS connection, which has no such delay.
        ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        UpgradedSocket upgraded(*exchange.server, handle, FdRef(socket));
        if (set_nonblocking(FdRef(socket))) {
            exchange.on_upgraded(std::move(upgraded), std::string(early, early_size));
        }
    }

    static void on_completed(void* /*self*/, MHD_Connection* /*connection*/, void** exchange,
                             MHD_RequestTerminationCode /*why*/) {
        const std::unique_ptr<Exchange> ended(
            static_cast<Exchange*>(std::exchange(*exchange, nullptr)));
    }
};

Result<std::unique_ptr<HttpServer>> HttpServer::create(EventLoop& loop, const Options& options,
                                                       Handler handler) {
    Listening listening = TRY(options.unix_socket.empty() ? listen_at_address(options)
                                                          : listen_at_path(options.unix_socket));
    std::unique_ptr<HttpServer> server(new HttpServer(loop, std::move(handler)));
    server->base_url_ = std::move(listening.url);
    TRY(server->start(options, std::move(listening.socket)));
    return server;
}

Result<void> HttpServer::start(const Options& options, Fd listener) {
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_UPGRADE | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
    std::vector<MHD_OptionItem> items = {
        option(MHD_OPTION_CONNECTION_LIMIT, static_cast<std::intptr_t>(options.connections_max)),
        option(MHD_OPTION_CONNECTION_MEMORY_LIMIT, static_cast<std::intptr_t>(kRequestSizeMax)),
        option(MHD_OPTION_CONNECTION_TIMEOUT, options.request_timeout.count()),
        // SAFETY: this is how the option is passed.
        option(MHD_OPTION_NOTIFY_COMPLETED,
               reinterpret_cast<std::intptr_t>(&Callbacks::on_completed)),
    };
    if (options.tls) {
        flags |= MHD_USE_NO_LISTEN_SOCKET;
    } else {
        items.push_back(option(MHD_OPTION_LISTEN_SOCKET, listener.ref().number()));
    }
    items.push_back(option(MHD_OPTION_END, 0));
    daemon_ = ::MHD_start_daemon(flags, 0, nullptr, nullptr, &Callbacks::on_request, this,
                                 MHD_OPTION_ARRAY, items.data(), MHD_OPTION_END);
    if (daemon_ == nullptr) {
        return Error(Code::Internal, "libmicrohttpd does not start");
    }
    const MHD_DaemonInfo* info = ::MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);
    CHECK(info != nullptr);
    watch_ = TRY(loop_.watch(FdRef(info->epoll_fd), EPOLLIN, [this](std::uint32_t) { run(); }));
    if (options.tls) {
        relays_max_ = options.connections_max;
        handshake_timeout_ = options.request_timeout;
        return start_tls(*options.tls, std::move(listener));
    }
    listener.release();  // libmicrohttpd closes it
    return {};
}

Result<void> HttpServer::start_tls(const Tls& tls, Fd listener) {
    identity_ = TRY(TlsIdentity::create(tls.certificate, tls.key));
    listener_ = TRY(Listener::create(loop_, std::move(listener),
                                     [this](Fd client) { on_tls_client(std::move(client)); }));
    return {};
}

void HttpServer::on_tls_client(Fd client) {
    if (relays_.size() >= relays_max_) {
        return;  // closed
    }
    if (const Result<void> served = relay(std::move(client)); !served) {
        log::warn("TLS client dropped", {{"error", served.error().message()}});
    }
}

Result<void> HttpServer::relay(Fd client) {
    const int on = 1;
    ::setsockopt(client.ref().number(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    auto [plain, ours] = TRY(socket_pair());
    const std::uint64_t id = next_relay_++;
    relays_[id] = TRY(TlsRelay::start(loop_, *identity_,
                                      {.client = std::move(client), .plain = std::move(plain)},
                                      handshake_timeout_, [this, id] { relays_.erase(id); }));
    // libmicrohttpd wants some address, for limits per address, which we do not use.
    sockaddr_in address{};
    address.sin_family = AF_INET;
    // SAFETY: as parse_address(). libmicrohttpd closes the socket, whatever becomes of it.
    if (::MHD_add_connection(daemon_, ours.release(), reinterpret_cast<sockaddr*>(&address),
                             sizeof(address)) != MHD_YES) {
        relays_.erase(id);
        return Error(Code::ResourceExhausted, "libmicrohttpd takes no more connections");
    }
    run_soon();
    return {};
}

HttpServer::~HttpServer() {
    watch_.cancel();
    timer_.cancel();
    listener_.reset();
    if (daemon_ != nullptr) {
        ::MHD_run(daemon_);  // cleans up what was closed last
        ::MHD_stop_daemon(daemon_);
    }
}

void HttpServer::run() {
    ::MHD_run(daemon_);
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
    timer_ = EventLoop::Timer();
    if (::MHD_get_timeout(daemon_, &timeout_ms) == MHD_YES) {
        timer_ = loop_.after(std::chrono::milliseconds(timeout_ms), [this] { run(); });
    }
}

void HttpServer::run_soon() {
    timer_ = loop_.after(std::chrono::milliseconds(0), [this] { run(); });
}

}  // namespace pepita::cri
