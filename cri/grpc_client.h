#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Asks a server on a unix socket, and waits. Thread: one at a time.
class GrpcClient {
public:
    explicit GrpcClient(const std::string& socket);
    GrpcClient(const GrpcClient&) = delete;
    GrpcClient& operator=(const GrpcClient&) = delete;
    GrpcClient(GrpcClient&&) = delete;
    GrpcClient& operator=(GrpcClient&&) = delete;
    ~GrpcClient();

    /// One message for one message. Errors: the server's; Unavailable where there is none;
    /// DeadlineExceeded.
    Result<std::string> call(std::string_view method, const std::string& request,
                             std::chrono::milliseconds deadline);

private:
    struct Grpc;
    std::unique_ptr<Grpc> grpc_;
};

}  // namespace pepita::cri
