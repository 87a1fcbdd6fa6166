#pragma once

#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "storage/image_fetch.h"
#include "storage/image_store.h"

namespace pepita::storage {

/// Who one is at a registry: the forms of CRI's AuthConfig. Empty members are not given.
struct RegistryAuth {
    std::string username;
    std::string password;
    std::string auth;            // base64 of "username:password"
    std::string identity_token;  // is exchanged for tokens
    std::string registry_token;  // is sent as it is
    friend bool operator==(const RegistryAuth&, const RegistryAuth&) = default;
};

/// The entry for `registry` of docker's config.json; none: anonymous.
/// Errors: InvalidArgument; Unsupported where only a credential helper has it.
Result<RegistryAuth> read_docker_config(std::string_view text, std::string_view registry);

/// "docker.io/library/busybox:latest" of "busybox". Errors: InvalidArgument.
Result<std::string> full_image_name(std::string_view reference);
/// "docker.io". Errors: InvalidArgument.
Result<std::string> registry_of(std::string_view reference);

struct PullOptions {
    FetchOptions fetch;
    RegistryAuth auth;  // sent to the registry, and to no mirror
    /// Of folders with containerd's hosts.toml: mirrors, authorities, headers. Empty: none.
    std::string hosts_directory;
};

/// Pulls an image by the distribution protocol 1.1 and names it as `reference` does: with its tag,
/// and with the digest of what that named. A registry on this host's loopback is spoken to by plain
/// HTTP, all others by HTTPS, unless the host's hosts.toml says otherwise. A failed connection is
/// tried again, a download goes on where it ended. Errors: InvalidArgument for the reference;
/// NotFound; PermissionDenied; Unavailable where the registry does not answer; fetch's.
Result<ImageInfo> pull_image(ImageStore& store, std::string_view reference,
                             const PullOptions& options);

}  // namespace pepita::storage
