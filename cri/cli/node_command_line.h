#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::cri::cli {

enum class NodeVerb : std::uint8_t {
    None,
    Run,
    Pods,
    Containers,
    Inspect,
    Logs,
    Exec,
    Stop,
    Remove,
    Top,
    Doctor,
    Help,
    Version,
};
std::string_view to_string(NodeVerb verb);

/// A port of the host that is a pod's.
struct Published {
    std::uint16_t host = 0;
    std::uint16_t container = 0;
    friend bool operator==(const Published&, const Published&) = default;
};

/// What was asked of the node's pods.
struct NodeCommand {
    NodeVerb verb = NodeVerb::None;
    NodeVerb topic = NodeVerb::None;  // Help: of which verb
    std::string socket = "/run/pepita/cri.sock";
    std::vector<std::string> words;  // behind the verb, without options
    std::string name;                // run: the container's
    std::string handler;             // run: of a pod that is made
    std::string logs = "/var/log/pods";
    std::vector<Published> published;
    bool all = false;              // also those that have ended
    bool once = false;             // top
    std::uint64_t interval_s = 2;  // top
    std::string config;            // doctor: pepita-cri's; "": the usual one
};

/// Reads the arguments. Behind "--", and behind the IMAGE of run and the CONTAINER of exec, all are
/// the command's. Errors: InvalidArgument, in one line.
Result<void> parse_node_command_line(std::span<const std::string> arguments, NodeCommand& command);

/// Of a verb; of NodeVerb::None: of all.
std::string node_help_text(NodeVerb topic);

}  // namespace pepita::cri::cli
