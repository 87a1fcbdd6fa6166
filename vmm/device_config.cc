#include "vmm/device_config.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/options.h"
#include "vmm/devices/disk.h"
#include "vmm/devices/entropy.h"
#include "vmm/devices/fs.h"
#include "vmm/devices/kind.h"
#include "vmm/devices/net.h"
#include "vmm/devices/vsock.h"

namespace pepita::vmm {
namespace {

/// In the order of DeviceKind.
constexpr std::array<const DeviceKindRow*, std::variant_size_v<DeviceKind>> kRows{
    &kDiskKind, &kVsockKind, &kEntropyKind, &kNetKind, &kFsKind};

bool is_id_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

}  // namespace

const DeviceKindRow& row_of(const DeviceConfig& device) { return *kRows.at(device.kind.index()); }

Result<MadeDevice> make_device(DeviceConfig& device, const DeviceSurroundings& around) {
    return TRY(row_of(device).make(device, around), name_of(device));
}

Result<void> resize_device(MadeDevice& device, std::string_view id, std::optional<Bytes> size) {
    if (!device.resize) {
        return Error(Code::InvalidArgument,
                     "the size of '" + std::string(id) + "' does not change");
    }
    return device.resize(size);
}

Result<void> FdNumbers::parse(std::vector<NumberedFd>& into, std::string_view text) {
    while (true) {
        if (into.size() == DeviceConfig::kFdsMax) {
            return runtime::usage_error("has more than " + std::to_string(DeviceConfig::kFdsMax) +
                                        " descriptors");
        }
        const std::string_view part = text.substr(0, text.find('+'));
        TRY(FdNumber::parse(into.emplace_back(), part));
        if (part.size() == text.size()) {
            return {};
        }
        text.remove_prefix(part.size() + 1);
    }
}

void FdNumbers::print(const std::vector<NumberedFd>& from, std::vector<std::string>& values) {
    std::string text;
    for (const NumberedFd& fd : from) {
        text.append(text.empty() ? "" : "+").append(std::to_string(fd.number));
    }
    if (!text.empty()) {
        values.push_back(std::move(text));
    }
}

Result<void> DeviceId::parse(std::string& into, std::string_view text) {
    if (text.empty() || text.size() > DeviceConfig::kIdMax ||
        !std::ranges::all_of(text, is_id_letter)) {
        return runtime::usage_error("must be 1 to " + std::to_string(DeviceConfig::kIdMax) +
                                    " of [A-Za-z0-9._-]");
    }
    into = text;
    return {};
}

std::string to_text(const DeviceConfig& device) {
    const DeviceKindRow& row = row_of(device);
    return std::string(row.name) + "," + row.print(device);
}

Result<DeviceConfig> parse_device(std::string_view text) {
    const std::string_view name = text.substr(0, text.find(','));
    const auto found = std::ranges::find(kRows, name, &DeviceKindRow::name);
    if (found == kRows.end()) {
        return runtime::usage_error("unknown kind '" + std::string(name) + "'");
    }
    const DeviceKindRow& row = **found;
    DeviceConfig device;
    device.kind = row.defaults();
    const std::string_view fields = text.substr(std::min(name.size() + 1, text.size()));
    TRY(row.parse(device, fields), std::string(name));
    if (device.fds.size() < row.fds || device.fds.size() > row.fds + row.more_fds) {
        return runtime::usage_error(
            std::string(name) + ": 'fd' has " + std::to_string(device.fds.size()) +
            " descriptors, not " + std::to_string(row.fds) +
            (row.more_fds == 0 ? "" : " to " + std::to_string(row.fds + row.more_fds)));
    }
    return device;
}

std::string name_of(const DeviceConfig& device) {
    return std::string(row_of(device).name) + " '" + device.id + "'";
}

std::string qemu_device_of(const DeviceConfig& device) {
    const DeviceKindRow& row = row_of(device);
    return std::string(row.qemu_device) + (row.qemu_options ? row.qemu_options(device) : "");
}

std::string qemu_netdev_of(const DeviceConfig& device) {
    const DeviceKindRow& row = row_of(device);
    return row.qemu_netdev ? row.qemu_netdev(device) : "";
}

void for_each_fd(DeviceConfig& device, const std::function<void(NumberedFd&)>& call) {
    std::ranges::for_each(device.fds, call);
    if (device.front_end) {
        call(*device.front_end);
    }
}

}  // namespace pepita::vmm
