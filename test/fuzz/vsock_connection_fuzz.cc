#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "kernel-abi/sys/check.h"
#include "vmm/vsock/connection.h"
#include "vmm/vsock/packet.h"

// A connection between a guest and a client that both do what they like.

namespace {

using namespace pepita::vmm::vsock;  // NOLINT(google-build-using-namespace): one subject.

struct Step {
    std::uint8_t action;
    std::uint8_t op;
    std::uint16_t small;
    std::uint32_t large;
};

struct Model {
    Connection connection;
    std::uint32_t held = 0;  // payload that waits for the client
    std::uint32_t buffer = 0;

    void on_packet(const Step& step) {
        const Packet packet{.ports = connection.ports(),
                            .op = VsockOp{static_cast<std::uint16_t>(step.op % 8)},
                            .length = step.large,
                            .flags = step.small,
                            .buf_alloc = step.large,
                            .fwd_cnt = step.small};
        const bool was_over = connection.is_over();
        if (connection.on_packet(packet) == Event::Payload) {
            held += packet.length;
        }
        CHECK(!was_over || connection.is_over());
        CHECK(held <= kBufferSize);  // never more than it was given room for
        buffer = std::max(buffer, packet.buf_alloc);
    }

    void act(const Step& step) {
        switch (step.action % 7) {
            case 0:
                on_packet(step);
                break;
            case 1:
                (void)connection.next_control();
                break;
            case 2:
                (void)connection.payload(std::min(connection.room(), step.large));
                break;
            case 3: {
                const std::uint32_t out = std::min(held, step.large);
                connection.forwarded(out);
                held -= out;
                break;
            }
            case 4:
                connection.stop_sending();
                break;
            case 5:
                connection.forwarded(held);  // as Client::give_up() has it
                held = 0;
                connection.stop_receiving();
                break;
            case 6:
                connection.fail();
                break;
            default:
                break;
        }
        CHECK(connection.room() <= buffer);
        Connection copy = connection;
        CHECK(connection.has_control() == copy.next_control().has_value());
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const Ports ports{.host = 1, .guest = 2};
    Model model{.connection = data[0] % 2 == 0
                                  ? Connection::from_host(ports)
                                  : Connection::from_guest({.ports = ports, .buf_alloc = 0})};
    for (std::size_t at = 1; at + sizeof(Step) <= size; at += sizeof(Step)) {
        Step step{};
        std::memcpy(&step, data + at, sizeof(step));
        model.act(step);
    }
    return 0;
}
