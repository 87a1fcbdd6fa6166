#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest/machine_setup.h"
#include "runtime/guest/vsock.h"
#include "runtime/guest_api.h"

// PID 1 of a guest that was taken over: says that it is ready, and to all that the host asks it
// answers with the bytes of /answer.

namespace {

namespace guest = pepita::runtime::guest;

constexpr std::size_t kAnswerMax = std::size_t{16} << 20U;

void say(const pepita::Fd& to, std::string_view words) {
    while (!words.empty()) {
        pollfd room{.fd = to.ref().number(), .events = POLLOUT, .revents = 0};
        (void)::poll(&room, 1, -1);
        const ssize_t sent = ::write(to.ref().number(), words.data(), words.size());
        if (sent <= 0) {
            return;
        }
        words.remove_prefix(static_cast<std::size_t>(sent));
    }
}

}  // namespace

int main() {
    (void)guest::load_modules(guest::kModuleList);
    const std::string lie = pepita::read_all(pepita::open_file("/answer", O_RDONLY).value().ref(),
                                             kAnswerMax, "/answer")
                                .value();
    const auto api = guest::listen_vsock(pepita::runtime::kGuestApiPort);
    // The first word to the host is a lie, too; then comes one that it waits for.
    for (const std::string_view word : {std::string_view(lie), std::string_view("ready\n")}) {
        if (const auto host = guest::connect_host(pepita::runtime::kHostReadyPort)) {
            say(*host, word);
        }
    }
    std::vector<pepita::Fd> clients;
    while (api) {
        pollfd next{.fd = api->ref().number(), .events = POLLIN, .revents = 0};
        (void)::poll(&next, 1, -1);
        if (auto client = guest::accept_host(api->ref())) {
            say(*client, lie);
            clients.push_back(*std::move(client));
        }
    }
    return EXIT_FAILURE;
}
