#include "cri/grpc_server.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

/// Words at the beginning of a message that the kubelet looks for, and finds only where the code is
/// UNKNOWN: with another it sees gRPC's own words first. Source: kubelet, pkg/kubelet/images.
constexpr std::array<std::string_view, 2> kKubeletsWords{"RegistryUnavailable",
                                                         "SignatureValidationFailed"};

grpc::Status to_status(const Result<void>& result) {
    if (result) {
        return grpc::Status::OK;
    }
    const std::string& message = result.error().message();
    const bool is_kubelets = std::ranges::any_of(
        kKubeletsWords, [&message](std::string_view word) { return message.starts_with(word); });
    return {is_kubelets ? grpc::StatusCode::UNKNOWN
                        : static_cast<grpc::StatusCode>(result.error().code()),
            message};
}

grpc::ByteBuffer to_buffer(const std::string& message) {
    const grpc::Slice slice(message);
    return {&slice, 1};
}

Result<std::string> to_string(const grpc::ByteBuffer& buffer) {
    std::vector<grpc::Slice> slices;
    if (!buffer.Dump(&slices).ok()) {
        return Error(Code::InvalidArgument, "the request cannot be unpacked");
    }
    std::string out;
    out.reserve(buffer.Length());
    for (const grpc::Slice& slice : slices) {
        // SAFETY: bytes of a message are text to std::string.
        out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    return out;
}

}  // namespace

/// All calls; each of them holds it. Thread: that of the loop, but for add(), remove() and what
/// gRPC calls.
class CallService : public grpc::CallbackGenericService,
                    public std::enable_shared_from_this<CallService> {
public:
    CallService(EventLoop& its_loop, GrpcServer::Options its_options, GrpcServer::OnCall handler)
        : loop(its_loop), options(std::move(its_options)), on_call_(std::move(handler)) {}

    grpc::ServerGenericBidiReactor* CreateReactor(
        grpc::GenericCallbackServerContext* context) override;

    bool add(CallReactor* call) {
        const std::scoped_lock lock(mutex_);
        calls_.insert(call);
        return calls_.size() <= options.calls_max && !is_closing_;
    }
    void remove(CallReactor* call) {
        const std::scoped_lock lock(mutex_);
        calls_.erase(call);
    }
    void end_all();

    void begin_wait(const std::shared_ptr<CallReactor>& call);
    void end_wait(CallReactor* call) { waits_.erase(call); }
    void on_request(const std::shared_ptr<CallReactor>& call) {
        if (on_call_) {
            on_call_(GrpcCall(call));
        }
    }

    EventLoop& loop;
    const GrpcServer::Options options;

private:
    GrpcServer::OnCall on_call_;                      // none: the server has gone
    std::map<CallReactor*, EventLoop::Timer> waits_;  // for requests
    std::mutex mutex_;
    bool is_closing_ = false;
    std::set<CallReactor*> calls_;
};

/// One call. gRPC holds it until OnDone(), which comes after Finish().
class CallReactor : public grpc::ServerGenericBidiReactor,
                    public std::enable_shared_from_this<CallReactor> {
public:
    CallReactor(std::shared_ptr<CallService> service, std::string method)
        : service_(std::move(service)), method_(std::move(method)) {}

    // Called by gRPC, on its threads.

    void begin() {
        self_ = shared_from_this();
        if (!service_->add(this)) {
            return finish_once(Error(Code::ResourceExhausted, "too many calls are in progress"));
        }
        service_->loop.post([self = shared_from_this()] { self->service_->begin_wait(self); });
        StartRead(&incoming_);
    }
    void OnReadDone(bool has_come) override {
        Result<std::string> request =
            has_come ? to_string(incoming_)
                     : Result<std::string>(Error(Code::InvalidArgument, "there is no request"));
        incoming_.Clear();
        if (!request) {
            return finish_once(std::move(request).error());
        }
        service_->loop.post([self = shared_from_this(), request = *std::move(request)]() mutable {
            self->service_->end_wait(self.get());
            self->request_ = std::move(request);
            if (!self->is_finished_) {
                self->service_->on_request(self);
            }
        });
    }
    void OnWriteDone(bool is_sent) override {
        service_->loop.post([self = shared_from_this(), is_sent] { self->on_written(is_sent); });
    }
    void OnCancel() override {
        service_->loop.post([self = shared_from_this()] {
            self->finish_once(Error(Code::Cancelled, "the client has given up"));
        });
    }
    void OnDone() override {
        service_->remove(this);
        service_->loop.post([self = std::move(self_)] { self->service_->end_wait(self.get()); });
    }

    // Called on the loop.

    const std::string& method() const { return method_; }
    std::string take_request() { return std::move(request_); }
    bool is_over() const { return is_finished_; }
    std::size_t waiting() const { return waiting_.size(); }

    void write(std::string message) {
        waiting_.push_back(std::move(message));
        send_next();
    }
    void on_finish(GrpcCall::OnFinish act) { on_finish_ = std::move(act); }
    void finish(const Result<void>& result) {
        if (on_finish_) {
            std::exchange(on_finish_, nullptr)(result);
        }
        end_ = to_status(result);
        has_end_ = true;
        send_next();
    }

    // Called on any thread.

    void finish_once(const Result<void>& result) {
        if (!is_finished_.exchange(true)) {
            Finish(to_status(result));
        }
    }

private:
    void on_written(bool is_sent) {
        is_writing_ = false;
        if (!is_sent) {
            waiting_.clear();
        }
        send_next();
    }
    void send_next() {
        if (is_writing_ || is_finished_) {
            return;
        }
        if (waiting_.empty()) {
            if (has_end_ && !is_finished_.exchange(true)) {
                Finish(end_);
            }
            return;
        }
        outgoing_ = to_buffer(waiting_.front());
        waiting_.pop_front();
        if (!waiting_.empty() || !has_end_) {
            is_writing_ = true;
            return StartWrite(&outgoing_);
        }
        if (!is_finished_.exchange(true)) {
            StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), end_);
        }
    }

    const std::shared_ptr<CallService> service_;
    const std::string method_;
    std::shared_ptr<CallReactor> self_;
    std::atomic<bool> is_finished_ = false;
    grpc::ByteBuffer incoming_;
    grpc::ByteBuffer outgoing_;
    // The loop's.
    std::string request_;
    GrpcCall::OnFinish on_finish_;
    std::deque<std::string> waiting_;
    bool is_writing_ = false;
    bool has_end_ = false;
    grpc::Status end_;
};

grpc::ServerGenericBidiReactor* CallService::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
    const auto reactor = std::make_shared<CallReactor>(shared_from_this(), context->method());
    reactor->begin();
    return reactor.get();
}

void CallService::begin_wait(const std::shared_ptr<CallReactor>& call) {
    if (!on_call_) {
        return;
    }
    waits_[call.get()] =
        loop.after(options.request_timeout, [waiting = std::weak_ptr<CallReactor>(call)] {
            if (const auto late = waiting.lock()) {
                late->finish_once(
                    Error(Code::DeadlineExceeded, "the request did not arrive in time"));
            }
        });
}

void CallService::end_all() {
    on_call_ = nullptr;
    waits_.clear();
    std::vector<std::shared_ptr<CallReactor>> calls;
    {
        const std::scoped_lock lock(mutex_);
        is_closing_ = true;
        for (CallReactor* call : calls_) {
            calls.push_back(call->shared_from_this());
        }
    }
    for (const auto& call : calls) {
        call->finish_once(Error(Code::Unavailable, "pepita-cri is ending"));
    }
}

GrpcCall::GrpcCall(std::shared_ptr<CallReactor> reactor) : reactor_(std::move(reactor)) {}

GrpcCall& GrpcCall::operator=(GrpcCall&& other) noexcept {
    std::swap(reactor_, other.reactor_);
    return *this;
}

GrpcCall::~GrpcCall() {
    if (reactor_) {
        reactor_->finish(Error(Code::Internal, "'" + method() + "' was not answered"));
    }
}

const std::string& GrpcCall::method() const { return reactor_->method(); }
std::string GrpcCall::take_request() { return reactor_->take_request(); }
bool GrpcCall::is_over() const { return reactor_->is_over(); }
std::size_t GrpcCall::waiting() const { return reactor_->waiting(); }
void GrpcCall::on_finish(OnFinish act) { reactor_->on_finish(std::move(act)); }
void GrpcCall::write(std::string message) { reactor_->write(std::move(message)); }
void GrpcCall::finish(const Result<void>& result) {
    reactor_->finish(result);
    reactor_.reset();
}

struct GrpcServer::Grpc {
    std::unique_ptr<grpc::Server> server;
};

GrpcServer::GrpcServer(std::shared_ptr<CallService> service, std::unique_ptr<Grpc> grpc)
    : service_(std::move(service)), grpc_(std::move(grpc)) {}

Result<std::unique_ptr<GrpcServer>> GrpcServer::create(EventLoop& loop, Options options,
                                                       OnCall on_call) {
    constexpr int threads_max = 8;
    constexpr std::size_t memory_max = std::size_t{256} << 20U;  // of requests, on all connections
    constexpr int streams_max = 256;
    const std::string socket = options.socket;
    auto service = std::make_shared<CallService>(loop, std::move(options), std::move(on_call));
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket, grpc::InsecureServerCredentials());
    builder.RegisterCallbackGenericService(service.get());
    builder.SetMaxReceiveMessageSize(static_cast<int>(service->options.request_bytes_max));
    builder.SetMaxSendMessageSize(static_cast<int>(service->options.request_bytes_max));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, streams_max);
    grpc::ResourceQuota quota("pepita-cri");
    quota.Resize(memory_max);
    quota.SetMaxThreads(threads_max);
    builder.SetResourceQuota(quota);
    auto grpc = std::make_unique<Grpc>();
    const mode_t mask = ::umask(0177);
    grpc->server = builder.BuildAndStart();
    (void)::umask(mask);
    if (!grpc->server) {
        return Error(Code::Unavailable, "cannot listen on '" + socket + "'");
    }
    return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(service), std::move(grpc)));
}

GrpcServer::~GrpcServer() {
    service_->end_all();
    grpc_->server->Shutdown(std::chrono::system_clock::now());
    grpc_->server->Wait();
}

}  // namespace pepita::cri
