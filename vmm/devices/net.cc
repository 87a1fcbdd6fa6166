#include "vmm/devices/net.h"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/options.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"
#include "vmm/net/device.h"
#include "vmm/net/token_bucket.h"

namespace pepita::vmm {
namespace {

static_assert(NetConfig::kRateMax == net::TokenBucket::kRateMax);

/// "52:54:00:12:34:56".
struct Mac {
    static constexpr std::size_t kLength = 17;

    static Result<void> parse(std::array<std::uint8_t, 6>& into, std::string_view text) {
        bool is_valid = text.size() == kLength;
        for (std::size_t i = 0; is_valid && i < into.size(); ++i) {
            const std::string_view byte = text.substr(3 * i, 2);
            const auto [end, error] =
                std::from_chars(byte.data(), byte.data() + byte.size(), into[i], 16);
            is_valid = error == std::errc() && end == byte.data() + byte.size() &&
                       (i == 0 || text[3 * i - 1] == ':');
        }
        // An interface has neither a group's address nor none (IEEE 802, 8.2).
        if (!is_valid || (into[0] & 1U) != 0 || into == std::array<std::uint8_t, 6>{}) {
            return runtime::usage_error("must be the address of one station, xx:xx:xx:xx:xx:xx");
        }
        return {};
    }
    static void print(const std::array<std::uint8_t, 6>& from, std::vector<std::string>& values) {
        constexpr std::string_view digits = "0123456789abcdef";
        std::string text;
        for (const std::uint8_t byte : from) {
            text.append(text.empty() ? "" : ":");
            text += digits[byte >> 4U];
            text += digits[byte & 15U];
        }
        values.push_back(std::move(text));
    }
};

using Rate = runtime::Maybe<runtime::Number<1, NetConfig::kRateMax>>;

constexpr auto kRules = device_rules(std::to_array<DeviceRule>({
    kind_option<NetConfig, &NetConfig::mac, Mac>(
        {.name = "mac", .value_name = "MAC", .occurs = runtime::Occurs::Required}),
    kind_option<NetConfig, &NetConfig::mtu,
                runtime::Maybe<runtime::Number<NetConfig::kMtuMin, NetConfig::kMtuMax>>>(
        {.name = "mtu", .value_name = "BYTES", .occurs = runtime::Occurs::Once}),
    kind_option<NetConfig, &NetConfig::rx_rate, Rate>(
        {.name = "rx-rate", .value_name = "BYTES", .occurs = runtime::Occurs::Once}),
    kind_option<NetConfig, &NetConfig::tx_rate, Rate>(
        {.name = "tx-rate", .value_name = "BYTES", .occurs = runtime::Occurs::Once}),
}));

Result<MadeDevice> make(DeviceConfig& device, const DeviceSurroundings& around) {
    const auto& config = std::get<NetConfig>(device.kind);
    std::vector<Fd> taps;
    taps.reserve(device.fds.size());
    for (NumberedFd& fd : device.fds) {
        taps.push_back(std::move(fd.fd));
    }
    auto made = TRY(net::NetDevice::create(around.loop, std::move(taps),
                                           {.mac = config.mac,
                                            .mtu = config.mtu.value_or(0),
                                            .rx_bytes_per_second = config.rx_rate.value_or(0),
                                            .tx_bytes_per_second = config.tx_rate.value_or(0)}));
    return MadeDevice{.device = std::move(made), .resize = {}};
}

/// Its registers are QEMU's, which serves the control queue as well. The offloads that a driver
/// turns off later would stay on in our tap.
std::string qemu_options(const DeviceConfig& device) {
    const auto& config = std::get<NetConfig>(device.kind);
    std::vector<std::string> mac;
    Mac::print(config.mac, mac);
    std::string options = ",mac=" + mac.front();
    if (config.mtu) {
        options += ",host_mtu=" + std::to_string(*config.mtu);
    }
    if (device.fds.size() > 1) {
        options += ",mq=true";
    }
    return options;
}

std::string qemu_netdev(const DeviceConfig& device) {
    return "vhost-user,queues=" + std::to_string(device.fds.size());
}

}  // namespace

constinit const DeviceKindRow kNetKind = {
    .name = "net",
    .fds = 1,
    .more_fds = NetConfig::kQueuePairsMax - 1,
    // Without MSI-X: QEMU 7.2 masks its vectors by KVM's means alone where the back end is a
    // vhost-user one, and dies of it with TCG (kvm_virtio_pci_irqfd_use).
    .qemu_device = "virtio-net-pci,disable-legacy=on,romfile=,vectors=0,ctrl_guest_offloads=false",
    .qemu_options = qemu_options,
    .qemu_netdev = qemu_netdev,
    .defaults = default_kind<NetConfig>,
    .parse = parse_fields<kRules>,
    .print = print_fields<kRules>,
    .make = make};

}  // namespace pepita::vmm
