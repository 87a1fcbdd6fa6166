#include "runtime/shim_api.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/api/shim.pb.h"
#include "runtime/api/task.pb.h"
#include "runtime/bundle.h"
#include "runtime/rpc/message.h"
#include "runtime/task_api.h"

namespace pepita::runtime {
namespace {

namespace pb = ::pepita::shim::v1;

constexpr int kTaskApi = 3;
constexpr std::int64_t kNanoseconds = 1'000'000'000;
constexpr const char* kFeaturesType =
    "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

}  // namespace

// As containerd's own shims tell the two apart: options have neither name.
std::optional<BootstrapParams> bootstrap_params(std::string_view input, std::string_view id,
                                                std::string_view name_space) {
    const auto message = api::parse<pb::BootstrapParams>(input);
    if (!message || message->instance_id() != id || message->namespace_() != name_space) {
        return std::nullopt;
    }
    return BootstrapParams{.id = message->instance_id(),
                           .name_space = message->namespace_(),
                           .ttrpc_address = message->ttrpc_address(),
                           .socket_directory = message->socket_dir()};
}

std::string bootstrap_result(std::string_view address) {
    pb::BootstrapResult message;
    message.set_version(kTaskApi);
    message.set_address(std::string(address));
    message.set_protocol("ttrpc");
    return message.SerializeAsString();
}

std::string delete_result(const TaskExit& exit) {
    ::containerd::task::v2::DeleteResponse message;
    message.set_pid(exit.pid);
    message.set_exit_status(exit.exit_status);
    message.mutable_exited_at()->set_seconds(exit.exited_at_ns / kNanoseconds);
    message.mutable_exited_at()->set_nanos(
        static_cast<std::int32_t>(exit.exited_at_ns % kNanoseconds));
    return message.SerializeAsString();
}

std::string runtime_info(std::string_view version) {
    pb::RuntimeInfo message;
    message.set_name(std::string(kContainerdRuntime));
    message.mutable_version()->set_version(std::string(version));
    message.mutable_features()->set_type_url(kFeaturesType);
    message.mutable_features()->set_value(features_json(version));
    return message.SerializeAsString();
}

}  // namespace pepita::runtime
