#include "test/support/driver.h"

#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/ring.h"

namespace pepita::test {
namespace {

virtio::GuestAddress operator+(virtio::GuestAddress at, std::size_t offset) {
    return virtio::GuestAddress{std::to_underlying(at) + offset};
}

abi::VirtqDesc to_descriptor(const Buffer& buffer) {
    return {.address = std::to_underlying(buffer.at),
            .length = buffer.length,
            .flags =
                buffer.direction == Direction::FromDevice ? abi::kVirtqDescWrite : std::uint16_t{0},
            .next = 0};
}

}  // namespace

GuestRam::GuestRam(Bytes size) : fd_(::memfd_create("guest-ram", MFD_CLOEXEC)) {
    CHECK(fd_);
    CHECK(::ftruncate(fd_.ref().number(), static_cast<off_t>(size.value())) == 0);
    void* mapped =
        ::mmap(nullptr, size.value(), PROT_READ | PROT_WRITE, MAP_SHARED, fd_.ref().number(), 0);
    CHECK(mapped != MAP_FAILED);
    bytes_ = {static_cast<std::byte*>(mapped), size.value()};
    auto memory =
        virtio::GuestMemory::create({{.start = virtio::GuestAddress{0}, .bytes = bytes_}});
    CHECK(memory.has_value());
    memory_ = std::make_unique<const virtio::GuestMemory>(*std::move(memory));
}

GuestRam::~GuestRam() { (void)::munmap(bytes_.data(), bytes_.size()); }

virtio::GuestAddress GuestRam::allocate(std::size_t length, std::size_t align) {
    const std::size_t start = (next_free_ + align - 1) / align * align;
    CHECK(start <= bytes_.size());
    CHECK(length <= bytes_.size() - start);
    next_free_ = start + length;
    return virtio::GuestAddress{start};
}

virtio::GuestAddress GuestRam::place(std::span<const std::byte> bytes) {
    const virtio::GuestAddress start = allocate(bytes.size());
    std::ranges::copy(bytes, at(start, bytes.size()).begin());
    return start;
}

virtio::GuestAddress GuestRam::place(std::string_view text) {
    return place(std::as_bytes(std::span(text)));
}

std::span<std::byte> GuestRam::at(virtio::GuestAddress at, std::size_t length) const {
    return bytes_.subspan(std::to_underlying(at), length);
}

std::string GuestRam::text_at(virtio::GuestAddress at, std::size_t length) const {
    std::string text;
    for (const std::byte byte : this->at(at, length)) {
        text.push_back(std::to_integer<char>(byte));
    }
    return text;
}

QueueDriver::QueueDriver(GuestRam& ram, const Options& options)
    : ram_(ram),
      geometry_{.size = options.size,
                .descriptors = ram.allocate(abi::virtq_desc_bytes(options.size), 16),
                .available = ram.allocate(abi::virtq_avail_bytes(options.size), 2),
                .used = ram.allocate(abi::virtq_used_bytes(options.size), 4),
                .next = options.first},
      features_(options.features),
      available_idx_(options.first),
      kicked_idx_(options.first),
      collected_idx_(options.first) {
    for (std::uint16_t i = options.size; i > 0; --i) {
        free_.push_back(static_cast<std::uint16_t>(i - 1));
    }
    set_available_idx(available_idx_);
    ram_.write(geometry_.used + abi::kVirtqIdxOffset, collected_idx_);
    ram_.write(geometry_.used + abi::virtq_avail_event_offset(geometry_.size), collected_idx_);
    want_interrupt_after(0);
}

virtio::QueueSetup QueueDriver::setup() const {
    return {.memory = ram_.memory(),
            .geometry = geometry_,
            .features = features_,
            .inflight = std::nullopt};
}

virtio::Ring QueueDriver::open_ring() const {
    auto ring = setup().open();
    CHECK(ring.has_value());
    return *std::move(ring);
}

std::uint16_t QueueDriver::take_free() {
    CHECK(!free_.empty());
    const std::uint16_t index = free_.back();
    free_.pop_back();
    return index;
}

std::uint16_t QueueDriver::add(std::span<const Buffer> chain) {
    std::vector<std::uint16_t> indices;
    indices.reserve(chain.size());
    for (std::size_t i = 0; i < chain.size(); ++i) {
        indices.push_back(take_free());
    }
    for (std::size_t i = 0; i < chain.size(); ++i) {
        abi::VirtqDesc descriptor = to_descriptor(chain[i]);
        if (i + 1 < chain.size()) {
            descriptor.flags |= abi::kVirtqDescNext;
            descriptor.next = indices[i + 1];
        }
        write_descriptor(indices[i], descriptor);
    }
    const std::uint16_t head = indices.at(0);
    in_use_[head] = std::move(indices);
    publish(head);
    return head;
}

std::uint16_t QueueDriver::add_indirect(std::span<const Buffer> chain) {
    std::vector<abi::VirtqDesc> table;
    for (std::size_t i = 0; i < chain.size(); ++i) {
        abi::VirtqDesc descriptor = to_descriptor(chain[i]);
        if (i + 1 < chain.size()) {
            descriptor.flags |= abi::kVirtqDescNext;
            descriptor.next = static_cast<std::uint16_t>(i + 1);
        }
        table.push_back(descriptor);
    }
    const std::span<const std::byte> bytes = std::as_bytes(std::span(table));
    const std::uint16_t head = take_free();
    write_descriptor(head, {.address = std::to_underlying(ram_.place(bytes)),
                            .length = static_cast<std::uint32_t>(bytes.size()),
                            .flags = abi::kVirtqDescIndirect,
                            .next = 0});
    in_use_[head] = {head};
    publish(head);
    return head;
}

bool QueueDriver::needs_kick() {
    const std::uint16_t before = std::exchange(kicked_idx_, available_idx_);
    if ((features_ & abi::kVirtioFEventIdx) != 0) {
        return abi::virtq_passed_event(avail_event(), available_idx_, before);
    }
    const auto flags = ram_.read<std::uint16_t>(geometry_.used + abi::kVirtqFlagsOffset);
    return before != available_idx_ && (flags & abi::kVirtqUsedNoNotify) == 0;
}

std::optional<abi::VirtqUsedElement> QueueDriver::collect() {
    if (used_idx() == collected_idx_) {
        return std::nullopt;
    }
    const std::size_t slot = collected_idx_ % geometry_.size;
    const auto element = ram_.read<abi::VirtqUsedElement>(
        geometry_.used + abi::kVirtqEntriesOffset + slot * sizeof(abi::VirtqUsedElement));
    ++collected_idx_;
    want_interrupt_after(0);
    const auto used = in_use_.extract(static_cast<std::uint16_t>(element.id));
    if (!used.empty()) {  // empty for what a test published by hand
        free_.insert(free_.end(), used.mapped().rbegin(), used.mapped().rend());
    }
    return element;
}

void QueueDriver::want_interrupt_after(std::uint16_t more) {
    ram_.write(geometry_.available + abi::kVirtqFlagsOffset, std::uint16_t{0});
    ram_.write(geometry_.available + abi::virtq_used_event_offset(geometry_.size),
               static_cast<std::uint16_t>(collected_idx_ + more));
}

void QueueDriver::refuse_interrupts() {
    ram_.write(geometry_.available + abi::kVirtqFlagsOffset, abi::kVirtqAvailNoInterrupt);
    // One behind what was seen: passed again only after the index went all the way round.
    ram_.write(geometry_.available + abi::virtq_used_event_offset(geometry_.size),
               static_cast<std::uint16_t>(collected_idx_ - 1));
}

void QueueDriver::write_descriptor(std::uint16_t index, const abi::VirtqDesc& descriptor) const {
    ram_.write(geometry_.descriptors + std::size_t{index} * sizeof(descriptor), descriptor);
}

void QueueDriver::publish(std::uint16_t head) {
    const std::size_t slot = available_idx_ % geometry_.size;
    ram_.write(geometry_.available + abi::kVirtqEntriesOffset + slot * sizeof(head), head);
    ++available_idx_;
    set_available_idx(available_idx_);
}

void QueueDriver::set_available_idx(std::uint16_t idx) const {
    ram_.write(geometry_.available + abi::kVirtqIdxOffset, idx);
}

std::uint16_t QueueDriver::used_idx() const {
    return ram_.read<std::uint16_t>(geometry_.used + abi::kVirtqIdxOffset);
}

std::uint16_t QueueDriver::avail_event() const {
    return ram_.read<std::uint16_t>(geometry_.used + abi::virtq_avail_event_offset(geometry_.size));
}

}  // namespace pepita::test
