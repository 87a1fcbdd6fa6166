#include <string>
#include <utility>

#include "cri/api/cri.h"
#include "cri/cni.h"
#include "cri/handlers.h"
#include "cri/runtime_service.h"
#include "cri/selectors.h"
#include "kernel-abi/sys/result.h"

// What CRI asks of the node as a whole.

namespace pepita::cri {
namespace {

void add_condition(v1::RuntimeStatus& status, const std::string& type, const Result<void>& is) {
    v1::RuntimeCondition& condition = *status.add_conditions();
    condition.set_type(type);
    condition.set_status(is.has_value());
    if (!is) {
        condition.set_reason(type == "NetworkReady" ? "NetworkPluginNotReady" : "NotReady");
        condition.set_message(is.error().message());
    }
}

}  // namespace

void RuntimeService::version(const v1::VersionRequest& /*request*/,
                             Done<v1::VersionResponse> done) {
    v1::VersionResponse response;
    response.set_version("0.1.0");  // of the protocol's first form: the kubelet insists on it
    response.set_runtime_name("pepita");
    response.set_runtime_version(options_.version);
    response.set_runtime_api_version("v1");
    done(std::move(response));
}

void RuntimeService::status(const v1::StatusRequest& request, Done<v1::StatusResponse> done) {
    cni_.status([this, is_here = is_here_, is_verbose = request.verbose(),
                 done = std::move(done)](const Result<void>& network) mutable {
        if (!*is_here) {
            return;
        }
        v1::StatusResponse response;
        add_condition(*response.mutable_status(), "RuntimeReady", {});
        add_condition(*response.mutable_status(), "NetworkReady", network);
        for (const Handler& handler : kHandlers) {
            v1::RuntimeHandler& item = *response.add_runtime_handlers();
            item.set_name(std::string(handler.name));
            item.mutable_features()->set_recursive_read_only_mounts(true);
            item.mutable_features()->set_user_namespaces(true);
        }
        response.mutable_features()->set_supplemental_groups_policy(true);
        response.mutable_features()->set_mount_options(true);
        if (is_verbose) {
            (*response.mutable_info())["version"] = in_json(options_.version);
            (*response.mutable_info())["root"] = in_json(options_.root);
        }
        done(std::move(response));
    });
}

NodeCensus RuntimeService::census() const {
    NodeCensus census;
    for (const auto& [id, pod] : pods_) {
        ++(pod->record.is_ready() ? census.pods_ready : census.pods_not_ready);
    }
    for (const auto& [id, container] : containers_) {
        const v1::ContainerState state = container->record.state();
        ++(state == v1::CONTAINER_CREATED   ? census.containers_created
           : state == v1::CONTAINER_RUNNING ? census.containers_running
           : state == v1::CONTAINER_EXITED  ? census.containers_exited
                                            : census.containers_unknown);
    }
    return census;
}

void RuntimeService::runtime_config(const v1::RuntimeConfigRequest& /*request*/,
                                    Done<v1::RuntimeConfigResponse> done) {
    v1::RuntimeConfigResponse response;
    // A pod's processes go where cgroup_parent says, as a path.
    response.mutable_linux()->set_cgroup_driver(v1::CGROUPFS);
    done(std::move(response));
}

void RuntimeService::update_runtime_config(const v1::UpdateRuntimeConfigRequest& /*request*/,
                                           Done<v1::UpdateRuntimeConfigResponse> done) {
    // The pod's addresses are the CNI configuration's to give, which is not ours to write.
    done(v1::UpdateRuntimeConfigResponse());
}

}  // namespace pepita::cri
