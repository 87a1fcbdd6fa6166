#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "storage/image/http.h"

namespace pepita::storage::image {

/// Where the contents of a registry are asked for.
struct Endpoint {
    std::string url;  // up to the repository's name: "https://host/v2"
    TlsOptions tls;
    std::vector<std::string> headers;  // "Name: value"
    std::string name_space;            // of a mirror: the registry that it stands for
    bool resolves = true;              // whether it may say what a tag is
    bool is_registry = false;          // the registry itself, which gets the credentials
};

/// containerd's hosts.toml for `registry`: mirrors in their order, then the server. Relative names
/// of files are below `directory`. Capability `push` means nothing here.
/// Errors: InvalidArgument with the line's number; Unsupported for a key that is not known.
/// Source: containerd, docs/hosts.md.
Result<std::vector<Endpoint>> parse_hosts(std::string_view text, const std::string& registry,
                                          const std::string& directory);

/// What `directory` says of the registry: in a folder named "host:port", "host_port_" or
/// "_default". Without any: the registry alone, by plain HTTP where it is on the loopback.
/// Errors: parse_hosts()'s; open(2)'s.
Result<std::vector<Endpoint>> endpoints_of(const std::string& registry,
                                           const std::string& directory);

}  // namespace pepita::storage::image
