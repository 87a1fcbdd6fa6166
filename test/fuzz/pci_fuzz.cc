// A guest that does what it likes: configuration space, the BAR, RAM, kicks. Behind
// it stands a device that answers every buffer.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"
#include "test/support/pci_driver.h"
#include "vmm/bus/access.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_host.h"
#include "vmm/bus/virtio_pci.h"

namespace pepita::vmm {
namespace {

constexpr std::uint64_t kEcam = 0xe000'0000;
constexpr std::uint64_t kMemory64 = 0x20'0000'0000;

// Keeps what it gets until the guest's next turn, so that a reset finds it in flight.
class SlowDevice final : public virtio::Device {
public:
    virtio::DeviceType type() const override { return virtio::DeviceType::Vsock; }
    std::uint64_t features() const override { return 1; }
    std::span<const std::uint16_t> queue_sizes() const override { return sizes_; }
    std::span<const std::byte> config() const override { return registers_; }
    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) override {
        CHECK(offset <= registers_.size() && bytes.size() <= registers_.size() - offset);
        std::ranges::copy(bytes, registers_.begin() + offset);
    }
    void start(const virtio::Session& session) override {
        CHECK(notifier_ == nullptr);
        notifier_ = &session.notifier;
    }
    Result<std::size_t> start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) override {
        CHECK(notifier_ != nullptr);
        CHECK(rings_.emplace(queue, TRY(setup.open())).second);
        return std::size_t{0};
    }
    std::uint16_t stop_queue(std::uint16_t queue) override {
        rings_.erase(queue);
        return 0;
    }
    void kick(std::uint16_t queue) override {
        CHECK(notifier_ != nullptr);
        const auto found = rings_.find(queue);
        if (found == rings_.end()) {
            return;
        }
        while (std::optional<virtio::Chain> chain = found->second.pop()) {
            held_.emplace_back(queue, *std::move(chain));
        }
        if (found->second.is_broken()) {
            notifier_->queue_broken(queue);
        }
    }
    void reset() override {
        CHECK(std::exchange(notifier_, nullptr) != nullptr);
        held_.clear();
        rings_.clear();
    }
    void answer() {
        for (auto& [queue, chain] : std::exchange(held_, {})) {
            std::array<std::byte, 64> bytes{};
            const std::size_t got = chain.read(bytes);
            const std::size_t put = chain.write(std::span(bytes).first(got));
            rings_.at(queue).complete(std::move(chain), static_cast<std::uint32_t>(put));
            notifier_->queue_used(queue);
        }
    }
    void change() {
        if (notifier_ != nullptr) {
            notifier_->config_changed();
        }
    }

private:
    std::array<std::uint16_t, 3> sizes_{8, 4, 1};
    std::array<std::byte, 12> registers_{};
    virtio::Notifier* notifier_ = nullptr;
    std::map<std::uint16_t, virtio::Ring> rings_;
    std::vector<std::pair<std::uint16_t, virtio::Chain>> held_;
};

struct Guest {
    explicit Guest(EventLoop& event_loop) : loop(event_loop) {
        CHECK(mmio.add(kEcam, 0x10'0000, host.ecam()).has_value());
        for (SlowDevice& device : devices) {
            auto transport = PciTransport::create(
                device, {.loop = loop, .memory = memory, .messages = messages, .kicks = kicks});
            CHECK(transport.has_value());
            CHECK(host.add(*std::move(transport)).has_value());
        }
    }

    EventLoop& loop;
    alignas(64) std::array<std::byte, 0x4000> ram{};
    virtio::GuestMemory memory =
        *virtio::GuestMemory::create({{.start = virtio::GuestAddress{0}, .bytes = ram}});
    test::Messages messages;
    test::Kicks kicks;
    AddressMap mmio;
    std::array<SlowDevice, 2> devices;
    PciHost host{mmio,
                 {.memory32 = {.start = 0xc000'0000, .size = 0x10'0000},
                  .memory64 = {.start = kMemory64, .size = 0x1000'0000}}};
};

// One thing that the guest does: 14 bytes of input.
struct Act {
    std::uint8_t what;
    std::uint8_t size;
    std::uint32_t at;
    std::uint64_t value;
} __attribute__((packed));

// The two BARs, one behind the other, and a little behind them.
std::uint64_t bar_address(std::uint64_t offset) {
    constexpr std::uint64_t device = 8 * PciHost::kBarMax.value();
    return offset < 0x8000 ? kMemory64 + device + offset : kMemory64 + 2 * device + offset - 0x8000;
}

void access(const AddressMap& map, std::uint64_t at, const Act& act) {
    std::array<std::byte, 8> bytes{};
    const std::span<std::byte> part = std::span(bytes).first((act.size & 7U) + 1U);
    if ((act.size & 0x80U) != 0) {
        map.read(at, part);
    } else {
        const std::uint64_t value = act.value;
        store(bytes, value);
        map.write_on_loop(at, part);
    }
}

void perform(Guest& guest, const Act& act) {
    switch (act.what % 8) {
        case 0:
            access(guest.mmio, kEcam + act.at % 0x1'8100, act);  // three slots and some
            break;
        case 1:  // a function's own registers, most often
            access(guest.mmio, kEcam + 0x8000 + act.at % 0x100, act);
            break;
        case 2:  // where the BARs are at first
            access(guest.mmio, bar_address(act.at % 0x1'0100), act);
            break;
        case 3:  // where it may have put them
            access(guest.mmio, 0xc000'0000 + act.at % 0x10'0100, act);
            break;
        case 4: {
            const std::uint64_t value = act.value;  // aligned, other than there
            (void)guest.memory.write(virtio::GuestAddress{act.at % 0x4000}, value).has_value();
            break;
        }
        case 5:
            for (const auto& [at, fd] : guest.kicks.fds) {
                signal_eventfd(FdRef(fd));
            }
            (void)guest.loop.run_once(std::chrono::milliseconds(0)).has_value();
            break;
        case 6:
            guest.devices[act.at % 2].answer();
            break;
        default:
            guest.devices[act.at % 2].change();
            break;
    }
    guest.messages.sent.clear();
}

}  // namespace
}  // namespace pepita::vmm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto loop = *pepita::EventLoop::create();
    pepita::vmm::Guest guest(*loop);
    for (; size >= sizeof(pepita::vmm::Act); size -= sizeof(pepita::vmm::Act)) {
        pepita::vmm::Act act{};
        std::memcpy(&act, data, sizeof(act));
        data += sizeof(act);
        pepita::vmm::perform(guest, act);
    }
    return 0;
}
