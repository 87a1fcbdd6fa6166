#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cri/cli/node_command_line.h"
#include "cri/options.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri::cli {

/// Something that pods need of this host, or may use.
struct Finding {
    enum class Grade : std::uint8_t {
        Fine,
        Missing,  // no pod runs without it
        Without,  // pods run without it; the message says what does not
    };
    Grade grade = Grade::Fine;
    std::string what;
    std::string message;  // of one that is missing: how to get it

    friend bool operator==(const Finding&, const Finding&) = default;
};

/// A host: this one, or a tree of files that looks like one.
struct Host {
    std::string root;            // before each path
    std::string kernel_release;  // uname -r
    bool is_root = false;        // whether the user may do anything
};

struct Diagnosis {
    std::vector<Finding> findings;
    std::string isolation;  // that pods of no RuntimeClass get; "": they do not run
};

/// What `options` need of `host`.
Diagnosis diagnose(const Host& host, const Options& options);

/// Prints a line for each. Gives 0 where pods can run, else 1.
Result<int> doctor(const NodeCommand& command);

}  // namespace pepita::cri::cli
