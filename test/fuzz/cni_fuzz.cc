// What administrators and plugins write: networks, results, errors.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cri/base64.h"
#include "cri/cni/network_config.h"
#include "cri/cni/operation.h"
#include "cri/cni/result.h"
#include "kernel-abi/sys/check.h"
#include "runtime/rpc/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto bytes = pepita::cri::from_base64(text)) {
        CHECK(bytes->size() <= text.size());
    }
    (void)pepita::cri::parse_cni_error(text, {}, "exit status 1");
    const auto json = pepita::runtime::oci::parse_json(text);
    if (!json) {
        return 0;
    }
    (void)pepita::cri::parse_cni_result(*json);
    const auto network = pepita::cri::parse_cni_network(text);
    if (network) {
        CHECK(!network->plugins.empty());
        for (const pepita::cri::CniPlugin& plugin : network->plugins) {
            const auto input = pepita::cri::plugin_input(*network, plugin, *json, *json);
            CHECK(input.is_object());
        }
    }
    return 0;
}
