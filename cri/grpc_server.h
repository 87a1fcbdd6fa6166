#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

class CallReactor;
class CallService;

/// One call of a client, until it is answered. One that goes without finish() is Internal.
/// Thread: that of the server's loop.
class GrpcCall {
public:
    explicit GrpcCall(std::shared_ptr<CallReactor> reactor);
    GrpcCall(GrpcCall&&) noexcept = default;
    GrpcCall& operator=(GrpcCall&& other) noexcept;
    GrpcCall(const GrpcCall&) = delete;
    GrpcCall& operator=(const GrpcCall&) = delete;
    ~GrpcCall();

    /// "/runtime.v1.RuntimeService/Version"
    const std::string& method() const;
    /// The message, serialized.
    std::string take_request();
    /// Whether nobody waits for more of the answer: the client has given up, say.
    bool is_over() const;
    /// Called once with the end of the answer, on the loop.
    using OnFinish = std::move_only_function<void(const Result<void>&)>;
    void on_finish(OnFinish act);
    /// Messages that the client has not been sent yet.
    std::size_t waiting() const;

    /// One message of the answer.
    void write(std::string message);
    /// Ends the answer, once, when its messages are sent. An Error becomes the status, with its
    /// code and its message.
    void finish(const Result<void>& result);

private:
    std::shared_ptr<CallReactor> reactor_;
};

/// gRPC on a unix socket: every call, of whatever service, comes as bytes to `on_call`. All of gRPC
/// that pepita uses is here. Thread: that of `loop`; gRPC has threads of its own behind it.
class GrpcServer {
public:
    using OnCall = std::move_only_function<void(GrpcCall)>;
    struct Options {
        std::string socket;  // absolute path; one that is there is replaced
        std::size_t request_bytes_max = std::size_t{16} << 20U;
        std::size_t calls_max = 1024;  // in progress; one more is ResourceExhausted
        /// For the client's message.
        std::chrono::milliseconds request_timeout{30'000};
    };
    /// The socket has mode 0600. Errors: Unavailable where it cannot be listened on.
    static Result<std::unique_ptr<GrpcServer>> create(EventLoop& loop, Options options,
                                                      OnCall on_call);
    GrpcServer(const GrpcServer&) = delete;
    GrpcServer& operator=(const GrpcServer&) = delete;
    GrpcServer(GrpcServer&&) = delete;
    GrpcServer& operator=(GrpcServer&&) = delete;
    /// Ends what is in progress with Unavailable.
    ~GrpcServer();

private:
    struct Grpc;
    GrpcServer(std::shared_ptr<CallService> service, std::unique_ptr<Grpc> grpc);

    std::shared_ptr<CallService> service_;
    std::unique_ptr<Grpc> grpc_;
};

}  // namespace pepita::cri
