#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "vmm/machine_config.h"

/// Arguments, one a line. What is accepted has to come back from its own command line.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    std::vector<std::string> arguments;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        arguments.emplace_back(line);
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    const auto config = pepita::vmm::parse_arguments(arguments);
    if (config) {
        const auto again = pepita::vmm::parse_arguments(pepita::vmm::to_arguments(*config));
        CHECK(again.has_value() && *again == *config);
    }
    return 0;
}
