#pragma once

#include <map>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"

namespace pepita::shim::containerd {

/// Where the node's configuration is if containerd names none (its runtime option ConfigPath).
inline constexpr const char* kConfigPath = "/etc/pepita/shim.json";
inline constexpr std::string_view kAnnotationPrefix = "io.pepita.";

/// Changes `spec` as the node's configuration says: {"isolation": "tcg", "memory-mib": 1024, ...};
/// README.md of the folder above has all names.
/// Errors: InvalidArgument for text that is no such object, by the member's name.
Result<void> apply_config(std::string_view json, runtime::PodSpec& spec);

/// The same as a pod's annotations say: first what the CRI has set of the sum of its containers'
/// limits, then what is spelled `io.pepita.NAME`. Only what costs the pod's owner may be set so.
Result<void> apply_annotations(const std::map<std::string, std::string>& annotations,
                               runtime::PodSpec& spec);

}  // namespace pepita::shim::containerd
