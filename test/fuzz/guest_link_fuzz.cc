#include <fcntl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "shim/guest_link.h"

namespace {

using pepita::EventLoop;
using pepita::Fd;

// A directory for the sockets of this process.
struct Place {
    Place() { CHECK(::mkdtemp(path.data()) != nullptr); }
    ~Place() { std::filesystem::remove_all(path); }
    std::string path = "/tmp/pepita-link-fuzz-XXXXXX";
};

void turn(EventLoop& loop) {
    for (int round = 0; round < 8; ++round) {
        (void)loop.run_once(std::chrono::seconds(0)).has_value();
    }
}

}  // namespace

// What the shim reads before a channel is made: the ready message of a guest, and the line with
// which the machine's process answers "CONNECT 1024". The first byte chooses which.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace shim = pepita::shim;
    if (size == 0) {
        return 0;
    }
    static const Place kPlace;
    std::filesystem::remove(kPlace.path + "/s");
    const auto loop = EventLoop::create();
    const Fd directory = *pepita::open_file(kPlace.path.c_str(), O_PATH | O_DIRECTORY);
    Fd listener = *pepita::listen_unix_at(directory.ref(), "s");
    const auto bytes = std::as_bytes(std::span(data, size).subspan(1));
    if ((data[0] & 1U) == 0) {
        int count = 0;
        const auto ready =
            shim::ReadyListener::create(**loop, std::move(listener), [&count] { ++count; });
        Fd guest = *pepita::connect_unix_at(directory.ref(), "s");
        (void)pepita::send_some(guest.ref(), bytes).has_value();
        guest = Fd();
        turn(**loop);
        CHECK(count == (std::string(data + 1, data + size) == "ready\n" ? 1 : 0));
        return 0;
    }
    int answers = 0;
    bool is_linked = false;
    const auto connect =
        shim::GuestConnect::start(**loop,
                                  {.directory = directory.ref(),
                                   .name = "s",
                                   .port = 1024,
                                   .deadline = std::chrono::seconds(9)},
                                  [&answers, &is_linked](pepita::Result<Fd> socket) {
                                      ++answers;
                                      is_linked = socket.has_value();
                                      CHECK(!socket || *socket);
                                  });
    Fd machine = *pepita::accept_client(listener.ref());
    (void)pepita::send_some(machine.ref(), bytes).has_value();
    machine = Fd();
    turn(**loop);
    CHECK(answers == 1);
    // Only digits between the word and the line's end.
    const std::string said(data + 1, data + size);
    const std::string line = said.substr(0, said.find('\n'));
    CHECK(!is_linked || (line.starts_with("OK ") && line.size() > 3 &&
                         line.find_first_not_of("0123456789", 3) == std::string::npos));
    return 0;
}
