#pragma once

#include <gtest/gtest.h>

#include <string>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/error.h"
#include "runtime/bundle.h"

namespace pepita::test {

/// A container that Kubernetes might ask for, and what the runtime reads in its configuration.
class ContainerSpecTest : public testing::Test {
protected:
    ContainerSpecTest() {
        pod.mutable_metadata()->set_name("web");
        pod.mutable_metadata()->set_namespace_("shop");
        pod.mutable_metadata()->set_uid("0815");
        container.mutable_metadata()->set_name("nginx");
        container.mutable_image()->set_image("sha256:1234");
        container.mutable_image()->set_user_specified_image("nginx:1.27");
        image.cmd = {"nginx", "-g", "daemon off;"};
        place.pod_id = "p1";
        place.container_id = "c1";
        place.network_namespace = "/run/netns/p1";
        place.hostname = "web-0";
    }

    cri::v1::LinuxContainerSecurityContext& security() {
        return *container.mutable_linux()->mutable_security_context();
    }

    /// What the runtime makes of it; a failure of the test where it is refused.
    runtime::Bundle bundle() const {
        const auto config = cri::oci_config(pod, container, image, place);
        if (!config) {
            ADD_FAILURE() << config.error().message();
            return {};
        }
        auto read = runtime::parse_config(*config, "/bundle");
        if (!read) {
            ADD_FAILURE() << read.error().message() << "\n" << *config;
            return {};
        }
        return *std::move(read);
    }

    struct Refusal {
        Code code = Code::Internal;
        std::string message;
        friend bool operator==(const Refusal&, const Refusal&) = default;
    };
    Refusal refusal() const {
        const auto config = cri::oci_config(pod, container, image, place);
        if (config) {
            ADD_FAILURE() << "is taken: " << *config;
            return {};
        }
        return {.code = config.error().code(), .message = config.error().message()};
    }

    cri::v1::PodSandboxConfig pod;
    cri::v1::ContainerConfig container;
    cri::ImageConfig image;
    cri::ContainerPlace place;
};

}  // namespace pepita::test
