#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "test/support/driver.h"
#include "vmm/fs/device.h"
#include "vmm/vhost_user/front_end.h"

// A vhost-user server that says anything: all of it before it is asked, then nothing more.

namespace {

using namespace pepita;  // NOLINT(google-build-using-namespace): one subject.

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto loop = *EventLoop::create();
    test::GuestRam ram(64_KiB);
    test::QueueDriver queue(ram);
    test::CountingNotifier notifier;
    const vmm::LentMemory lent{
        .file = ram.fd(),
        .regions = {{.guest_address = 0,
                     .size = ram.bytes().size(),
                     // SAFETY: a number.
                     .user_address = reinterpret_cast<std::uint64_t>(ram.bytes().data()),
                     .file_offset = 0}}};
    auto [ours, theirs] = *socket_pair();
    (void)send_some(theirs.ref(), std::as_bytes(std::span(data, size)));
    // The front end can still send, so that it gets as far as the answers go.
    (void)::shutdown(theirs.ref().number(), SHUT_WR);
    auto fs = vmm::Fs::create(*loop, std::move(ours), lent, "pod");
    if (!fs) {
        return 0;
    }
    (*fs)->start({.memory = ram.memory(), .features = abi::kVirtioFVersion1, .notifier = notifier});
    (void)(*fs)->start_queue(0, queue.setup());
    (*fs)->kick(0);
    (void)(*fs)->stop_queue(0);
    (void)loop->run_once(std::chrono::seconds(0));
    (*fs)->reset();
    return 0;
}
