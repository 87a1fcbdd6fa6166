#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cri/streaming/http_server.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Gives the text that is served.
using RenderMetrics = std::move_only_function<std::string()>;

/// Serves GET /metrics at `place`: ADDRESS:PORT (IPv6 in brackets), or the absolute path of a unix
/// socket, which only root may connect to and which replaces one that is there.
/// Errors: InvalidArgument for what is neither; HttpServer::create()'s.
Result<std::unique_ptr<HttpServer>> serve_metrics(EventLoop& loop, const std::string& place,
                                                  RenderMetrics render);

}  // namespace pepita::cri
