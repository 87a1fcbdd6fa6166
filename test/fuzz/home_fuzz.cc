#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel-abi/sys/check.h"
#include "runtime/container/home.h"

/// An image's /etc/passwd, behind four bytes of user id.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    std::uint32_t uid = 0;
    for (int byte = 0; byte < 4 && !text.empty(); ++byte) {
        uid = uid << 8U | static_cast<unsigned char>(text.front());
        text.remove_prefix(1);
    }
    const std::string home = pepita::runtime::container::home_of(text, uid);
    CHECK(home.starts_with('/') && !home.contains(':') && !home.contains('\n'));
    return 0;
}
