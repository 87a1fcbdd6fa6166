#include <fcntl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "runtime/rpc/channel.h"
#include "storage/api/storage_api.h"
#include "test/support/fake_storage_service.h"

// A client that asks pepita-storage anything at all: the first byte chooses the method and whether
// a descriptor comes along, the rest is the payload. With a byte beyond them it is a state file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace runtime = pepita::runtime;
    namespace storage = pepita::storage;
    static const std::array<std::string, 10> kMethods{"Create",   "Attach",  "Detach", "Resize",
                                                      "Snapshot", "Restore", "Delete", "List",
                                                      "Stats",    "Nobody"};
    if (size == 0) {
        return 0;
    }
    const auto payload = std::span(data, size).subspan(1);
    const std::string text(payload.begin(), payload.end());
    const std::size_t choice = data[0] % (2 * kMethods.size() + 1);
    if (choice == 2 * kMethods.size()) {
        (void)storage::api::parse_storage_state(text).has_value();
        return 0;
    }
    std::vector<pepita::Fd> fds;
    if (choice >= kMethods.size()) {
        if (auto null = pepita::open_file("/dev/null", O_RDWR)) {
            fds.push_back(*std::move(null));
        }
    }
    pepita::test::FakeStorageService service;
    storage::api::dispatch(service, {.service = "pepita.storage.v1.Storage",
                                     .method = kMethods[choice % kMethods.size()],
                                     .payload = text,
                                     .fds = std::move(fds),
                                     .responder = runtime::Channel::Responder({}, 1)});
    return 0;
}
