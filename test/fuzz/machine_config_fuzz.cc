#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "vmm/machine_config.h"

/// Arguments, one a line; the first that begins with '!' is a line of the control socket instead.
/// What is accepted comes back from its own text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace vmm = pepita::vmm;
    std::string_view text(reinterpret_cast<const char*>(data), size);
    if (text.starts_with('!')) {
        const auto request = vmm::parse_line(text.substr(1));
        if (request) {
            const std::string line = vmm::to_line(*request);
            const auto again = vmm::parse_line(line);
            CHECK(again.has_value() && vmm::to_line(*again) == line);
        }
        return 0;
    }
    std::vector<std::string> arguments;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        arguments.emplace_back(line);
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    const auto config = vmm::parse_arguments(arguments);
    if (config) {
        const std::vector<std::string> printed = vmm::to_arguments(*config);
        const auto again = vmm::parse_arguments(printed);
        CHECK(again.has_value() && vmm::to_arguments(*again) == printed);
    }
    return 0;
}
