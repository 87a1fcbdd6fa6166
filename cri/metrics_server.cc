#include "cri/metrics_server.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "cri/streaming/http_server.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/options.h"

namespace pepita::cri {
namespace {

Result<HttpServer::Options> options_for(const std::string& place) {
    constexpr unsigned connections_max = 16;
    HttpServer::Options options;
    options.connections_max = connections_max;
    if (place.starts_with('/')) {
        options.unix_socket = place;
        return options;
    }
    const std::size_t colon = place.rfind(':');
    if (colon == std::string::npos) {
        return Error(Code::InvalidArgument, "must be ADDRESS:PORT or an absolute path");
    }
    options.address = place.substr(0, colon);
    if (options.address.starts_with('[') && options.address.ends_with(']')) {
        options.address = options.address.substr(1, options.address.size() - 2);
    }
    options.port = static_cast<std::uint16_t>(TRY(
        runtime::parse_number(std::string_view(place).substr(colon + 1), 0, UINT16_MAX), "port"));
    return options;
}

HttpReply answer(const HttpRequest& request, RenderMetrics& render) {
    HttpReply reply;
    if (request.path != "/metrics") {
        reply.status = 404;
        reply.body = "only /metrics is here\n";
    } else if (request.method != "GET" && request.method != "HEAD") {
        reply.status = 405;
        reply.headers.emplace_back("Allow", "GET, HEAD");
    } else {
        reply.headers.emplace_back("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
        reply.body = render();
    }
    return reply;
}

}  // namespace

Result<std::unique_ptr<HttpServer>> serve_metrics(EventLoop& loop, const std::string& place,
                                                  RenderMetrics render) {
    const auto options = TRY(options_for(place), "metrics '", place, "'");
    return TRY(HttpServer::create(loop, options,
                                  [render = std::move(render)](const HttpRequest& request) mutable {
                                      return answer(request, render);
                                  }),
               "metrics '", place, "'");
}

}  // namespace pepita::cri
