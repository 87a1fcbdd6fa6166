#include <signal.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "test/support/growing_disk.h"
#include "vmm/vhost_user_block.h"

// Serves FILE as vhost-user-blk at SOCKET with QUEUES queues, until SIGTERM. The disk has MIB; each
// SIGHUP doubles it. Says "ready" once front ends may connect, and "resized" after a SIGHUP.

namespace {

using namespace pepita;  // NOLINT(google-build-using-namespace): one subject.

constexpr std::uint64_t kSectorsPerMebibyte = 2048;
constexpr Sectors kLimit{1024 * kSectorsPerMebibyte};

Result<void> serve(const std::string& file, const std::string& socket, std::uint16_t queues,
                   Sectors capacity, const sigset_t& signals) {
    const auto disk = TRY(test::GrowingDisk::open_file_at(file, capacity, kLimit));
    const auto server = TRY(vmm::VhostUserBlock::start(
        disk, {.socket = socket, .serial = "pepita-test", .queues = queues}));
    std::puts("ready");
    int signal = 0;
    while (::sigwait(&signals, &signal) == 0 && signal == SIGHUP) {
        disk->resize(Sectors(disk->capacity().value() * 2));
        server->capacity_changed();
        std::puts("resized");
    }
    server->stop();
    return {};
}

std::uint16_t number(const char* text) {
    std::uint16_t value = 0;
    const std::string digits(text);
    (void)std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
}

}  // namespace

int main(int argc, char** argv) {
    const std::span arguments(argv, static_cast<std::size_t>(argc));
    if (argc != 5) {
        (void)std::fputs("usage: vhost-user-disk FILE SOCKET QUEUES MIB\n", stderr);
        return EXIT_FAILURE;
    }
    (void)std::setvbuf(stdout, nullptr, _IOLBF, 0);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::sigaddset(&signals, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    (void)::signal(SIGPIPE, SIG_IGN);
    const auto served = serve(arguments[1], arguments[2], number(arguments[3]),
                              Sectors(number(arguments[4]) * kSectorsPerMebibyte), signals);
    if (!served) {
        log::error("disk not served", {{"error", served.error().message()}});
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
