#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "storage/block_device.h"

namespace pepita::storage {

/// The segments of a request as one run of bytes. Borrows the list.
class SegmentCursor {
public:
    SegmentCursor() = default;
    explicit SegmentCursor(std::span<const BlockDevice::Segment> segments) : segments_(segments) {
        skip_empty();
    }
    bool at_end() const { return segments_.empty(); }
    /// What comes next and lies together, up to `most` bytes. Not at the end.
    std::span<std::byte> take(std::size_t most) {
        const std::span<std::byte> rest = segments_.front().subspan(at_);
        const std::span<std::byte> piece = rest.first(std::min(most, rest.size()));
        at_ += piece.size();
        skip_empty();
        return piece;
    }
    /// Copies the next bytes, as many as `into` has; there are so many.
    void copy_out(std::span<std::byte> into) {
        while (!into.empty()) {
            const std::span<const std::byte> piece = take(into.size());
            std::ranges::copy(piece, into.begin());
            into = into.subspan(piece.size());
        }
    }
    /// Fills the next bytes; there are so many.
    void copy_in(std::span<const std::byte> from) {
        while (!from.empty()) {
            const std::span<std::byte> piece = take(from.size());
            std::ranges::copy(from.first(piece.size()), piece.begin());
            from = from.subspan(piece.size());
        }
    }

private:
    void skip_empty() {
        while (!segments_.empty() && at_ == segments_.front().size()) {
            segments_ = segments_.subspan(1);
            at_ = 0;
        }
    }

    std::span<const BlockDevice::Segment> segments_;
    std::size_t at_ = 0;
};

}  // namespace pepita::storage
