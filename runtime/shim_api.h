#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/task_api.h"

namespace pepita::runtime {

/// What containerd and its shim's program say to each other by standard input and output, without a
/// word of protobuf.

inline constexpr std::string_view kContainerdRuntime = "io.containerd.pepita.v2";

/// What containerd 2.3 and later write to the program that they start.
struct BootstrapParams {
    std::string id;
    std::string name_space;
    std::string ttrpc_address;
    std::string socket_directory;  // "": containerd's own

    friend bool operator==(const BootstrapParams&, const BootstrapParams&) = default;
};

/// `input` as such parameters for this instance; nullopt where it is anything else, as the options
/// that older versions write.
std::optional<BootstrapParams> bootstrap_params(std::string_view input, std::string_view id,
                                                std::string_view name_space);

/// The answer to those: that the task API v3 is served at `address` over ttrpc.
std::string bootstrap_result(std::string_view address);

/// The answer of the verb `delete`.
std::string delete_result(const TaskExit& exit);

/// The answer of `-info`: the program's name and version, and what it supports.
std::string runtime_info(std::string_view version);

}  // namespace pepita::runtime
