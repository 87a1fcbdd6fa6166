#include "cri/streaming.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "cri/streaming/connection.h"
#include "cri/streaming/exec_session.h"
#include "cri/streaming/forward_session.h"
#include "cri/streaming/framing.h"
#include "cri/streaming/handshake.h"
#include "cri/streaming/http_server.h"
#include "cri/streaming/session.h"
#include "cri/streaming/spdy.h"
#include "cri/streaming/token_table.h"
#include "cri/streaming/websocket.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

constexpr std::size_t kPortsMax = 64;  // two channels each, and a channel is one byte

std::string_view verb_of(const StreamRequest& request) {
    if (std::holds_alternative<ExecRequest>(request)) {
        return "exec";
    }
    return std::holds_alternative<AttachRequest>(request) ? "attach" : "portforward";
}

Result<void> check(const StreamRequest& request) {
    if (const auto* forward = std::get_if<PortForwardRequest>(&request)) {
        if (forward->ports.size() > kPortsMax) {
            return Error(Code::InvalidArgument,
                         "more than " + std::to_string(kPortsMax) + " ports");
        }
        return {};
    }
    const StreamChoice choice = choice_of(request);
    // api.proto, ExecRequest and AttachRequest
    if (choice.tty && choice.err) {
        return Error(Code::InvalidArgument, "tty and stderr exclude each other");
    }
    if (!choice.in && !choice.out && !choice.err) {
        return Error(Code::InvalidArgument, "none of stdin, stdout and stderr is requested");
    }
    return {};
}

Result<std::unique_ptr<Framing>> make_framing(const Agreement& agreement,
                                              const StreamRequest& request) {
    if (agreement.transport == Transport::Spdy) {
        return std::unique_ptr<Framing>(TRY(SpdyFraming::create()));
    }
    if (agreement.transport == Transport::Tunnel) {
        return std::unique_ptr<Framing>(TRY(TunnelFraming::create()));
    }
    const auto version =
        agreement.version == 5 ? ChannelFraming::Version::V5 : ChannelFraming::Version::V4;
    if (const auto* forward = std::get_if<PortForwardRequest>(&request)) {
        return std::unique_ptr<Framing>(
            TRY(ChannelFraming::create(version, ForwardSession::channels(forward->ports))));
    }
    return std::unique_ptr<Framing>(
        TRY(ChannelFraming::create(version, ExecSession::channels(choice_of(request)))));
}

}  // namespace

StreamingServer::StreamingServer(EventLoop& loop, StreamTarget& target, Options options)
    : loop_(loop),
      target_(target),
      options_(std::move(options)),
      tokens_(std::make_unique<TokenTable>(options_.token_lifetime)) {}

Result<std::unique_ptr<StreamingServer>> StreamingServer::create(EventLoop& loop,
                                                                 StreamTarget& target,
                                                                 Options options) {
    std::unique_ptr<StreamingServer> server(new StreamingServer(loop, target, std::move(options)));
    HttpServer::Options http{.address = server->options_.address,
                             .port = server->options_.port,
                             .tls = std::nullopt,
                             .connections_max = server->options_.connections_max,
                             .request_timeout = std::chrono::ceil<std::chrono::seconds>(
                                 server->options_.client_timeout)};
    if (!server->options_.certificate.empty()) {
        http.tls = {.certificate = server->options_.certificate, .key = server->options_.key};
    }
    server->http_ =
        TRY(HttpServer::create(loop, http, [self = server.get()](const HttpRequest& request) {
            return self->on_request(request);
        }));
    return server;
}

StreamingServer::~StreamingServer() = default;

Result<std::string> StreamingServer::url_for(StreamRequest request) {
    TRY(check(request));
    const std::string verb(verb_of(request));
    const std::string token = TRY(tokens_->put(std::move(request), TokenTable::Clock::now()));
    return http_->base_url() + "/" + verb + "/" + token;
}

HttpReply StreamingServer::on_request(const HttpRequest& http) {
    const auto refuse = [](unsigned status, std::string body) {
        return HttpReply{
            .status = status, .headers = {}, .body = std::move(body), .on_upgraded = {}};
    };
    if (http.method != "GET" && http.method != "POST") {
        return refuse(405, "GET or POST is needed\n");
    }
    const std::size_t slash = http.path.rfind('/');
    auto request = tokens_->take(http.path.substr(slash + 1), TokenTable::Clock::now());
    if (!request || http.path.substr(0, slash) != "/" + std::string(verb_of(*request))) {
        return refuse(404, "the URL is unknown, used or expired\n");
    }
    auto agreed = agree(http, *request);
    if (auto* refusal = std::get_if<HttpReply>(&agreed)) {
        return std::move(*refusal);
    }
    auto& agreement = std::get<Agreement>(agreed);
    HttpReply reply{
        .status = 101, .headers = std::move(agreement.headers), .body = {}, .on_upgraded = {}};
    reply.on_upgraded = [this, agreement = std::move(agreement), request = *std::move(request)](
                            UpgradedSocket socket, const std::string& early) {
        on_upgraded(std::move(socket), early, agreement, request);
    };
    return reply;
}

void StreamingServer::on_upgraded(UpgradedSocket socket, std::string_view early,
                                  const Agreement& agreement, const StreamRequest& request) {
    auto framing = make_framing(agreement, request);
    if (!framing) {
        return log::warn("streaming client dropped", {{"error", framing.error().message()}});
    }
    const std::uint64_t id = next_id_++;
    auto& connection = connections_[id];
    connection =
        std::make_unique<Connection>(loop_,
                                     Connection::Options{.idle_timeout = options_.idle_timeout,
                                                         .linger_timeout = options_.linger_timeout},
                                     [this, id] { connections_.erase(id); });
    const auto make_session = [this, &agreement, &request](Wire& wire) -> std::unique_ptr<Session> {
        if (const auto* forward = std::get_if<PortForwardRequest>(&request)) {
            return std::make_unique<ForwardSession>(
                loop_, wire, target_,
                ForwardSession::Options{.pod_id = forward->pod_id,
                                        .pair_timeout = options_.client_timeout});
        }
        return std::make_unique<ExecSession>(
            loop_, wire, target_, request,
            ExecSession::Options{.version = agreement.version,
                                 .streams_timeout = options_.client_timeout,
                                 .output_grace = options_.output_grace});
    };
    const Result<void> started =
        connection->start(std::move(socket), early, *std::move(framing), make_session);
    if (!started) {
        log::warn("streaming client dropped", {{"error", started.error().message()}});
        connections_.erase(id);
    }
}

}  // namespace pepita::cri
