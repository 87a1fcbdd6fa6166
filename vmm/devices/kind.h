#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/device.h"
#include "runtime/rpc/options.h"
#include "storage/file_ring.h"
#include "vmm/device_config.h"
#include "vmm/vhost_user/front_end.h"

namespace pepita::vmm {

/// What the process lends its devices. All of it outlives them.
struct DeviceSurroundings {
    EventLoop& loop;
    storage::FileRing& files;
    const LentMemory* memory = nullptr;  // the guest's, for servers; null without a machine
};

/// A device that is ready for its driver.
struct MadeDevice {
    std::unique_ptr<virtio::Device> device;
    /// Follows a changed size of what backs the device, or changes it to `size`. Null: it has none.
    std::move_only_function<Result<void>(std::optional<Bytes> size)> resize;
};

/// All that the rest of the VMM knows of a kind of device.
struct DeviceKindRow {
    std::string_view name;         // the first word of its text
    std::size_t fds = 0;           // how many descriptors it takes,
    std::size_t more_fds = 0;      // and how many more it may have
    std::string_view qemu_device;  // that drives it over vhost-user
    /// ",key=value" for each option that is this device's own. Null: none.
    std::string (*qemu_options)(const DeviceConfig& device) = nullptr;
    /// qemu_netdev_of(). Null: none.
    std::string (*qemu_netdev)(const DeviceConfig& device) = nullptr;
    DeviceKind (*defaults)() = nullptr;
    Result<void> (*parse)(DeviceConfig& device, std::string_view fields) = nullptr;
    std::string (*print)(const DeviceConfig& device) = nullptr;
    /// Takes the descriptors over.
    Result<MadeDevice> (*make)(DeviceConfig& device, const DeviceSurroundings& around) = nullptr;
};

const DeviceKindRow& row_of(const DeviceConfig& device);

/// The device, without what carries it. Takes its descriptors over but for the front end's.
/// Errors: what is wrong with a disk's file or a socket, naming the device.
Result<MadeDevice> make_device(DeviceConfig& device, const DeviceSurroundings& around);

/// Errors: InvalidArgument for a device whose size does not change.
Result<void> resize_device(MadeDevice& device, std::string_view id, std::optional<Bytes> size);

/// Codec of one descriptor's number.
struct FdNumber {
    static Result<void> parse(NumberedFd& into, std::string_view text) {
        return runtime::Number<0, NumberedFd::kNumberMax>::parse(into.number, text);
    }
    static void print(const NumberedFd& from, std::vector<std::string>& values) {
        values.push_back(std::to_string(from.number));
    }
};

/// Codec of a device's descriptors: "6", or "6+7" for a kind that takes several.
struct FdNumbers {
    static Result<void> parse(std::vector<NumberedFd>& into, std::string_view text);
    static void print(const std::vector<NumberedFd>& from, std::vector<std::string>& values);
};

/// Codec of a device's id.
struct DeviceId {
    static Result<void> parse(std::string& into, std::string_view text);
    static void print(const std::string& from, std::vector<std::string>& values) {
        values.push_back(from);
    }
};

using DeviceRule = runtime::OptionRule<DeviceConfig>;

/// The rules of every kind.
inline constexpr auto kCommonDeviceRules = std::to_array<DeviceRule>({
    runtime::option<&DeviceConfig::id, DeviceId>(
        {.name = "id", .value_name = "ID", .occurs = runtime::Occurs::Required}),
    runtime::option<&DeviceConfig::fds, FdNumbers>(
        {.name = "fd", .value_name = "N", .occurs = runtime::Occurs::Once}),
    runtime::option<&DeviceConfig::front_end, runtime::Maybe<FdNumber>>(
        {.name = "vhost-user", .value_name = "N", .occurs = runtime::Occurs::Once}),
});

template <typename Kind>
DeviceKind default_kind() {
    return Kind{};
}

/// A rule for a member of the kind's own config.
template <typename Kind, auto Pointer, typename Codec>
constexpr DeviceRule kind_option(const runtime::OptionText& text) {
    DeviceRule rule;
    static_cast<runtime::OptionText&>(rule) = text;
    rule.apply = [](DeviceConfig& device, std::string_view value) {
        return Codec::parse(std::get<Kind>(device.kind).*Pointer, value);
    };
    rule.print = [](const DeviceConfig& device, std::vector<std::string>& values) {
        Codec::print(std::get<Kind>(device.kind).*Pointer, values);
    };
    return rule;
}

/// The common rules, and a kind's own behind them.
template <std::size_t N>
constexpr auto device_rules(const std::array<DeviceRule, N>& own) {
    std::array<DeviceRule, kCommonDeviceRules.size() + N> rules{};
    for (std::size_t i = 0; i < rules.size(); ++i) {
        rules[i] = i < kCommonDeviceRules.size() ? kCommonDeviceRules[i]
                                                 : own[i - kCommonDeviceRules.size()];
    }
    return rules;
}

/// DeviceKindRow::parse and print of a kind with these rules.
template <const auto& Rules>
Result<void> parse_fields(DeviceConfig& device, std::string_view fields) {
    return runtime::Fields<Rules>::parse(device, fields);
}
template <const auto& Rules>
std::string print_fields(const DeviceConfig& device) {
    std::vector<std::string> values;
    runtime::Fields<Rules>::print(device, values);
    return values.front();
}

}  // namespace pepita::vmm
