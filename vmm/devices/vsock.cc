#include "vmm/devices/vsock.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/options.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"
#include "vmm/vsock/device.h"
#include "vmm/vsock/muxer.h"

namespace pepita::vmm {
namespace {

struct Prefix {
    static Result<void> parse(std::string& into, std::string_view text) {
        if (text.empty() || text.size() > VsockConfig::kPrefixMax) {
            return runtime::usage_error("must have 1 to " +
                                        std::to_string(VsockConfig::kPrefixMax) + " bytes");
        }
        into = text;
        return {};
    }
    static void print(const std::string& from, std::vector<std::string>& values) {
        values.push_back(from);
    }
};

constexpr auto kRules = device_rules(std::to_array<DeviceRule>({
    kind_option<VsockConfig, &VsockConfig::guest_cid,
                runtime::Number<VsockConfig::kCidMin, VsockConfig::kCidMax>>(
        {.name = "cid", .value_name = "CID", .occurs = runtime::Occurs::Required}),
    kind_option<VsockConfig, &VsockConfig::guest_prefix, Prefix>(
        {.name = "prefix", .value_name = "PATH", .occurs = runtime::Occurs::Required}),
}));

Result<MadeDevice> make(DeviceConfig& device, const DeviceSurroundings& around) {
    auto& vsock = std::get<VsockConfig>(device.kind);
    vsock::Options options;
    options.guest_cid = vsock.guest_cid;
    options.guest_prefix = std::move(vsock.guest_prefix);
    return MadeDevice{.device = TRY(vsock::VsockDevice::create(
                          around.loop, std::move(device.fds[0].fd), std::move(options))),
                      .resize = {}};
}

}  // namespace

constinit const DeviceKindRow kVsockKind = {.name = "vsock",
                                            .fds = 1,
                                            .more_fds = 0,
                                            .qemu_device = "vhost-user-vsock-pci",
                                            .qemu_options = nullptr,
                                            .qemu_netdev = nullptr,
                                            .defaults = default_kind<VsockConfig>,
                                            .parse = parse_fields<kRules>,
                                            .print = print_fields<kRules>,
                                            .make = make};

}  // namespace pepita::vmm
