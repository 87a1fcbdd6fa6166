#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernel-abi/virtio/guest_memory.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::array<std::byte, 512> low{};
    std::array<std::byte, 512> high{};
    const auto memory = pepita::virtio::GuestMemory::create(
        {{.start = pepita::virtio::GuestAddress{0}, .bytes = low},
         {.start = pepita::virtio::GuestAddress{1024}, .bytes = high}});
    while (size >= sizeof(std::uint64_t)) {
        std::uint64_t at = 0;
        std::memcpy(&at, data, sizeof(at));
        (void)memory->write(pepita::virtio::GuestAddress{at}, at).has_value();
        data += sizeof(at);
        size -= sizeof(at);
    }
    return 0;
}
