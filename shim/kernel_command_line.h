#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernel-abi/sys/result.h"
#include "shim/isolation.h"

namespace pepita::shim {

/// What the kernel's command line depends on.
struct CommandLineOptions {
    Isolation isolation = Isolation::Kvm;
    bool has_console = false;
    std::uint32_t vcpus_online = 1;  // the others wait until the pod grows
    std::string guest_words;         // of read_guest_words()
};

/// Linux reads 2048 bytes; half of them are for the guest's own words.
inline constexpr std::size_t kGuestWordsMax = 1024;

std::string kernel_command_line(const CommandLineOptions& options);

/// The words in the file `path`, which deploy/guest/build writes for a kernel that needs some of
/// its own; empty where there is no such file. Errors: InvalidArgument for a file that is longer
/// than kGuestWordsMax or has more than one line.
Result<std::string> read_guest_words(const std::string& path);

}  // namespace pepita::shim
