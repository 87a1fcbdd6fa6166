#include "vmm/machine_config.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/options.h"
#include "vmm/boot/layout.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"

namespace pepita::vmm {
namespace {

using runtime::Occurs;
using runtime::option;
using runtime::OptionRule;

/// What Linux takes; an empty one is one, too.
struct KernelCommandLine {
    static Result<void> parse(std::string& into, std::string_view text) {
        if (text.size() > layout::kCommandLineMax) {
            return runtime::usage_error("has " + std::to_string(text.size()) + " B; Linux takes " +
                                        std::to_string(layout::kCommandLineMax));
        }
        into = text;
        return {};
    }
    static void print(const std::string& from, std::vector<std::string>& values) {
        values.push_back(from);
    }
};

constexpr auto kKvmRules = std::to_array<OptionRule<KvmConfig>>({
    option<&KvmConfig::kvm, FdNumber>(
        {.name = "kvm", .value_name = "FD", .occurs = Occurs::Required}),
    option<&KvmConfig::kernel, FdNumber>(
        {.name = "kernel", .value_name = "FD", .occurs = Occurs::Required}),
    option<&KvmConfig::initrd, runtime::Maybe<FdNumber>>(
        {.name = "initrd", .value_name = "FD", .occurs = Occurs::Once}),
    option<&KvmConfig::memory, runtime::Mebibytes<runtime::to_mebibytes(KvmConfig::kMemoryMin),
                                                  runtime::to_mebibytes(KvmConfig::kMemoryMax)>>(
        {.name = "memory-mib", .value_name = "MIB", .occurs = Occurs::Once}),
    option<&KvmConfig::memory_file, runtime::Maybe<FdNumber>>(
        {.name = "memory", .value_name = "FD", .occurs = Occurs::Once}),
    option<&KvmConfig::vcpus, runtime::Number<1, KvmConfig::kVcpusMax>>(
        {.name = "vcpus", .value_name = "N", .occurs = Occurs::Once}),
    option<&KvmConfig::console, runtime::Maybe<FdNumber>>(
        {.name = "console", .value_name = "FD", .occurs = Occurs::Once}),
    option<&KvmConfig::command_line, KernelCommandLine>(
        {.name = "command-line", .value_name = "TEXT", .occurs = Occurs::Once}),
});

struct DeviceText {
    static Result<void> parse(DeviceConfig& into, std::string_view text) {
        into = TRY(parse_device(text));
        return {};
    }
    static void print(const DeviceConfig& from, std::vector<std::string>& values) {
        values.push_back(to_text(from));
    }
};

constexpr auto kMachineRules = std::to_array<OptionRule<MachineConfig>>({
    option<&MachineConfig::kvm, runtime::Maybe<runtime::Fields<kKvmRules>>>(
        {.name = "machine", .value_name = "FIELDS", .occurs = Occurs::Once}),
    option<&MachineConfig::devices, runtime::List<DeviceText, MachineConfig::kDevicesMax>>(
        {.name = "device", .value_name = "FIELDS"}),
    option<&MachineConfig::control, runtime::Maybe<FdNumber>>(
        {.name = "control", .value_name = "FD", .occurs = Occurs::Once}),
});

constexpr std::span<const OptionRule<MachineConfig>> kMachine = kMachineRules;

/// A device on our bus, or elsewhere: all of a machine's are the same.
Result<void> check_device(const MachineConfig& config, const DeviceConfig& device) {
    if (config.kvm && device.front_end) {
        return runtime::usage_error(name_of(device) +
                                    ": 'vhost-user' is for devices without --machine");
    }
    if (!config.kvm && !device.front_end) {
        return runtime::usage_error(name_of(device) +
                                    ": 'vhost-user' is missing, and there is no --machine");
    }
    if (std::ranges::count(config.devices, device.id, &DeviceConfig::id) > 1) {
        return runtime::usage_error(name_of(device) + ": the id is used twice");
    }
    return {};
}

/// What the rules of a line read into, and print from.
struct Line {
    ControlRequest parsed;
    std::size_t options = 0;
    const ControlRequest* printed = nullptr;
};

template <typename Request, typename Codec>
constexpr OptionRule<Line> request_rule(const runtime::OptionText& text) {
    OptionRule<Line> rule;
    static_cast<runtime::OptionText&>(rule) = text;
    rule.apply = [](Line& line, std::string_view value) -> Result<void> {
        Request request;
        TRY(Codec::parse(request, value));
        line.parsed = std::move(request);
        ++line.options;
        return {};
    };
    rule.print = [](const Line& line, std::vector<std::string>& values) {
        if (const auto* request = std::get_if<Request>(line.printed)) {
            Codec::print(*request, values);
        }
    };
    return rule;
}

struct DetachText {
    static Result<void> parse(DetachRequest& into, std::string_view text) {
        return DeviceId::parse(into.id, text);
    }
    static void print(const DetachRequest& from, std::vector<std::string>& values) {
        values.push_back(from.id);
    }
};

struct NoText {
    template <typename Request>
    static Result<void> parse(Request& /*into*/, std::string_view /*none*/) {
        return {};
    }
    template <typename Request>
    static void print(const Request& /*from*/, std::vector<std::string>& values) {
        values.emplace_back();
    }
};

constexpr auto kResizeRules = std::to_array<OptionRule<ResizeRequest>>({
    option<&ResizeRequest::id, DeviceId>(
        {.name = "id", .value_name = "ID", .occurs = Occurs::Required}),
    option<&ResizeRequest::size,
           runtime::Maybe<runtime::Mebibytes<runtime::to_mebibytes(DiskConfig::kStoreMin),
                                             runtime::to_mebibytes(DiskConfig::kStoreMax)>>>(
        {.name = "size-mib", .value_name = "MIB", .occurs = Occurs::Once}),
});

constexpr auto kLineRules = std::to_array<OptionRule<Line>>({
    request_rule<DeviceConfig, DeviceText>({.name = "device", .value_name = "FIELDS"}),
    request_rule<DetachRequest, DetachText>({.name = "detach", .value_name = "ID"}),
    request_rule<ResizeRequest, runtime::Fields<kResizeRules>>(
        {.name = "resize", .value_name = "FIELDS"}),
    request_rule<PauseRequest, NoText>({.name = "pause"}),
    request_rule<ResumeRequest, NoText>({.name = "resume"}),
});

constexpr std::span<const OptionRule<Line>> kLine = kLineRules;

/// Claims one descriptor after the other.
class Claims {
public:
    explicit Claims(const FdSource& source) : source_(source) {}

    void claim(NumberedFd& fd) {
        if (std::ranges::find(claimed_, fd.number) != claimed_.end()) {
            return refuse(fd, "is used twice");
        }
        claimed_.push_back(fd.number);
        fd.fd = source_(fd.number);
        if (!fd.fd) {
            refuse(fd, "is not there");
        }
    }
    Result<void> outcome() && { return std::move(outcome_); }

private:
    void refuse(const NumberedFd& fd, std::string_view why) {
        outcome_ = runtime::usage_error("descriptor " + std::to_string(fd.number) + " " +
                                        std::string(why));
    }

    const FdSource& source_;
    std::vector<int> claimed_;
    Result<void> outcome_;
};

template <typename Config>
Result<void> claim_all(Config& config, const FdSource& source) {
    Claims claims(source);
    for_each_fd(config, [&claims](NumberedFd& fd) { claims.claim(fd); });
    return std::move(claims).outcome();
}

}  // namespace

std::vector<std::string> to_arguments(const MachineConfig& config) {
    return runtime::print_options(kMachine, config);
}

Result<MachineConfig> parse_arguments(std::span<const std::string> arguments) {
    MachineConfig config;
    TRY(runtime::parse_options(arguments, kMachine, config));
    if (!config.kvm && config.devices.empty()) {
        return runtime::usage_error("neither a machine nor a device is asked for");
    }
    for (const DeviceConfig& device : config.devices) {
        TRY(check_device(config, device));
    }
    return config;
}

std::string to_line(const ControlRequest& request) {
    Line printed;
    printed.printed = &request;
    std::string line;
    for (const std::string& word : runtime::print_options(kLine, printed)) {
        line.append(line.empty() ? "" : " ").append(word);
    }
    return line;
}

Result<ControlRequest> parse_line(std::string_view text) {
    Line line;
    TRY(runtime::parse_options(runtime::words_of_line(text), kLine, line));
    if (line.options != 1) {
        return runtime::usage_error("one request a line");
    }
    return std::move(line.parsed);
}

void for_each_fd(MachineConfig& config, const std::function<void(NumberedFd&)>& call) {
    if (config.kvm) {
        call(config.kvm->kvm);
        call(config.kvm->kernel);
        if (config.kvm->initrd) {
            call(*config.kvm->initrd);
        }
        if (config.kvm->memory_file) {
            call(*config.kvm->memory_file);
        }
        if (config.kvm->console) {
            call(*config.kvm->console);
        }
    }
    for (DeviceConfig& device : config.devices) {
        for_each_fd(device, call);
    }
    if (config.control) {
        call(*config.control);
    }
}

int number_fds(MachineConfig& config, int first) {
    for_each_fd(config, [&first](NumberedFd& fd) { fd.number = first++; });
    return first;
}

int number_fds(DeviceConfig& device, int first) {
    for_each_fd(device, [&first](NumberedFd& fd) { fd.number = first++; });
    return first;
}

Result<void> claim_fds(MachineConfig& config, const FdSource& source) {
    return claim_all(config, source);
}

Result<void> claim_fds(DeviceConfig& device, const FdSource& source) {
    return claim_all(device, source);
}

}  // namespace pepita::vmm
