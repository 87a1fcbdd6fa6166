#include "kernel-abi/virtio/chain.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/virtio/guest_memory.h"

namespace pepita::virtio {
namespace {

std::size_t total(const std::vector<Chain::Segment>& segments) {
    std::size_t sum = 0;
    for (const Chain::Segment segment : segments) {
        sum += segment.size();
    }
    return sum;
}

/// Takes up to `length` bytes off the front of what is left of the segment at `index`; empty at the
/// end of the part.
Chain::Segment take_front(std::vector<Chain::Segment>& segments, std::size_t& index,
                          std::size_t length) {
    while (index < segments.size() && segments[index].empty()) {
        ++index;
    }
    if (index == segments.size()) {
        return {};
    }
    Chain::Segment& segment = segments[index];
    const Chain::Segment front = segment.first(std::min(length, segment.size()));
    segment = segment.subspan(front.size());
    return front;
}

/// Gives the count of bytes, short at the end of the part.
std::size_t take(std::vector<Chain::Segment>& segments, std::size_t& index, std::size_t length,
                 std::vector<Chain::Segment>& into) {
    std::size_t done = 0;
    while (done < length) {
        const Chain::Segment front = take_front(segments, index, length - done);
        if (front.empty()) {
            break;
        }
        into.push_back(front);
        done += front.size();
    }
    return done;
}

}  // namespace

Chain::Chain(std::uint16_t head, std::vector<Segment> readable, std::vector<Segment> writable)
    : head_(head),
      readable_(std::move(readable)),
      writable_(std::move(writable)),
      readable_left_(total(readable_)),
      writable_left_(total(writable_)) {}

std::size_t Chain::read(std::span<std::byte> into) {
    std::size_t done = 0;
    while (done < into.size()) {
        const Segment front = take_front(readable_, readable_index_, into.size() - done);
        if (front.empty()) {
            break;
        }
        copy_once(into.subspan(done, front.size()), front);
        done += front.size();
    }
    readable_left_ -= done;
    return done;
}

std::size_t Chain::write(std::span<const std::byte> from) {
    std::size_t done = 0;
    while (done < from.size()) {
        const Segment front = take_front(writable_, writable_index_, from.size() - done);
        if (front.empty()) {
            break;
        }
        std::ranges::copy(from.subspan(done, front.size()), front.begin());
        done += front.size();
    }
    writable_left_ -= done;
    return done;
}

void Chain::take_readable(std::size_t length, std::vector<Segment>& into) {
    readable_left_ -= take(readable_, readable_index_, length, into);
}

void Chain::take_writable(std::size_t length, std::vector<Segment>& into) {
    writable_left_ -= take(writable_, writable_index_, length, into);
}

std::vector<Chain::Segment> Chain::take_readable(std::size_t length) {
    std::vector<Segment> taken;
    take_readable(length, taken);
    return taken;
}

std::vector<Chain::Segment> Chain::take_writable(std::size_t length) {
    std::vector<Segment> taken;
    take_writable(length, taken);
    return taken;
}

void Chain::skip_writable(std::size_t length) {
    while (length > 0) {
        const Segment front = take_front(writable_, writable_index_, length);
        if (front.empty()) {
            break;
        }
        writable_left_ -= front.size();
        length -= front.size();
    }
}

}  // namespace pepita::virtio
