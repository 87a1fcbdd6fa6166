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
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "storage/virtio_block.h"
#include "storage/zram_device.h"
#include "storage/zram_store.h"

// The input: one byte that chooses, then guest RAM with the rings of 8 laid out at its start, 256
// bytes each, then pairs (place, byte) that the guest writes into one ring after the other while
// requests are in flight. The byte's bits: 0 the driver can flush; 1 and 2 how many queues, less
// one; 3 the disk is a store in memory, not a file of 8 sectors behind a real io_uring.

namespace {

using pepita::EventLoop;
using pepita::storage::VirtioBlock;
using pepita::storage::ZramStore;
using pepita::virtio::GuestAddress;
using pepita::virtio::GuestMemory;

constexpr std::size_t kRamBytes = 4096;
constexpr std::size_t kDiskBytes = 8UL * 512;
constexpr std::uint16_t kQueues = 4;
constexpr std::size_t kRingBytes = 256;

class Silent final : public pepita::virtio::Notifier {
    void queue_used(std::uint16_t /*queue*/) override {}
    void config_changed() override {}
};

struct Bench {
    Bench() {
        CHECK(::ftruncate(file.ref().number(), kDiskBytes) == 0);
        auto disk = pepita::storage::FileDevice::create(*pepita::duplicate(file.ref()),
                                                        pepita::storage::Access::ReadWrite, *loop);
        on_file = *VirtioBlock::create(*loop, *std::move(disk), "fuzz", kQueues);
        const auto store = *ZramStore::create(pepita::Fd(::memfd_create("store", MFD_CLOEXEC)),
                                              pepita::Bytes(16U << 20U));
        const auto volume =
            *store->create_volume({.name = "disk", .capacity = pepita::Pages(kDiskBytes / 4096)});
        on_store = *VirtioBlock::create(
            *loop, std::make_unique<pepita::storage::ZramDevice>(volume), "fuzz", kQueues);
    }
    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    pepita::Fd file{::memfd_create("disk", MFD_CLOEXEC)};
    std::unique_ptr<VirtioBlock> on_file;
    std::unique_ptr<VirtioBlock> on_store;
    Silent notifier;
};

pepita::virtio::QueueSetup setup_of(const GuestMemory& memory, std::uint16_t queue,
                                    std::uint64_t features) {
    const std::uint64_t at = queue * kRingBytes;
    return {.memory = memory,
            .geometry = {.size = 8,
                         .descriptors = GuestAddress{at},
                         .available = GuestAddress{at + 128},
                         .used = GuestAddress{at + 160},
                         .next = 0},
            .features = features,
            .inflight = std::nullopt};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Bench bench;  // an io_uring costs too much to make one for each input
    std::span<const std::byte> input = std::as_bytes(std::span(data, size));
    if (input.empty()) {
        return 0;
    }
    std::uint64_t features = pepita::abi::kVirtioFEventIdx | pepita::abi::kVirtioFIndirectDesc;
    const auto choice = std::to_integer<unsigned>(input[0]);
    features |= (choice & 1U) != 0 ? pepita::abi::kVirtioBlkFFlush : 0;
    const auto queues = static_cast<std::uint16_t>(1 + (choice >> 1U & 3U));
    VirtioBlock& block = (choice & 8U) != 0 ? *bench.on_store : *bench.on_file;
    input = input.subspan(1);
    // Exactly as long as RAM is, so that ASan sees a step beyond it.
    const auto ram = std::make_unique<std::array<std::byte, kRamBytes>>();
    const std::size_t first = std::min(input.size(), ram->size());
    std::ranges::copy(input.first(first), ram->begin());
    input = input.subspan(first);

    const auto memory = GuestMemory::create({{.start = GuestAddress{0}, .bytes = *ram}});
    block.start({.memory = *memory, .features = features, .notifier = bench.notifier});
    for (std::uint16_t queue = 0; queue < queues; ++queue) {
        CHECK(block.start_queue(queue, setup_of(*memory, queue, features)).has_value());
    }
    for (std::uint16_t queue = 0; input.size() >= 2; queue = (queue + 1) % queues) {
        (*ram)[queue * kRingBytes + std::to_integer<std::size_t>(input[0])] = input[1];
        input = input.subspan(2);
        block.kick(queue);
        (void)bench.loop->run_once(std::chrono::milliseconds(0)).has_value();
    }
    block.reset();
    return 0;
}
