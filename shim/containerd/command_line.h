#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernel-abi/sys/result.h"

namespace pepita::shim::containerd {

/// What containerd and CRI-O call a shim's program with: Go's flags, `-id X` and `-id=X`, then a
/// verb.
struct CommandLine {
    enum class Verb : std::uint8_t { Serve, Start, Delete, Version, Info };
    Verb verb = Verb::Serve;  // without a verb
    std::string name_space;
    std::string id;      // of a container
    std::string bundle;  // absolute; "": the working directory
    std::string address;
    std::string publish_binary;  // not used: events go to TTRPC_ADDRESS

    friend bool operator==(const CommandLine&, const CommandLine&) = default;
};

/// `arguments`: without the program's name.
/// Errors: InvalidArgument, in one line; also for a namespace or id that cannot be part of a path.
Result<CommandLine> parse_command_line(std::span<const std::string> arguments);

/// The socket of a pod's shim: /run/containerd/s/ and the SHA-256 of "ADDRESS/NAMESPACE/ID".
/// `directory`: in place of /run/containerd; "": that.
Result<std::string> socket_path(const CommandLine& line, const std::string& id,
                                const std::string& directory = "");

/// Where the pods of a containerd namespace are: PodSpec::root. Fixed, because `delete` has to find
/// it without the configuration.
std::string pods_root(const std::string& name_space);

}  // namespace pepita::shim::containerd
