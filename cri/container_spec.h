#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cri/api/cri.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// What an image says of its containers. Source: OCI image-spec, config.md.
struct ImageConfig {
    std::vector<std::string> env;         // "KEY=VALUE"; without "=": the variable is not set
    std::vector<std::string> entrypoint;  // come before the arguments
    std::vector<std::string> cmd;         // the arguments where there are no others
    std::vector<std::string> volumes;     // paths, in the order of the alphabet
    std::string user;                     // "", "user" or "user:group", each a name or a number
    std::string working_dir;
    std::string stop_signal;  // "SIGTERM", "15"; "": none is named
    std::map<std::string, std::string> labels;

    friend bool operator==(const ImageConfig&, const ImageConfig&) = default;
};

/// Reads an image's configuration; any bytes will do.
/// Errors: InvalidArgument that names the member ("image config: config.Env[2]") and the reason.
Result<ImageConfig> parse_image_config(std::string_view json);

/// Where a container is on the host. All paths are absolute.
struct ContainerPlace {
    std::string pod_id;
    std::string container_id;
    std::string network_namespace;  // a path: the pod's
    std::string hostname;           // of the pod
    std::string resolv_conf;        // these three were made for the pod; "": there is none
    std::string hosts;
    std::string hostname_file;
    std::string cgroups_path;                        // of the container
    std::string default_seccomp;                     // the file of the profile RuntimeDefault
    std::uint64_t capabilities = ~std::uint64_t{0};  // that there are: those of "all"
    bool is_on_host = false;  // it has no microVM: what it asks for of the host, it gets
};

/// The config.json of a container, for the shim's Create: root.path is "rootfs".
/// The caller has resolved links in `mounts`, made the directories that are missing, and written
/// the ids of images into their image_ref.
/// Errors: name the member of CRI's ContainerConfig (or the pod's) and the reason: InvalidArgument
/// for what is wrong; Unsupported for what would be the host's, which a microVM has not.
Result<std::string> oci_config(const v1::PodSandboxConfig& pod,
                               const v1::ContainerConfig& container, const ImageConfig& image,
                               const ContainerPlace& place);

}  // namespace pepita::cri
