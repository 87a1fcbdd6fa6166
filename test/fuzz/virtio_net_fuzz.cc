#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/virtio_net.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"
#include "vmm/net/device.h"
#include "vmm/net/frame.h"

// The whole device between real rings and the queues of a tap: a driver with any chains, headers
// and commands, and a wire with any frames. A buffer that was given back is given back once, and
// what is used of it is no longer than it.

namespace {

using namespace pepita;  // NOLINT(google-build-using-namespace): one subject.
using vmm::net::FrameHeader;
using vmm::net::NetDevice;

constexpr std::size_t kPairs = 2;
constexpr std::size_t kQueues = 2 * kPairs + 1;
constexpr std::uint16_t kSize = 16;

/// The most memory that one action asks for.
constexpr std::size_t kActionMax = 200'000;

struct World {
    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    std::array<Fd, kPairs> wires;
    std::unique_ptr<NetDevice> device;
    std::unique_ptr<test::GuestRam> ram;
    test::CountingNotifier notifier;
    std::array<std::unique_ptr<test::QueueDriver>, kQueues> queues;
    std::array<std::set<std::uint32_t>, kQueues> added;  // heads that the device has

    explicit World(bool is_limited) {
        std::vector<Fd> taps;
        for (Fd& wire : wires) {
            auto pair = *message_socket_pair();
            taps.push_back(std::move(pair.first));
            wire = std::move(pair.second);
        }
        vmm::net::Options options{.mac = {2, 0, 0, 0, 0, 1}};
        options.mtu = 1400;
        options.rx_bytes_per_second = is_limited ? 100'000 : 0;
        options.tx_bytes_per_second = is_limited ? 100'000 : 0;
        device = *NetDevice::create(*loop, std::move(taps), options);
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    World(World&&) = delete;
    World& operator=(World&&) = delete;
    ~World() { device->reset(); }  // before the guest's memory goes

    void start(std::uint64_t features) {
        device->reset();
        ram = std::make_unique<test::GuestRam>(2_MiB);
        const std::uint64_t agreed = (features & device->features()) | test::kRingFeatures;
        device->start({.memory = ram->memory(), .features = agreed, .notifier = notifier});
        for (std::uint16_t i = 0; i < kQueues; ++i) {
            added.at(i).clear();
            queues.at(i) = std::make_unique<test::QueueDriver>(
                *ram, test::QueueDriver::Options{.size = kSize, .features = agreed});
            CHECK(device->start_queue(i, queues.at(i)->setup()).has_value());
        }
    }
    /// The chain's bytes come from `bytes`; each descriptor has one of its own before them.
    void add(std::uint16_t queue, std::span<const std::uint8_t> bytes, bool is_receive) {
        std::vector<test::Buffer> chain;
        while (bytes.size() >= 2 && chain.size() < kSize / 2) {
            const std::uint8_t kind = bytes[0];
            const std::size_t wanted = (bytes[1] + 1U) * (kind % 4 == 3 ? 64U : 1U);
            bytes = bytes.subspan(2);
            test::Buffer buffer{.at = ram->allocate(std::max<std::size_t>(wanted, 1)),
                                .length = static_cast<std::uint32_t>(wanted)};
            const bool is_writable = is_receive != (kind % 16 == 7);
            if (is_writable ||
                (!chain.empty() && chain.back().direction == test::Direction::FromDevice)) {
                buffer.direction = test::Direction::FromDevice;
            } else {
                const std::size_t size = std::min(bytes.size(), wanted);
                std::memcpy(ram->at(buffer.at, size).data(), bytes.data(), size);
                bytes = bytes.subspan(kind % 2 == 0 ? size : 0);
            }
            chain.push_back(buffer);
        }
        add(queue, chain);
    }
    void add(std::uint16_t queue, std::span<const test::Buffer> chain) {
        if (!chain.empty() && added.at(queue).size() < kSize) {
            added.at(queue).insert(queues.at(queue)->add_indirect(chain));
        }
    }
    void collect(std::uint16_t queue) {
        while (const auto used = queues.at(queue)->collect()) {
            added.at(queue).erase(used->id);
            CHECK(used->length <= vmm::net::kFrameMax);
        }
    }
    void command(std::uint8_t command_class, std::span<const std::uint8_t> bytes) {
        std::array<std::uint8_t, 16> request{};
        request[0] = command_class;
        std::memcpy(request.data() + 1, bytes.data(), std::min(bytes.size(), request.size() - 1));
        const auto at = ram->place(std::as_bytes(std::span(request)));
        const auto answer = ram->allocate(1);
        const auto length = static_cast<std::uint32_t>(std::min(bytes.size() + 1, request.size()));
        const std::array<test::Buffer, 2> chain{
            {{.at = at, .length = length},
             {.at = answer, .length = 1, .direction = test::Direction::FromDevice}}};
        add(kQueues - 1, chain);
        device->kick(kQueues - 1);
        collect(kQueues - 1);
    }
    void frame(std::size_t wire, std::span<const std::uint8_t> bytes, std::size_t padding) {
        std::vector<std::uint8_t> whole(bytes.begin(), bytes.end());
        whole.resize(std::max<std::size_t>(whole.size() + padding, 1));
        (void)send_some(wires.at(wire).ref(), std::as_bytes(std::span(whole))).has_value();
    }
    void drain(std::size_t wire) const {
        static std::array<std::byte, vmm::net::kFrameMax> sink;
        while (const auto got = receive_some(wires.at(wire).ref(), sink)) {
            if (got->size == 0) {
                return;
            }
            CHECK(got->size > sizeof(FrameHeader));
        }
    }
    bool has_room(std::size_t more) const {
        return std::to_underlying(ram->allocate(1)) + more < ram->bytes().size();
    }
    void run() { (void)loop->run_once(std::chrono::nanoseconds(0)).has_value(); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) {
        return 0;
    }
    World world(data[0] % 8 == 0);
    world.start(data[0] % 2 == 0 ? ~std::uint64_t{0} : ~abi::kVirtioNetFMrgRxbuf);
    std::span<const std::uint8_t> rest(data + 1, size - 1);
    while (rest.size() >= 2) {
        const std::uint8_t action = rest[0];
        const std::size_t length = std::min<std::size_t>(rest[1], rest.size() - 2);
        const auto bytes = rest.subspan(2, length);
        rest = rest.subspan(2 + length);
        const auto pair = static_cast<std::uint16_t>(action / 8 % kPairs);
        const auto receive = static_cast<std::uint16_t>(2 * pair);
        const auto transmit = static_cast<std::uint16_t>(receive + 1);
        if (!world.has_room(kActionMax)) {
            world.start(~std::uint64_t{0});
        }
        switch (action % 8) {
            case 0:
            case 1:
                for (int i = 0; i <= action / 16 && world.has_room(kActionMax); ++i) {
                    world.collect(receive);
                    world.add(receive, bytes, true);
                }
                world.device->kick(receive);
                break;
            case 2:
                world.collect(transmit);
                world.add(transmit, bytes, false);
                world.device->kick(transmit);
                world.drain(pair);
                break;
            case 3:
                world.frame(pair, bytes, std::size_t{action / 16U} * 700);
                break;
            case 4:
                world.command(
                    action / 8 % 2 == 0 ? abi::kVirtioNetCtrlMq : abi::kVirtioNetCtrlGuestOffloads,
                    bytes);
                break;
            case 5:
                // No rules: any descriptor, any head.
                if (bytes.size() >= sizeof(abi::VirtqDesc)) {
                    abi::VirtqDesc descriptor;
                    std::memcpy(&descriptor, bytes.data(), sizeof(descriptor));
                    descriptor.address %= 2U << 20U;
                    const auto queue = static_cast<std::uint16_t>(action / 8 % kQueues);
                    world.queues.at(queue)->write_descriptor(bytes[0] % kSize, descriptor);
                    world.queues.at(queue)->publish(bytes[1] % (kSize + 1));
                    world.device->kick(queue);
                }
                break;
            case 6:
                if (action / 8 % 4 == 0) {
                    world.start(length);
                } else if (action / 8 % 4 == 1) {
                    (void)world.device->stop_queue(receive);
                } else if (action / 8 % 4 == 2) {
                    world.device->set_link(length % 2 == 0);
                } else {
                    world.wires.at(pair) = Fd();
                }
                break;
            default:
                world.drain(pair);
                break;
        }
        world.run();
    }
    return 0;
}
