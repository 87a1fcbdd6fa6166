#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "cri/runtime_service.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// The command line of pepita-cri.
struct Options {
    enum class Action : std::uint8_t { Serve, Help, Version };

    Action action = Action::Serve;
    std::string socket = "/run/pepita/cri.sock";
    RuntimeService::Options runtime;
    std::string registry_hosts = "/etc/pepita/certs.d";
    std::string cni_configuration = "/etc/cni/net.d";
    std::string cni_plugins;  // "": the usual places
    std::string cni_cache = "/var/lib/cni";
    std::string stream_address = "127.0.0.1";
    std::uint16_t stream_port = 0;
    bool logs_json = false;
};

/// Errors: InvalidArgument, in one line.
Result<Options> parse_options(std::span<const std::string> arguments);

std::string help_text();

}  // namespace pepita::cri
