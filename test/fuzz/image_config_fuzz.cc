#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "kernel-abi/sys/check.h"
#include "runtime/bundle.h"

/// The configuration of an image from a registry. What is made of it the runtime reads, or refuses
/// with an error.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace pepita;
    // SAFETY: char may alias anything.
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto image = cri::parse_image_config(text);
    if (!image) {
        return 0;
    }
    cri::v1::ContainerConfig container;
    container.mutable_linux()->mutable_security_context()->set_readonly_rootfs(size % 2 == 0);
    cri::ContainerPlace place;
    place.pod_id = "p";
    place.container_id = "c";
    const auto config = cri::oci_config(cri::v1::PodSandboxConfig(), container, *image, place);
    if (config) {
        CHECK(pepita::runtime::parse_config(*config, "/bundle").has_value());
    }
    return 0;
}
