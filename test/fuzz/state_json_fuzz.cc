#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "runtime/state.h"

namespace {

/// A directory of its own that goes with the process.
struct Place {
    Place() {
        CHECK(::mkdtemp(path.data()) != nullptr);
        directory = *pepita::open_file(path.c_str(), O_RDONLY | O_DIRECTORY);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    Place(Place&&) = delete;
    Place& operator=(Place&&) = delete;
    ~Place() {
        (void)::unlinkat(directory.ref().number(), pepita::runtime::kStateFile, 0);
        (void)::rmdir(path.c_str());
    }

    std::string path = "/tmp/pepita-state-fuzz-XXXXXX";
    pepita::Fd directory;
};

}  // namespace

// What stands in a container's state.json: it is taken or refused, and what was taken is the same
// once it was written again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Place place;
    const pepita::FdRef directory = place.directory.ref();
    {
        const pepita::Fd file(::openat(directory.number(), pepita::runtime::kStateFile,
                                       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        CHECK(pepita::write_all(file.ref(), std::as_bytes(std::span(data, size)), "state")
                  .has_value());
    }
    const auto state = pepita::runtime::read_state(directory);
    if (!state) {
        CHECK(state.error().code() == pepita::Code::DataLoss);
        return 0;
    }
    CHECK(pepita::runtime::write_state(directory, *state).has_value());
    const auto again = pepita::runtime::read_state(directory);
    CHECK(again.has_value() && *again == *state);
    (void)pepita::runtime::to_oci_json(*state);
    return 0;
}
