#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"

// The input is guest RAM itself, with a ring of 8 laid out at its start. After each chain the next
// bytes of the input are scribbled over the ring, as a guest would while we work.

namespace {

using pepita::virtio::Chain;
using pepita::virtio::GuestAddress;
using pepita::virtio::GuestMemory;
using pepita::virtio::Ring;

constexpr std::size_t kRamBytes = 1024;
constexpr std::size_t kRingBytes = 256;

void scribble(std::span<std::byte> ram, std::span<const std::byte>& input) {
    if (input.size() < 2) {
        return;
    }
    ram[std::to_integer<std::size_t>(input[0])] = input[1];  // 256 places: the ring
    input = input.subspan(2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    alignas(16) std::array<std::byte, kRamBytes> ram{};
    std::span<const std::byte> input = std::as_bytes(std::span(data, size));
    const std::size_t first = std::min(input.size(), ram.size());
    std::ranges::copy(input.first(first), ram.begin());
    input = input.subspan(first);
    const auto memory = GuestMemory::create({{.start = GuestAddress{0}, .bytes = ram}});
    static_assert(128 + 22 <= 160 && 160 + 70 <= kRingBytes);
    auto ring = Ring::open(*memory,
                           {.size = 8,
                            .descriptors = GuestAddress{0},
                            .available = GuestAddress{128},
                            .used = GuestAddress{160},
                            .next = 0},
                           pepita::abi::kVirtioFEventIdx | pepita::abi::kVirtioFIndirectDesc);
    std::optional<Chain> held;
    for (int round = 0; round < 64; ++round) {
        std::optional<Chain> chain = ring->pop();
        if (!chain) {
            if (!ring->enable_kicks()) {
                break;
            }
            continue;
        }
        std::array<std::byte, 48> some{};
        (void)chain->read(some);
        for (const Chain::Segment segment : chain->take_writable(512)) {
            std::ranges::fill(segment, std::byte{0x5a});
        }
        scribble(ram, input);
        std::swap(held, chain);  // out of order
        if (chain) {
            ring->complete(*std::move(chain), 512);
            (void)ring->should_interrupt();
        }
    }
    return 0;
}
