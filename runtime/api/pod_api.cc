#include "runtime/pod_api.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/fd_names.h"
#include "runtime/api/pod_calls.pb.h"
#include "runtime/container.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/message.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime {
namespace {

namespace pb = ::pepita::pod::v1;
using api::parse;
using api::respond_to;

constexpr std::string_view kService = "pepita.pod.v1.Pod";

Channel::Reply reply_to(OnResult<void> done) {
    return api::reply_to<pb::PodEmpty, void>(std::move(done), [](const pb::PodEmpty&) {});
}

Result<Fd> take(const std::string& name, std::vector<Fd>& fds) {
    std::optional<Fd> fd = TRY(api::take_fd(name, fds));
    return fd ? *std::move(fd) : Fd();
}

pb::UserResponse to_response(const UserIds& user) {
    pb::UserResponse response;
    response.set_uid(user.uid);
    response.set_gid(user.gid);
    response.mutable_groups()->Add(user.groups.begin(), user.groups.end());
    return response;
}

UserIds to_user(const pb::UserResponse& response) {
    return {.uid = response.uid(),
            .gid = response.gid(),
            .groups = {response.groups().begin(), response.groups().end()}};
}

Result<void> dispatch_attach(PodService& service, Channel::Call& call) {
    const auto request = TRY(parse<pb::AttachRequest>(call.payload));
    AttachRequest attach{.container = request.container_id(),
                         .in = TRY(take(request.stdin(), call.fds), "stdin"),
                         .out = TRY(take(request.stdout(), call.fds), "stdout"),
                         .err = TRY(take(request.stderr(), call.fds), "stderr")};
    service.attach(std::move(attach), respond_to(std::move(call.responder)));
    return {};
}

Result<void> dispatch_connect(PodService& service, Channel::Call& call) {
    const auto request = TRY(parse<pb::ConnectRequest>(call.payload));
    if (request.port() == 0 || request.port() > std::numeric_limits<std::uint16_t>::max()) {
        return Error(Code::InvalidArgument, "port " + std::to_string(request.port()) + " is none");
    }
    Fd socket = TRY(take(request.socket(), call.fds), "socket");
    if (!socket) {
        return Error(Code::InvalidArgument, "no socket came with the request");
    }
    service.connect_port(static_cast<std::uint16_t>(request.port()), std::move(socket),
                         respond_to(std::move(call.responder)));
    return {};
}

Result<void> dispatch_checked(PodService& service, Channel::Call& call) {
    if (call.method == "ReopenLog") {
        const auto request = TRY(parse<pb::ReopenLogRequest>(call.payload));
        service.reopen_log(request.container_id(), respond_to(std::move(call.responder)));
        return {};
    }
    if (call.method == "Attach") {
        return dispatch_attach(service, call);
    }
    if (call.method == "Connect") {
        return dispatch_connect(service, call);
    }
    if (call.method == "User") {
        const auto request = TRY(parse<pb::UserRequest>(call.payload));
        service.user(request.container_id(),
                     respond_to<UserIds>(std::move(call.responder), to_response));
        return {};
    }
    return Error(Code::Unsupported, "no method '" + call.method + "'");
}

}  // namespace

void PodClient::reopen_log(const std::string& container, OnResult<void> done) {
    pb::ReopenLogRequest message;
    message.set_container_id(container);
    channel_->call(kService, "ReopenLog", message.SerializeAsString(), {},
                   reply_to(std::move(done)));
}

void PodClient::attach(AttachRequest request, OnResult<void> done) {
    api::FdTable fds;
    pb::AttachRequest message;
    message.set_container_id(request.container);
    message.set_stdin(fds.name(request.in));
    message.set_stdout(fds.name(request.out));
    message.set_stderr(fds.name(request.err));
    channel_->call(kService, "Attach", message.SerializeAsString(),
                   {.deadline = {}, .fds = fds.refs()}, reply_to(std::move(done)));
}

void PodClient::connect(std::uint16_t port, Fd socket, OnResult<void> done) {
    api::FdTable fds;
    pb::ConnectRequest message;
    message.set_port(port);
    message.set_socket(fds.name(socket));
    channel_->call(kService, "Connect", message.SerializeAsString(),
                   {.deadline = {}, .fds = fds.refs()}, reply_to(std::move(done)));
}

void PodClient::user(const std::string& container, OnResult<UserIds> done) {
    pb::UserRequest message;
    message.set_container_id(container);
    channel_->call(kService, "User", message.SerializeAsString(), {},
                   api::reply_to<pb::UserResponse, UserIds>(std::move(done), to_user));
}

bool is_pod_call(const Channel::Call& call) { return call.service == kService; }

void dispatch(PodService& service, Channel::Call call) {
    if (Result<void> dispatched = dispatch_checked(service, call); !dispatched) {
        call.responder.respond(std::move(dispatched).error());
    }
}

}  // namespace pepita::runtime
