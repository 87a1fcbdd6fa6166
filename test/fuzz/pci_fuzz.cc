// A guest that does what it likes: configuration space, the BAR, RAM, kicks; and, so that it gets
// far soon, what a driver does. Behind it stand two devices that answer every buffer. The machine
// is made once and reset for each input.
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
#include "kernel-abi/uapi/pci.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_pci.h"
#include "kernel-abi/uapi/virtio_ring.h"
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
        ++calls;
        CHECK(offset <= registers_.size() && bytes.size() <= registers_.size() - offset);
        std::ranges::copy(bytes, registers_.begin() + offset);
    }
    void start(const virtio::Session& session) override {
        ++calls;
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
        ++calls;
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
        ++calls;
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
    void forget() {
        CHECK(notifier_ == nullptr);
        registers_.fill(std::byte{0});
    }
    int calls = 0;  // by the transport
    void change() {
        registers_[0] ^= std::byte{1};
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

constexpr std::uint64_t kRamSize = 0x4000;
constexpr std::uint8_t kFunctions = 2;
constexpr std::uint16_t kQueues = 3;

/// Where a driver of ours puts a queue: all of them in the first pages.
virtio::RingGeometry geometry_of(std::uint8_t function, std::uint16_t queue) {
    constexpr std::array<std::uint16_t, kQueues> kSizes{8, 4, 1};
    const std::uint64_t at = 0x200U * (std::uint64_t{function} * kQueues + queue);
    return {.size = kSizes.at(queue),
            .descriptors = virtio::GuestAddress{at},
            .available = virtio::GuestAddress{at + 0x100},
            .used = virtio::GuestAddress{at + 0x180}};
}

// The two BARs, one behind the other, and a little behind them.
std::uint64_t bar_address(std::uint64_t offset) {
    constexpr std::uint64_t device = 8 * PciHost::kBarMax.value();
    return offset < 0x8000 ? kMemory64 + device + offset : kMemory64 + 2 * device + offset - 0x8000;
}

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

    /// As after its construction. Functions first: they let go of RAM.
    void reset() {
        for (std::uint8_t i = 0; i < kFunctions; ++i) {
            const std::uint64_t function = kEcam + (std::uint64_t{i + 1U} << 15U);
            const std::uint64_t bar = bar_address(i * std::uint64_t{0x8000});
            const auto set = [&](std::uint64_t offset, std::uint64_t value, std::size_t size) {
                std::array<std::byte, 8> bytes{};
                store(bytes, value);
                mmio.write_on_loop(function + offset, std::span(bytes).first(size));
            };
            set(abi::pci::kCommand, 0, 2);
            set(abi::pci::kBar0, bar & 0xffff'ffff, 4);
            set(abi::pci::kBar1, bar >> 32U, 4);
        }
        for (std::uint8_t i = 0; i < kFunctions; ++i) {
            const test::PciDriver driver = driver_of(i);
            driver.set_status(0);
            CHECK(driver.status() == 0);
            driver.set_config(driver.msix_capability() + 2U, 0, 2);
            devices[i].forget();
        }
        (void)loop.run_once(std::chrono::milliseconds(0)).has_value();
        ram.fill(std::byte{0});
        messages.sent.clear();
    }
    test::PciDriver driver_of(std::uint8_t function) {
        return {mmio, kicks, kEcam, static_cast<std::uint8_t>(function + 1)};
    }
    int calls() const { return devices[0].calls + devices[1].calls; }

    EventLoop& loop;
    alignas(64) std::array<std::byte, kRamSize> ram{};
    virtio::GuestMemory memory =
        *virtio::GuestMemory::create({{.start = virtio::GuestAddress{0}, .bytes = ram}});
    test::Messages messages;
    test::Kicks kicks;
    AddressMap mmio;
    std::array<SlowDevice, kFunctions> devices;
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

enum class By : std::uint8_t { Vcpu, Loop };

// What a vCPU may do by itself reaches no device and sends nothing.
void access(Guest& guest, std::uint64_t at, const Act& act, By by = By::Loop) {
    std::array<std::byte, 8> bytes{};
    const std::span<std::byte> part = std::span(bytes).first((act.size & 7U) + 1U);
    const int calls = guest.calls();
    if ((act.size & 0x80U) != 0) {
        guest.mmio.read(at, part);
        CHECK(guest.calls() == calls && guest.messages.sent.empty());
        return;
    }
    const std::uint64_t value = act.value;
    store(bytes, value);
    (void)guest.mmio.write(at, part);
    CHECK(guest.calls() == calls && guest.messages.sent.empty());
    if (by == By::Loop) {
        guest.mmio.write_on_loop(at, part);
    }
}

// All that a driver does before its first buffer.
void bring_up(Guest& guest, const Act& act) {
    const std::uint8_t function = act.at % kFunctions;
    const test::PciDriver driver = guest.driver_of(function);
    driver.set_status(0);
    if (!driver.negotiate(abi::kVirtioFVersion1 | (act.value & driver.offered()))) {
        return;
    }
    driver.enable_msix(kQueues + 1);
    driver.set_common(offsetof(abi::VirtioPciCommonConfig, config_msix_vector), 0, 2);
    for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
        const virtio::RingGeometry geometry = geometry_of(function, queue);
        std::ranges::fill(
            std::span(guest.ram).subspan(std::to_underlying(geometry.descriptors), 0x200),
            std::byte{0});
        driver.enable_queue(queue, geometry, static_cast<std::uint16_t>(queue + 1));
    }
    driver.set_driver_ok();
}

// A descriptor as the input has it, made available at once if it wants.
void submit(Guest& guest, const Act& act) {
    const auto function = static_cast<std::uint8_t>(act.at % kFunctions);
    const auto queue = static_cast<std::uint16_t>(act.at / kFunctions % kQueues);
    const virtio::RingGeometry geometry = geometry_of(function, queue);
    const auto put = [&](virtio::GuestAddress base, std::uint64_t offset, const auto& value) {
        (void)guest.memory.write(virtio::GuestAddress{std::to_underlying(base) + offset}, value)
            .has_value();
    };
    const auto index = static_cast<std::uint16_t>(act.at / 8 % geometry.size);
    put(geometry.descriptors, index * sizeof(abi::VirtqDesc),
        abi::VirtqDesc{.address = act.value % kRamSize,
                       .length = static_cast<std::uint32_t>(act.value >> 16U) % 512,
                       .flags = static_cast<std::uint16_t>((act.value >> 32U) % 8),
                       .next = static_cast<std::uint16_t>((act.value >> 40U) % geometry.size)});
    if (act.size % 2 == 0) {
        const auto at = std::to_underlying(geometry.available);
        const auto next = *guest.memory.read<std::uint16_t>(virtio::GuestAddress{at + 2});
        put(geometry.available, 4 + next % geometry.size * 2U, index);
        put(geometry.available, 2, static_cast<std::uint16_t>(next + 1));
    }
}

// By value: the fields of an Act stand at any address.
void write_ram(Guest& guest, std::uint64_t at, std::uint64_t value) {
    (void)guest.memory.write(virtio::GuestAddress{at}, value).has_value();
}

void perform(Guest& guest, const Act& act) {
    switch (act.what % 12) {
        case 0:
            access(guest, kEcam + act.at % 0x1'8100, act);  // three slots and some
            break;
        case 1:  // a function's own registers, most often
            access(guest, kEcam + 0x8000 + act.at % 0x100, act);
            break;
        case 2:  // where the BARs are at first
            access(guest, bar_address(act.at % 0x1'0100), act);
            break;
        case 3:  // where it may have put them
            access(guest, 0xc000'0000 + act.at % 0x10'0100, act);
            break;
        case 4:
            write_ram(guest, act.at % kRamSize, act.value);
            break;
        case 5:
            for (const auto& [at, fd] : guest.kicks.fds) {
                signal_eventfd(FdRef(fd));
            }
            (void)guest.loop.run_once(std::chrono::milliseconds(0)).has_value();
            break;
        case 6:
            guest.devices[act.at % 2].answer();
            break;
        case 7:
            guest.devices[act.at % 2].change();
            break;
        case 8:
            bring_up(guest, act);
            break;
        case 9:
            submit(guest, act);
            break;
        case 10:  // of another vCPU, while the loop is busy
            access(guest, bar_address(act.at % 0x1'0100), act, By::Vcpu);
            break;
        default:  // the message tables
            access(guest, bar_address(act.at % kFunctions * 0x8000 + 0x4000 + act.at / 2 % 0x48),
                   act);
            break;
    }
    guest.messages.sent.clear();
}

}  // namespace
}  // namespace pepita::vmm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto loop = *pepita::EventLoop::create();
    static pepita::vmm::Guest guest(*loop);
    guest.reset();
    for (; size >= sizeof(pepita::vmm::Act); size -= sizeof(pepita::vmm::Act)) {
        pepita::vmm::Act act{};
        std::memcpy(&act, data, sizeof(act));
        data += sizeof(act);
        pepita::vmm::perform(guest, act);
    }
    return 0;
}
