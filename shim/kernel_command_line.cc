#include "shim/kernel_command_line.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "shim/isolation.h"

namespace pepita::shim {

// The console is quiet because each character on it is a trap. A panic restarts the machine at
// once, which ends it. The self-tests of the kernel's crypto are most of a stock kernel's boot, and
// test nothing that we use. On a loaded host the check of the timer's interrupt fails by chance,
// and panics: ours is one that an emulated machine always delivers.
std::string kernel_command_line(const CommandLineOptions& options) {
    std::string line = "quiet panic=-1 cryptomgr.notests random.trust_cpu=on no_timer_check";
    // Buffers for devices that cannot reach all memory: 64 MiB of a guest with more than 3 GiB, and
    // no device of ours needs them.
    line += " swiotlb=noforce maxcpus=" + std::to_string(options.vcpus_online);
    // With one processor Linux takes the lock prefixes out of its code: work that pays where they
    // cost something, which is not in an emulator.
    line += options.isolation == Isolation::Kvm ? " tsc=reliable" : " noreplace-smp";
    if (options.has_console) {
        line += " console=ttyS0 loglevel=6";
    }
    if (!options.guest_words.empty()) {
        line += " " + options.guest_words;
    }
    return line;
}

Result<std::string> read_guest_words(const std::string& path) {
    Result<std::string> words = read_file(path);
    if (!words) {
        return words.error().code() == Code::NotFound ? Result<std::string>(std::string())
                                                      : std::move(words);
    }
    if (words->ends_with('\n')) {
        words->pop_back();
    }
    if (words->size() > kGuestWordsMax) {
        return Error(Code::InvalidArgument,
                     "'" + path + "': longer than " + std::to_string(kGuestWordsMax) + " B");
    }
    if (!std::ranges::all_of(*words, [](char c) { return c >= ' ' && c <= '~'; })) {
        return Error(Code::InvalidArgument,
                     "'" + path + "': must be one line of printable characters");
    }
    return words;
}

}  // namespace pepita::shim
