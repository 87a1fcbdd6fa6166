#include "vmm/devices/fs.h"

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
#include "vmm/fs/device.h"

namespace pepita::vmm {
namespace {

struct Tag {
    static Result<void> parse(std::string& into, std::string_view text) {
        if (text.empty() || text.size() > FsConfig::kTagMax || text.contains('\0')) {
            return runtime::usage_error("must have 1 to " + std::to_string(FsConfig::kTagMax) +
                                        " bytes");
        }
        into = text;
        return {};
    }
    static void print(const std::string& from, std::vector<std::string>& values) {
        values.push_back(from);
    }
};

constexpr auto kRules = device_rules(std::to_array<DeviceRule>({
    kind_option<FsConfig, &FsConfig::tag, Tag>(
        {.name = "tag", .value_name = "TAG", .occurs = runtime::Occurs::Required}),
}));

Result<MadeDevice> make(DeviceConfig& device, const DeviceSurroundings& around) {
    if (around.memory == nullptr) {
        return Error(Code::InvalidArgument, "needs --machine: its server is given the memory");
    }
    return MadeDevice{
        .device = TRY(Fs::create(around.loop, std::move(device.fds[0].fd), *around.memory,
                                 std::get<FsConfig>(device.kind).tag)),
        .resize = {}};
}

}  // namespace

constinit const DeviceKindRow kFsKind = {.name = "fs",
                                         .fds = 1,
                                         .qemu_device = "vhost-user-fs-pci",
                                         .defaults = default_kind<FsConfig>,
                                         .parse = parse_fields<kRules>,
                                         .print = print_fields<kRules>,
                                         .make = make};

}  // namespace pepita::vmm
