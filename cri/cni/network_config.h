#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// One plugin of a network: its object as it is in the file.
struct CniPlugin {
    std::string type;
    std::vector<std::string> capabilities;  // that it declares true
    runtime::oci::Json config;              // an object
};

struct CniNetwork {
    static constexpr std::size_t kFileSizeMax = std::size_t{1} << 20U;
    static constexpr std::size_t kPluginsMax = 64;

    std::string name;
    std::string version;  // the highest that the file lists and we speak
    bool disable_check = false;
    bool disable_gc = false;
    std::vector<CniPlugin> plugins;
    std::string text;  // the list as JSON, for the cache
};

/// Whether version `one` is at least `other`; both are "1.0.0" and the like.
bool is_at_least(std::string_view one, std::string_view other);

/// Names of networks, containers and interfaces become names of files and environment.
Result<void> check_cni_name(std::string_view what, std::string_view name);
Result<void> check_interface_name(std::string_view name);

/// A .conflist, or a .conf of one plugin, which becomes a list of one.
/// Errors: InvalidArgument, which names the member; Unsupported for versions that we do not speak.
Result<CniNetwork> parse_cni_network(std::string_view text);

/// The first network of the directory, by name of file, that can be used, and what kept those
/// before it from being it.
struct CniChoice {
    std::string file;
    CniNetwork network;
    std::vector<std::string> passed_over;  // "10-bad.conflist: …"
};

/// Errors: FailedPrecondition, which names the directory, without any; each file's own fault is in
/// it.
Result<CniChoice> choose_cni_network(const std::string& directory);

}  // namespace pepita::cri
