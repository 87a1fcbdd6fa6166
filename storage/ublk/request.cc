#include "storage/ublk/request.h"

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"

namespace pepita::storage::ublk {
namespace {

std::optional<Operation> operation_of(std::uint32_t op_flags) {
    switch (op_flags & abi::kUblkOperationMask) {
        case abi::kUblkIoOpRead:
            return Operation::Read;
        case abi::kUblkIoOpWrite:
            return Operation::Write;
        case abi::kUblkIoOpFlush:
            return Operation::Flush;
        case abi::kUblkIoOpDiscard:
            return Operation::Discard;
        case abi::kUblkIoOpWriteZeroes:
            return Operation::WriteZeroes;
        default:
            return std::nullopt;
    }
}

constexpr std::uint64_t round_up_to_page(std::uint64_t size) {
    return (size + kPageSize.value() - 1) / kPageSize.value() * kPageSize.value();
}

}  // namespace

std::optional<Request> decode(const abi::UblkIoDescriptor& descriptor, Bytes data_max) {
    const std::optional<Operation> operation = operation_of(descriptor.op_flags);
    if (!operation) {
        return std::nullopt;
    }
    const Request request{.operation = *operation,
                          .first = Sectors(descriptor.start_sector),
                          .count = Sectors(descriptor.nr_sectors),
                          .is_forced = (descriptor.op_flags & abi::kUblkIoFFua) != 0};
    const bool has_data = *operation == Operation::Read || *operation == Operation::Write;
    if (has_data && (request.count.value() == 0 || to_bytes(request.count) > data_max)) {
        return std::nullopt;
    }
    return request;
}

std::uint64_t descriptors_offset(std::uint16_t queue) {
    return abi::kUblkDescriptorsOffset +
           queue * round_up_to_page(abi::kUblkQueueDepthMax * sizeof(abi::UblkIoDescriptor));
}

Bytes descriptors_size(std::uint16_t depth) {
    return Bytes(round_up_to_page(depth * sizeof(abi::UblkIoDescriptor)));
}

std::uint64_t data_offset(std::uint16_t queue, std::uint16_t tag) {
    return abi::kUblkDataOffset +
           (std::uint64_t{queue} << (abi::kUblkDataBits + abi::kUblkTagBits)) +
           (std::uint64_t{tag} << abi::kUblkDataBits);
}

}  // namespace pepita::storage::ublk
