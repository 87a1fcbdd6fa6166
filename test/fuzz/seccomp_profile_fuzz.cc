#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cri/spec/seccomp.h"
#include "runtime/rpc/json.h"

/// A node's profile of system calls.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // SAFETY: char may alias anything.
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto profile = pepita::cri::profile_json(text, {"CAP_SYS_ADMIN"})) {
        (void)pepita::runtime::oci::dump(*profile);
    }
    return 0;
}
