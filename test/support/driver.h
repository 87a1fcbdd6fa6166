#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"

/// The other side of a virtio device, for tests: memory as a guest has it, and a driver's queues.
namespace pepita::test {

/// The RAM of a guest that is not there: one region from address 0, in a memfd that a vhost-user
/// back end can map as well. What does not fit aborts: a test asked for too much.
class GuestRam {
public:
    explicit GuestRam(Bytes size = 4_MiB);
    GuestRam(const GuestRam&) = delete;
    GuestRam& operator=(const GuestRam&) = delete;
    GuestRam(GuestRam&&) = delete;
    GuestRam& operator=(GuestRam&&) = delete;
    ~GuestRam();

    const virtio::GuestMemory& memory() const { return *memory_; }
    FdRef fd() const { return fd_.ref(); }
    std::span<std::byte> bytes() const { return bytes_; }

    /// Room that nobody else gets; the first is at 4096, so that 0 stays an invalid address.
    virtio::GuestAddress allocate(std::size_t length, std::size_t align = 16);
    /// A copy of `bytes` in room of its own.
    virtio::GuestAddress place(std::span<const std::byte> bytes);
    virtio::GuestAddress place(std::string_view text);

    /// What stands at `at`.
    std::span<std::byte> at(virtio::GuestAddress at, std::size_t length) const;
    std::string text_at(virtio::GuestAddress at, std::size_t length) const;

    template <typename T>
    T read(virtio::GuestAddress at) const {
        auto value = memory_->read<T>(at);
        CHECK(value.has_value());
        return *value;
    }
    template <typename T>
    void write(virtio::GuestAddress at, const T& value) const {
        CHECK(memory_->write(at, value).has_value());
    }

private:
    Fd fd_;
    std::span<std::byte> bytes_;
    std::unique_ptr<const virtio::GuestMemory> memory_;
    std::size_t next_free_ = 4096;
};

enum class Direction : std::uint8_t { ToDevice, FromDevice };

struct Buffer {
    virtio::GuestAddress at{};
    std::uint32_t length = 0;
    Direction direction = Direction::ToDevice;
};

inline constexpr std::uint64_t kRingFeatures = abi::kVirtioFEventIdx | abi::kVirtioFIndirectDesc;

/// The driver's side of one split virtqueue in `ram`, which outlives it.
///
/// Well-behaved by itself; the raw functions below break whatever a test wants broken.
class QueueDriver {
public:
    struct Options {
        std::uint16_t size = 8;
        std::uint64_t features = kRingFeatures;
        std::uint16_t first = 0;  // the index both sides begin at: near 65535 it wraps soon
    };
    explicit QueueDriver(GuestRam& ram) : QueueDriver(ram, Options()) {}
    QueueDriver(GuestRam& ram, const Options& options);

    const virtio::RingGeometry& geometry() const { return geometry_; }
    /// The device's side of this queue.
    virtio::QueueSetup setup() const;
    virtio::Ring open_ring() const;

    /// Makes a chain available, as descriptors of the queue or as one indirect table. Its head.
    std::uint16_t add(std::span<const Buffer> chain);
    std::uint16_t add(std::initializer_list<Buffer> chain) {
        return add(std::span(chain.begin(), chain.size()));
    }
    std::uint16_t add_indirect(std::span<const Buffer> chain);
    std::uint16_t add_indirect(std::initializer_list<Buffer> chain) {
        return add_indirect(std::span(chain.begin(), chain.size()));
    }

    /// Whether the device wants a kick for what was added since the last call.
    bool needs_kick();

    /// The next used element, its descriptors free again; nothing where the device has none.
    std::optional<abi::VirtqUsedElement> collect();

    /// Interrupts: after the next element (how it starts), or after `more` beyond it, or never.
    void want_interrupt_after(std::uint16_t more);
    void refuse_interrupts();

    // Raw: no bookkeeping, no rules.
    void write_descriptor(std::uint16_t index, const abi::VirtqDesc& descriptor) const;
    void publish(std::uint16_t head);
    void set_available_idx(std::uint16_t idx) const;
    std::uint16_t available_idx() const { return available_idx_; }
    std::uint16_t used_idx() const;
    std::uint16_t avail_event() const;

private:
    std::uint16_t take_free();

    GuestRam& ram_;
    virtio::RingGeometry geometry_;
    std::uint64_t features_;
    std::vector<std::uint16_t> free_;
    std::map<std::uint16_t, std::vector<std::uint16_t>> in_use_;  // head: its descriptors
    std::uint16_t available_idx_;
    std::uint16_t kicked_idx_;
    std::uint16_t collected_idx_;
};

/// Counts what a device says to its driver.
class CountingNotifier : public virtio::Notifier {
public:
    void queue_used(std::uint16_t queue) override { ++used[queue]; }
    void config_changed() override { ++config_changes; }
    void queue_broken(std::uint16_t queue) override { ++broken[queue]; }

    std::map<std::uint16_t, int> used;
    std::map<std::uint16_t, int> broken;
    int config_changes = 0;
};

}  // namespace pepita::test
