#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "test/support/vsock_guest.h"
#include "vmm/vsock/device.h"

// The whole device between real rings and real sockets: a guest that sends any header, and clients
// that say anything, read or not, and leave.

namespace {

using namespace pepita;  // NOLINT(google-build-using-namespace): one subject.
using vmm::vsock::VsockDevice;

constexpr std::size_t kClientsMax = 8;

struct World {
    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    std::string path = "/tmp/vsock-fuzz-" + std::to_string(::getpid());
    std::unique_ptr<VsockDevice> device;
    std::unique_ptr<test::VsockGuest> guest;
    Fd host_listener;
    std::deque<Fd> clients;
    bool started = false;

    World() {
        remove_sockets();
        device = *VsockDevice::create(*loop, *listen_unix(path),
                                      {.guest_cid = test::VsockGuest::kCid,
                                       .guest_prefix = path,
                                       .connections_max = 6,
                                       .handshakes_max = 3,
                                       .unsent_max = 2});
        host_listener = *listen_unix(path + "_1");
        guest = std::make_unique<test::VsockGuest>(*device);
    }
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    World(World&&) = delete;
    World& operator=(World&&) = delete;
    ~World() {
        device->reset();  // before the guest's memory goes
        remove_sockets();
    }
    void remove_sockets() const {
        (void)::unlink(path.c_str());
        (void)::unlink((path + "_1").c_str());
    }

    void start(std::uint8_t buffers) {
        if (!std::exchange(started, true)) {
            guest->start(buffers);
        }
    }
    void restart() {
        device->reset();
        guest = std::make_unique<test::VsockGuest>(*device);
        started = false;
    }
    /// As at first: nobody is connected, or about to be.
    void clear() {
        clients.clear();
        restart();
        run();
        while (accept_client(host_listener.ref())) {}
    }
    void add_client(std::string_view says) {
        if (clients.size() == kClientsMax) {
            clients.pop_front();
        }
        if (Result<Fd> client = connect_unix(path)) {
            clients.push_back(std::move(*client));
            say(clients.size() - 1, says);
        }
    }
    void say(std::size_t index, std::string_view text) {
        (void)send_some(clients[index].ref(), std::as_bytes(std::span(text))).has_value();
    }
    void accept() {
        if (Result<Fd> client = accept_client(host_listener.ref())) {
            if (clients.size() == kClientsMax) {
                clients.pop_front();
            }
            clients.push_back(std::move(*client));
        }
    }
    void act_on_client(std::uint8_t action, std::size_t index, std::string_view text) {
        std::array<std::byte, 4096> sink{};
        switch (action % 4) {
            case 0:
                return say(index, text);
            case 1:
                (void)receive_some(clients[index].ref(), sink).has_value();
                return;
            case 2:
                (void)::shutdown(clients[index].ref().number(), text.size() % 3);
                return;
            default:
                clients.erase(clients.begin() + static_cast<std::ptrdiff_t>(index));
        }
    }
    void run() { (void)loop->run_once(std::chrono::nanoseconds(0)).has_value(); }
};

abi::VsockHeader header_from(std::span<const std::uint8_t> bytes) {
    abi::VsockHeader header{};
    std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof(header)));
    // Most of what is interesting lies behind the right addresses.
    if (header.src_cid % 16 != 0) {
        header.src_cid = test::VsockGuest::kCid;
        header.dst_cid = abi::kVsockHostCid;
        header.type = abi::kVsockTypeStream;
        header.op %= 9;
        header.src_port %= 4;
        header.dst_port = header.dst_port % 4 == 0 ? 1 : (1U << 30U) + (header.dst_port % 4);
    }
    return header;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static World world;  // its sockets cost more than all that an input does with them
    world.clear();
    std::span<const std::uint8_t> rest(data, size);
    while (rest.size() >= 2) {
        const std::uint8_t action = rest[0];
        const std::size_t length = std::min<std::size_t>(rest[1], rest.size() - 2);
        const auto bytes = rest.subspan(2, length);
        rest = rest.subspan(2 + length);
        // SAFETY: bytes seen as characters.
        const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        switch (action % 8) {
            case 0:
                world.start(action / 8);
                break;
            case 1:
                world.restart();
                break;
            case 2:
            case 3: {
                const abi::VsockHeader header = header_from(bytes);
                const std::size_t payload = header.len % 9 == 0 ? 0 : header.len % 70000;
                (void)world.guest->send_raw(
                    header, std::string(std::min<std::size_t>(payload, 65536), 'p'));
                break;
            }
            case 4:
                world.add_client(action / 8 % 2 == 0 ? "CONNECT 1\n" + std::string(text)
                                                     : std::string(text));
                break;
            case 5:
                if (!world.clients.empty()) {
                    world.act_on_client(action / 8, length % world.clients.size(), text);
                }
                break;
            case 6:
                world.guest->refills = action / 8 % 2 == 0;
                while (world.guest->receive()) {}
                world.accept();
                break;
            default:
                break;
        }
        world.run();
    }
    return 0;
}
