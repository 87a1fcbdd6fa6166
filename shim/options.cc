#include "shim/options.h"

#include <limits.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"
#include "vmm/machine_config.h"

namespace pepita::shim {
namespace {

constexpr std::uint64_t kScratchMibMin = 16;
constexpr std::uint64_t kScratchMibMax = vmm::StoreConfig::kSizeMaxMib;

Result<std::uint64_t> number(std::string_view option, std::string_view text, std::uint64_t least,
                             std::uint64_t most) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
        return Error(Code::InvalidArgument,
                     std::string(option) + " '" + std::string(text) + "': must be a number from " +
                         std::to_string(least) + " to " + std::to_string(most));
    }
    return value;
}

Result<void> set(Options& options, std::string_view name, std::string_view value) {
    if (name == "--id") {
        options.id = value;
    } else if (name == "--root") {
        options.root = value;
    } else if (name == "--data") {
        options.data = value;
    } else if (name == "--vmm") {
        options.vmm = value;
    } else if (name == "--qemu") {
        options.qemu = value;
    } else if (name == "--log") {
        options.log = value;
    } else if (name == "--log-format") {
        if (value != "text" && value != "json") {
            return Error(Code::InvalidArgument,
                         "--log-format '" + std::string(value) + "': must be text or json");
        }
        options.logs_json = value == "json";
    } else if (name == "--guest-console") {
        options.guest_console = value;
    } else if (name == "--isolation") {
        const std::optional<IsolationChoice> choice = isolation_choice(value);
        if (!choice) {
            return Error(Code::InvalidArgument,
                         "--isolation '" + std::string(value) + "': must be auto, kvm or tcg");
        }
        options.isolation = *choice;
    } else if (name == "--memory-mib") {
        options.memory = Bytes(TRY(number(name, value, 64, 65536)) << 20U);
    } else if (name == "--vcpus") {
        options.vcpus = static_cast<std::uint32_t>(TRY(number(name, value, 1, 8)));
    } else if (name == "--scratch-mib") {
        const std::uint64_t least = value == "0" ? 0 : kScratchMibMin;
        options.scratch = Bytes(TRY(number(name, value, least, kScratchMibMax)) << 20U);
    } else if (name == "--boot-deadline-s") {
        options.boot_deadline = std::chrono::seconds(TRY(number(name, value, 1, 3600)));
    } else if (name == "--channel-fd") {
        options.channel_fd = static_cast<int>(TRY(number(name, value, 0, 1023)));
    } else {
        return Error(Code::InvalidArgument, "unknown option '" + std::string(name) + "'");
    }
    return {};
}

}  // namespace

Result<std::string> find_vmm() {
    std::array<char, PATH_MAX> self{};
    const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size());
    if (size < 0) {
        return Error::from_errno(errno, "read '/proc/self/exe'");
    }
    const std::string_view path(self.data(), static_cast<std::size_t>(size));
    const std::string directory(path.substr(0, path.rfind('/')));
    for (const char* beside : {"/pepita-vmm", "/../vmm/pepita-vmm"}) {
        if (::access((directory + beside).c_str(), X_OK) == 0) {
            return directory + beside;
        }
    }
    return Error(Code::NotFound, "pepita-vmm is not in '" + directory + "'");
}

Result<Options> parse_options(std::span<char* const> arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size(); i += 2) {
        if (i + 1 == arguments.size()) {
            return Error(Code::InvalidArgument,
                         std::string("option '") + arguments[i] + "' needs a value");
        }
        TRY(set(options, arguments[i], arguments[i + 1]));
    }
    if (options.id.empty() || options.channel_fd < 0) {
        return Error(Code::InvalidArgument, "--id and --channel-fd are required");
    }
    return options;
}

}  // namespace pepita::shim
