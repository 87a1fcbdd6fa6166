#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernel-abi/sys/check.h"
#include "runtime/bundle.h"

/// A configuration and a process are the same bytes; what was read must survive being written.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // SAFETY: char may alias anything.
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    (void)pepita::runtime::parse_config(text, "/bundle").has_value();
    const auto process = pepita::runtime::parse_process(text);
    if (process) {
        const auto again = pepita::runtime::parse_process(pepita::runtime::to_json(*process));
        CHECK(again.has_value() && *again == *process);
    }
    return 0;
}
