#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::daemon {

/// The command line of pepita-storage.
struct Options {
    enum class Action : std::uint8_t { Serve, Help, Version };

    static constexpr std::chrono::seconds kColdAfterMax = std::chrono::weeks(1);

    Action action = Action::Serve;
    std::string socket = api::kStorageSocket;
    std::string memory_file;  // never empty once parsed: beside the socket
    Bytes memory_limit = 1024_MiB;
    std::string state = "/var/lib/pepita/storage";
    std::string metrics;                 // empty: none
    std::chrono::seconds cold_after{0};  // 0: never
    bool logs_json = false;
    bool purge = false;

    friend bool operator==(const Options&, const Options&) = default;
};

/// Errors: InvalidArgument, in one line.
Result<Options> parse_options(std::span<const std::string> arguments);

std::string help_text();

/// The directory of a path: "." for a bare name.
std::string directory_of(const std::string& path);

}  // namespace pepita::storage::daemon
