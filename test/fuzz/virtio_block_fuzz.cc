#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "vmm/guest_memory.h"
#include "vmm/virtio/block/device.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/ring.h"

// The input: one byte that chooses features, then guest RAM with a ring of 8 laid out at its start,
// then pairs (place, byte) that the guest writes into the ring while requests are in flight. The
// disk is a file of 8 sectors behind a real io_uring.

namespace {

using pepita::EventLoop;
using pepita::vmm::GuestAddress;
using pepita::vmm::GuestMemory;
using pepita::vmm::virtio::Block;
using pepita::vmm::virtio::Ring;

constexpr std::size_t kRamBytes = 4096;
constexpr std::size_t kDiskBytes = 8UL * 512;

class Silent final : public pepita::vmm::virtio::Notifier {
    void queue_used(std::uint16_t /*queue*/) override {}
    void config_changed() override {}
};

struct Bench {
    Bench() {
        CHECK(::ftruncate(file.ref().number(), kDiskBytes) == 0);
        auto disk = pepita::storage::FileDevice::create(*pepita::duplicate(file.ref()),
                                                        pepita::storage::Access::ReadWrite, *loop);
        block = *Block::create(*loop, *std::move(disk), "fuzz");
    }
    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    pepita::Fd file{::memfd_create("disk", MFD_CLOEXEC)};
    std::unique_ptr<Block> block;
    Silent notifier;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Bench bench;  // an io_uring costs too much to make one for each input
    std::span<const std::byte> input = std::as_bytes(std::span(data, size));
    if (input.empty()) {
        return 0;
    }
    std::uint64_t features = pepita::abi::kVirtioFEventIdx | pepita::abi::kVirtioFIndirectDesc;
    features |= (std::to_integer<unsigned>(input[0]) & 1U) != 0 ? pepita::abi::kVirtioBlkFFlush : 0;
    input = input.subspan(1);
    // Exactly as long as RAM is, so that ASan sees a step beyond it.
    const auto ram = std::make_unique<std::array<std::byte, kRamBytes>>();
    const std::size_t first = std::min(input.size(), ram->size());
    std::ranges::copy(input.first(first), ram->begin());
    input = input.subspan(first);

    const auto memory = GuestMemory::create({{.start = GuestAddress{0}, .bytes = *ram}});
    auto ring = Ring::open(*memory,
                           {.size = 8,
                            .descriptors = GuestAddress{0},
                            .available = GuestAddress{128},
                            .used = GuestAddress{160},
                            .next = 0},
                           features);
    CHECK(ring.has_value());
    bench.block->start({.memory = *memory, .features = features, .notifier = bench.notifier});
    bench.block->start_queue(0, *std::move(ring));
    while (input.size() >= 2) {
        (*ram)[std::to_integer<std::size_t>(input[0])] = input[1];
        input = input.subspan(2);
        bench.block->kick(0);
        (void)bench.loop->run_once(std::chrono::milliseconds(0)).has_value();
    }
    bench.block->reset();
    return 0;
}
