#include "storage/ublk/parameters.h"

#include <cstdint>
#include <limits>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/block_device.h"

namespace pepita::storage::ublk {
namespace {

constexpr std::uint8_t kSectorShift = 9;
constexpr std::uint8_t kPageShift = 12;
// The kernel counts a discard's bytes in 32 bits.
constexpr std::uint32_t kDiscardSectorsMax =
    std::numeric_limits<std::uint32_t>::max() >> kSectorShift;

}  // namespace

abi::UblkParams build_parameters(Sectors capacity, Access access, Bytes request_max) {
    abi::UblkParams parameters{};
    parameters.len = sizeof(parameters);
    parameters.types = abi::kUblkParamBasic;
    abi::UblkParamBasic& basic = parameters.basic;
    basic.attrs = access == Access::ReadOnly ? abi::kUblkAttrReadOnly
                                             : abi::kUblkAttrVolatileCache | abi::kUblkAttrFua;
    basic.logical_bs_shift = kSectorShift;
    basic.physical_bs_shift = kPageShift;
    basic.io_min_shift = kPageShift;
    basic.io_opt_shift = kPageShift;
    basic.max_sectors = static_cast<std::uint32_t>(request_max.value() >> kSectorShift);
    basic.dev_sectors = capacity.value();
    if (access == Access::ReadWrite) {
        parameters.types |= abi::kUblkParamDiscard;
        abi::UblkParamDiscard& discard = parameters.discard;
        discard.discard_granularity = static_cast<std::uint32_t>(kPageSize.value());
        discard.max_discard_sectors = kDiscardSectorsMax;
        discard.max_write_zeroes_sectors = kDiscardSectorsMax;
        discard.max_discard_segments = 1;
    }
    return parameters;
}

}  // namespace pepita::storage::ublk
