#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"

namespace pepita::shim {

/// What pepita-shim is told on its command line.
struct Options {
    std::string id;
    std::string root = "/run/pepita";      // <root>/<id>/ is the pod's own
    std::string data = "/var/lib/pepita";  // guest/ kernels/ tmp/
    std::string vmm;                       // path of pepita-vmm; empty: see find_vmm()
    std::string qemu = "/usr/bin/qemu-system-x86_64";
    IsolationChoice isolation = IsolationChoice::Auto;
    Bytes memory = 512_MiB;
    std::uint32_t vcpus = 1;
    Bytes scratch = 1024_MiB;  // quota of what the container writes; 0: its memory is the limit
    std::string log;           // a file that gets our log lines; empty: standard error
    bool logs_json = false;
    /// A file that gets the guest's console, for debugging. Empty: the guest has none.
    std::string guest_console;
    std::chrono::seconds boot_deadline{60};
    int channel_fd = -1;  // inherited: the first client
};

/// Errors: InvalidArgument naming the option and what is wrong with it.
Result<Options> parse_options(std::span<char* const> arguments);

/// The pepita-vmm that belongs to the running pepita-shim: beside it, or where the build has it.
/// Errors: NotFound.
Result<std::string> find_vmm();

}  // namespace pepita::shim
