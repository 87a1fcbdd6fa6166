#include "cri/grpc_client.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

/// As to_string() has it for a Code; others are Internal.
Code code_of(grpc::StatusCode code) {
    return code == grpc::StatusCode::UNKNOWN || code == grpc::StatusCode::UNAUTHENTICATED
               ? Code::Internal
               : static_cast<Code>(code);
}

}  // namespace

struct GrpcClient::Grpc {
    std::string socket;
    std::shared_ptr<grpc::Channel> channel;
};

GrpcClient::GrpcClient(const std::string& socket)
    : grpc_(std::make_unique<Grpc>(Grpc{
          .socket = socket,
          .channel = grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials())})) {}

GrpcClient::~GrpcClient() = default;

Result<std::string> GrpcClient::call(std::string_view method, const std::string& request,
                                     std::chrono::milliseconds deadline) {
    grpc::GenericStub stub(grpc_->channel);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + deadline);
    grpc::CompletionQueue queue;
    const grpc::Slice sent(request);
    const auto call =
        stub.PrepareUnaryCall(&context, std::string(method), grpc::ByteBuffer(&sent, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, this);
    void* tag = nullptr;
    bool is_ok = false;
    (void)queue.Next(&tag, &is_ok);
    if (!status.ok()) {
        if (status.error_code() == grpc::StatusCode::UNAVAILABLE &&
            grpc_->channel->GetState(false) != GRPC_CHANNEL_READY) {
            return Error(Code::Unavailable, "nobody serves CRI at '" + grpc_->socket + "'");
        }
        return Error(code_of(status.error_code()), status.error_message());
    }
    grpc::Slice received;
    if (!answer.DumpToSingleSlice(&received).ok()) {
        return Error(Code::DataLoss, "the answer cannot be unpacked");
    }
    // SAFETY: bytes of a message are text to std::string.
    return std::string(reinterpret_cast<const char*>(received.begin()), received.size());
}

}  // namespace pepita::cri
