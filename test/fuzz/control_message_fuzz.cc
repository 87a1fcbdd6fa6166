#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container/control.h"

// A process that a container has got hold of, and that sends its parent anything at all.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace container = pepita::runtime::container;
    auto pair = container::control_pair();
    // A whole message where the input is that of a short one: kind, value, words.
    std::string bytes(data, data + size);
    bytes.resize(size > 1032 || (size > 0 && (data[0] & 0x80U) != 0) ? size : 1032);
    (void)pepita::send_some(pair->child.ref(), std::as_bytes(std::span(bytes))).has_value();
    pair->child = pepita::Fd();
    const auto message = container::receive_control(pair->parent.ref());
    if (message && message->kind == container::ControlMessage::Kind::Failed) {
        const pepita::Error error = error_of(*message);
        CHECK(!pepita::to_string(error.code()).empty());  // undefined for what is no code
        CHECK(error.message().size() < 1024);
    }
    return 0;
}
