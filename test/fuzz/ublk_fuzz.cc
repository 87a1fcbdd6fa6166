#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/ublk/mountinfo.h"
#include "storage/ublk/request.h"

/// What comes from the kernel: a request's descriptor, and the mounts of our namespace.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace pepita;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const std::string& point : storage::ublk::mounts_on_ublk(text)) {
        if (point.size() > size) {
            std::abort();
        }
    }
    abi::UblkIoDescriptor descriptor{};
    std::memcpy(&descriptor, data, std::min(size, sizeof(descriptor)));
    constexpr Bytes buffer = 512_KiB;
    const auto request = storage::ublk::decode(descriptor, buffer);
    if (request) {
        const bool has_data = request->operation == storage::ublk::Operation::Read ||
                              request->operation == storage::ublk::Operation::Write;
        if (has_data && (to_bytes(request->count) > buffer || request->count.value() == 0)) {
            std::abort();
        }
    }
    return 0;
}
