#include "storage/zram/snapshot_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace pepita::storage::zram {

Checksum checksum(std::span<const std::byte> bytes) {
    const XXH128_hash_t sum = XXH3_128bits(bytes.data(), bytes.size());
    return {.low = sum.low64, .high = sum.high64};
}

struct RunningChecksum::State {
    XXH3_state_t its;
};

void RunningChecksum::Deleter::operator()(State* state) const {
    std::default_delete<State>()(state);
}

RunningChecksum::RunningChecksum() : state_(new State) { XXH3_128bits_reset(&state_->its); }

void RunningChecksum::add(std::span<const std::byte> bytes) {
    XXH3_128bits_update(&state_->its, bytes.data(), bytes.size());
}

Checksum RunningChecksum::value() const {
    const XXH128_hash_t sum = XXH3_128bits_digest(&state_->its);
    return {.low = sum.low64, .high = sum.high64};
}

Checksum link(Checksum before, Checksum next) {
    const std::array both{before, next};
    return checksum(std::as_bytes(std::span(both)));
}

std::vector<std::byte> begin_section() { return std::vector<std::byte>(sizeof(SectionHeader)); }

Checksum seal_section(std::vector<std::byte>& section, SectionKind kind, std::uint64_t number) {
    const SectionHeader header{
        .kind = kind,
        .bytes = static_cast<std::uint32_t>(section.size() - sizeof(SectionHeader)),
        .number = number};
    std::memcpy(section.data(), &header, sizeof(header));
    const Checksum sum = checksum(section);
    append(section, sum);
    return sum;
}

}  // namespace pepita::storage::zram
