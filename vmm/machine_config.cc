#include "vmm/machine_config.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "vmm/boot/layout.h"

namespace pepita::vmm {
namespace {

constexpr std::uint64_t kMemoryMinMib = 16;
constexpr std::uint64_t kMemoryMaxMib = 65'536;
constexpr std::uint64_t kVcpusMax = 8;
constexpr std::size_t kSerialMax = 20;  // VIRTIO_BLK_ID_BYTES
constexpr std::size_t kPrefixMax = 90;  // with "_4294967295" still a sockaddr_un path
constexpr std::size_t kDisksMax = 16;
constexpr std::uint64_t kFdMax = 1'048'575;
constexpr std::uint64_t kCidMin = 3;  // 0 to 2 have meanings
constexpr std::uint64_t kCidMax = 0xffff'fffe;

Error usage(std::string_view option, std::string_view what) {
    return {Code::InvalidArgument, std::string(option) + ": " + std::string(what)};
}

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

Result<std::uint64_t> number(std::string_view option, std::string_view text, std::uint64_t min,
                             std::uint64_t max) {
    std::uint64_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc{} || end != text.data() + text.size() || value < min || value > max) {
        return usage(option, quoted(text) + " is not a number from " + std::to_string(min) +
                                 " to " + std::to_string(max));
    }
    return value;
}

Result<InheritedFd> descriptor(std::string_view option, std::string_view text) {
    return InheritedFd{static_cast<int>(TRY(number(option, text, 0, kFdMax)))};
}

/// "file=6,serial=rootfs,read-only": each key once, known ones only.
struct Suboptions {
    struct Entry {
        std::string_view key;
        std::string_view value;
    };
    std::string_view option;
    std::vector<Entry> entries;

    static Result<Suboptions> parse(std::string_view option, std::string_view text,
                                    std::span<const std::string_view> known) {
        Suboptions parsed{.option = option, .entries = {}};
        while (true) {
            const std::string_view part = text.substr(0, text.find(','));
            const std::size_t equals = part.find('=');
            const std::string_view key = part.substr(0, equals);
            if (std::ranges::find(known, key) == known.end()) {
                return usage(option, "unknown key " + quoted(key));
            }
            if (std::ranges::find(parsed.entries, key, &Entry::key) != parsed.entries.end()) {
                return usage(option, quoted(key) + " is given twice");
            }
            parsed.entries.push_back(
                {.key = key,
                 .value = equals == std::string_view::npos ? "" : part.substr(equals + 1)});
            if (part.size() == text.size()) {
                return parsed;
            }
            text.remove_prefix(part.size() + 1);
        }
    }

    std::optional<std::string_view> find(std::string_view key) const {
        const auto found = std::ranges::find(entries, key, &Entry::key);
        return found == entries.end() ? std::nullopt : std::optional(found->value);
    }
    Result<std::string_view> get(std::string_view key) const {
        const auto found = find(key);
        if (!found) {
            return usage(option, quoted(key) + " is missing");
        }
        return *found;
    }
    Result<std::optional<InheritedFd>> front_end() const {
        const auto found = find("vhost-user");
        if (!found) {
            return std::optional<InheritedFd>();
        }
        return std::optional(TRY(descriptor(option, *found)));
    }
};

bool is_serial_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

Result<DiskConfig> parse_disk(std::string_view option, std::string_view text) {
    constexpr std::string_view of_file[] = {"file", "serial", "read-only", "vhost-user"};
    constexpr std::string_view of_store[] = {"store", "base", "serial", "vhost-user"};
    const bool is_store = text.starts_with("store=");
    const Suboptions parsed = TRY(is_store ? Suboptions::parse(option, text, of_store)
                                           : Suboptions::parse(option, text, of_file));
    DiskConfig disk;
    if (is_store) {
        const std::uint64_t mebibytes =
            TRY(number(option, TRY(parsed.get("store")), 1, StoreConfig::kSizeMaxMib));
        disk.store = StoreConfig{.size = Bytes(mebibytes << 20U)};
    }
    disk.file = TRY(descriptor(option, TRY(parsed.get(is_store ? "base" : "file"))));
    disk.serial = TRY(parsed.get("serial"));
    if (disk.serial.empty() || disk.serial.size() > kSerialMax ||
        !std::ranges::all_of(disk.serial, is_serial_letter)) {
        return usage(option,
                     "serial " + quoted(disk.serial) + " is not 1 to 20 letters of [A-Za-z0-9._-]");
    }
    if (const auto read_only = parsed.find("read-only")) {
        if (!read_only->empty()) {
            return usage(option, "'read-only' takes no value");
        }
        disk.access = Access::ReadOnly;
    }
    disk.vhost_user = TRY(parsed.front_end());
    return disk;
}

Result<VsockConfig> parse_vsock(std::string_view option, std::string_view text) {
    constexpr std::string_view known[] = {"cid", "listener", "prefix", "vhost-user"};
    const Suboptions parsed = TRY(Suboptions::parse(option, text, known));
    VsockConfig vsock;
    vsock.guest_cid =
        static_cast<std::uint32_t>(TRY(number(option, TRY(parsed.get("cid")), kCidMin, kCidMax)));
    vsock.listener = TRY(descriptor(option, TRY(parsed.get("listener"))));
    vsock.guest_prefix = TRY(parsed.get("prefix"));
    if (vsock.guest_prefix.empty() || vsock.guest_prefix.size() > kPrefixMax) {
        return usage(option, "prefix of " + std::to_string(vsock.guest_prefix.size()) +
                                 " B; 1 to " + std::to_string(kPrefixMax) + " are possible");
    }
    vsock.vhost_user = TRY(parsed.front_end());
    return vsock;
}

Result<EntropyConfig> parse_entropy(std::string_view option, std::string_view text) {
    if (text == "pci") {
        return EntropyConfig{};
    }
    constexpr std::string_view known[] = {"vhost-user"};
    const Suboptions parsed = TRY(Suboptions::parse(option, text, known));
    return EntropyConfig{.vhost_user = TRY(parsed.front_end())};
}

/// The options of KvmConfig, each possibly absent; whole() checks that they belong together.
struct KvmOptions {
    std::optional<InheritedFd> kvm;
    std::optional<InheritedFd> kernel;
    std::optional<InheritedFd> initrd;
    std::optional<std::string> command_line;
    std::optional<std::uint64_t> memory_mib;
    std::optional<std::uint64_t> vcpus;
    std::optional<InheritedFd> console;

    Result<std::optional<KvmConfig>> whole() const {
        if (!kvm) {
            if (kernel || initrd || command_line || memory_mib || vcpus || console) {
                return usage("--kvm", "is missing, and the machine's other options are there");
            }
            return std::optional<KvmConfig>();
        }
        if (!kernel) {
            return usage("--kernel", "is missing");
        }
        const KvmConfig defaults;
        return std::optional(
            KvmConfig{.kvm = *kvm,
                      .kernel = *kernel,
                      .initrd = initrd,
                      .command_line = command_line.value_or(""),
                      .memory = memory_mib ? Bytes(*memory_mib << 20U) : defaults.memory,
                      .vcpus = static_cast<std::uint32_t>(vcpus.value_or(defaults.vcpus)),
                      .console = console});
    }
};

template <typename T>
Result<void> set_once(std::string_view option, std::optional<T>& into, Result<T> value) {
    if (into) {
        return usage(option, "is given twice");
    }
    into = TRY(std::move(value));
    return {};
}

/// True where the option was one of KvmConfig's.
Result<bool> parse_kvm_option(KvmOptions& kvm, const std::string& option,
                              const std::string& value) {
    if (option == "--kvm") {
        TRY(set_once(option, kvm.kvm, descriptor(option, value)));
    } else if (option == "--kernel") {
        TRY(set_once(option, kvm.kernel, descriptor(option, value)));
    } else if (option == "--initrd") {
        TRY(set_once(option, kvm.initrd, descriptor(option, value)));
    } else if (option == "--console") {
        TRY(set_once(option, kvm.console, descriptor(option, value)));
    } else if (option == "--memory-mib") {
        TRY(set_once(option, kvm.memory_mib, number(option, value, kMemoryMinMib, kMemoryMaxMib)));
    } else if (option == "--vcpus") {
        TRY(set_once(option, kvm.vcpus, number(option, value, 1, kVcpusMax)));
    } else if (option == "--command-line") {
        if (value.size() > layout::kCommandLineMax) {
            return usage(option, std::to_string(value.size()) + " B; Linux takes " +
                                     std::to_string(layout::kCommandLineMax));
        }
        TRY(set_once(option, kvm.command_line, Result<std::string>(value)));
    } else {
        return false;
    }
    return true;
}

Result<void> parse_device_option(MachineConfig& config, const std::string& option,
                                 const std::string& value) {
    if (option == "--disk") {
        if (config.disks.size() == kDisksMax) {
            return usage(option, "more than " + std::to_string(kDisksMax) + " disks");
        }
        config.disks.push_back(TRY(parse_disk(option, value)));
        return {};
    }
    if (option == "--vsock") {
        return set_once(option, config.vsock, parse_vsock(option, value));
    }
    if (option == "--entropy") {
        return set_once(option, config.entropy, parse_entropy(option, value));
    }
    return usage(option, "unknown option");
}

/// In a machine of ours devices are on its bus; without one, each serves a front end elsewhere.
Result<void> check_front_end(const MachineConfig& config, std::string_view option,
                             const std::optional<InheritedFd>& front_end) {
    if (config.kvm && front_end) {
        return usage(option, "'vhost-user' is for devices without --kvm");
    }
    if (!config.kvm && !front_end) {
        return usage(option, "'vhost-user' is missing, and there is no --kvm");
    }
    return {};
}

Result<void> check_front_ends(const MachineConfig& config) {
    for (const DiskConfig& disk : config.disks) {
        TRY(check_front_end(config, "--disk", disk.vhost_user));
    }
    if (config.vsock) {
        TRY(check_front_end(config, "--vsock", config.vsock->vhost_user));
    }
    if (config.entropy) {
        TRY(check_front_end(config, "--entropy", config.entropy->vhost_user));
    }
    return {};
}

std::string to_text(InheritedFd fd) { return std::to_string(std::to_underlying(fd)); }

std::string front_end_text(const std::optional<InheritedFd>& fd) {
    return fd ? ",vhost-user=" + to_text(*fd) : "";
}

void append_kvm(std::vector<std::string>& arguments, const KvmConfig& kvm) {
    arguments.insert(arguments.end(), {"--kvm", to_text(kvm.kvm), "--kernel", to_text(kvm.kernel)});
    if (kvm.initrd) {
        arguments.insert(arguments.end(), {"--initrd", to_text(*kvm.initrd)});
    }
    arguments.insert(arguments.end(),
                     {"--memory-mib", std::to_string(kvm.memory.value() >> 20U), "--vcpus",
                      std::to_string(kvm.vcpus), "--command-line", kvm.command_line});
    if (kvm.console) {
        arguments.insert(arguments.end(), {"--console", to_text(*kvm.console)});
    }
}

}  // namespace

std::vector<std::string> to_arguments(const MachineConfig& config) {
    std::vector<std::string> arguments;
    if (config.kvm) {
        append_kvm(arguments, *config.kvm);
    }
    for (const DiskConfig& disk : config.disks) {
        const std::string source =
            disk.store ? "store=" + std::to_string(disk.store->size.value() >> 20U) + ",base="
                       : "file=";
        arguments.insert(arguments.end(),
                         {"--disk", source + to_text(disk.file) + ",serial=" + disk.serial +
                                        (disk.access == Access::ReadOnly ? ",read-only" : "") +
                                        front_end_text(disk.vhost_user)});
    }
    if (config.vsock) {
        arguments.insert(arguments.end(),
                         {"--vsock", "cid=" + std::to_string(config.vsock->guest_cid) +
                                         ",listener=" + to_text(config.vsock->listener) +
                                         ",prefix=" + config.vsock->guest_prefix +
                                         front_end_text(config.vsock->vhost_user)});
    }
    if (config.entropy) {
        const auto& front_end = config.entropy->vhost_user;
        arguments.insert(
            arguments.end(),
            {"--entropy", front_end ? "vhost-user=" + to_text(*front_end) : std::string("pci")});
    }
    return arguments;
}

Result<MachineConfig> parse_arguments(std::span<const std::string> arguments) {
    MachineConfig config;
    KvmOptions kvm;
    for (std::size_t i = 0; i < arguments.size(); i += 2) {
        const std::string& option = arguments[i];
        if (i + 1 == arguments.size()) {
            return usage(option, "unknown option, or one without its value");
        }
        if (!TRY(parse_kvm_option(kvm, option, arguments[i + 1]))) {
            TRY(parse_device_option(config, option, arguments[i + 1]));
        }
    }
    config.kvm = TRY(kvm.whole());
    const bool has_device = !config.disks.empty() || config.vsock || config.entropy;
    if (!config.kvm && !has_device) {
        return Error(Code::InvalidArgument, "neither a machine nor a device is asked for");
    }
    TRY(check_front_ends(config));
    return config;
}

}  // namespace pepita::vmm
