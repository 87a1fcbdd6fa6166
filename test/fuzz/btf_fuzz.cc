#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel-abi/abi/btf.h"
#include "kernel-abi/abi/check.h"
#include "kernel-abi/abi/layouts.h"

/// A kernel's types; the checks of all that we expect are asked of them.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto types = pepita::btf::Types::parse(std::as_bytes(std::span(data, size)));
    if (types) {
        for (pepita::btf::Types::Id id = 0; id < 8; ++id) {
            (void)types->size_of(id).has_value();
            (void)types->place_of(id, "one.two").has_value();
        }
        (void)pepita::abi_check::compare(pepita::abi_check::expected_types(),
                                         pepita::abi_check::expected_enumerators(), *types)
            .has_value();
    }
    return 0;
}
