#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cri/runtime_service.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// The command line of pepita-cri, and its configuration: a JSON object with comments, whose
/// members are named as the options are. The command line wins.
struct Options {
    enum class Action : std::uint8_t { Serve, Help, Version };

    static constexpr const char* kUsualConfig = "/etc/pepita/pepita.json";

    Action action = Action::Serve;
    std::string config;  // "": kUsualConfig where there is one
    std::string socket = "/run/pepita/cri.sock";
    RuntimeService::Options runtime;
    std::string registry_hosts = "/etc/pepita/certs.d";
    std::string cni_configuration = "/etc/cni/net.d";
    std::string cni_plugins;  // "": the usual places
    std::string cni_cache = "/var/lib/cni";
    std::string stream_address = "127.0.0.1";
    std::uint16_t stream_port = 0;
    std::string metrics;  // "": not served
};

/// Reads both. Errors: in one line; they name the option, or the file and its member.
Result<Options> parse_options(std::span<const std::string> arguments,
                              const std::string& usual_config = Options::kUsualConfig);

/// The command line that is read to the same options.
std::vector<std::string> print_options(const Options& options);

/// The names of options whose values differ.
struct OptionChanges {
    std::vector<std::string> live;     // of those that RuntimeService::reconfigure() takes
    std::vector<std::string> restart;  // of the others
};
OptionChanges changes(const Options& from, const Options& to);

std::string help_text();

}  // namespace pepita::cri
