#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

namespace pepita::test {

/// A disk in memory whose requests are done when the test says so, or at drain().
class FakeBlockDevice final : public storage::BlockDevice {
public:
    enum class Kind : std::uint8_t { Read, Write, Flush, Discard, WriteZeroes };
    struct Asked {
        Kind kind;
        Sectors first;
        std::size_t length;
        std::uint64_t tag;
        std::vector<Segment> segments;
    };

    explicit FakeBlockDevice(Sectors capacity, storage::Access access = storage::Access::ReadWrite,
                             std::uint32_t depth = 64)
        : bytes(to_bytes(capacity).value()), access_(access), depth_(depth) {}

    Sectors capacity() const override { return Sectors(bytes.size() / kSectorSize.value()); }
    storage::Access access() const override { return access_; }
    std::uint32_t depth() const override { return depth_; }
    storage::MergeLimits merge_limits() const override { return merging; }
    void set_listener(OnComplete listener) override { listener_ = std::move(listener); }
    void read(Sectors first, std::span<const Segment> into, std::uint64_t tag) override {
        ask(Kind::Read, first, into, tag);
    }
    void write(Sectors first, std::span<const Segment> from, std::uint64_t tag) override {
        ask(Kind::Write, first, from, tag);
    }
    void flush(std::uint64_t tag) override { ask(Kind::Flush, Sectors(0), {}, tag); }
    void discard(Sectors first, Sectors count, std::uint64_t tag) override {
        ask_to_clear(Kind::Discard, first, count, tag);
    }
    void write_zeroes(Sectors first, Sectors count, std::uint64_t tag) override {
        ask_to_clear(Kind::WriteZeroes, first, count, tag);
    }
    void submit() override { ++submits; }
    bool poll() override {
        const bool has_any = is_instant && !waiting.empty();
        for (std::size_t left = has_any ? waiting.size() : 0; left > 0; --left) {
            finish(0);
        }
        return has_any;
    }
    void drain() override {
        while (!waiting.empty()) {
            finish(0);
        }
    }

    /// Does the request at `index` of `waiting`, and tells the listener.
    void finish(std::size_t index, storage::IoStatus status = storage::IoStatus::Ok) {
        const Asked asked = waiting.at(index);
        waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(index));
        if (status == storage::IoStatus::Ok) {
            move_bytes(asked);
        }
        const storage::IoCompletion done{.tag = asked.tag, .status = status};
        listener_({&done, 1});
        ++finished;
        if (on_finish) {
            on_finish();
        }
    }

    std::vector<std::byte> bytes;
    std::vector<Asked> waiting;
    storage::MergeLimits merging;
    int submits = 0;
    std::uint64_t finished = 0;
    bool is_instant = false;  // poll() finishes all that waits
    std::function<void()> on_finish;

private:
    void ask(Kind kind, Sectors first, std::span<const Segment> segments, std::uint64_t tag) {
        CHECK(waiting.size() < depth_);
        std::size_t length = 0;
        for (const Segment segment : segments) {
            length += segment.size();
        }
        CHECK(storage::is_within(capacity(), first, Bytes(length)));
        waiting.push_back({kind, first, length, tag, {segments.begin(), segments.end()}});
    }
    void ask_to_clear(Kind kind, Sectors first, Sectors count, std::uint64_t tag) {
        CHECK(waiting.size() < depth_);
        CHECK(storage::is_within(capacity(), first, count));
        waiting.push_back({kind, first, to_bytes(count).value(), tag, {}});
    }
    void move_bytes(const Asked& asked) {
        std::span<std::byte> here = std::span(bytes).subspan(to_bytes(asked.first).value());
        if (asked.kind == Kind::Discard || asked.kind == Kind::WriteZeroes) {
            std::ranges::fill(here.first(asked.length), std::byte{0});
        }
        for (const Segment segment : asked.segments) {
            if (asked.kind == Kind::Read) {
                std::ranges::copy(here.first(segment.size()), segment.begin());
            } else {
                std::ranges::copy(segment, here.begin());
            }
            here = here.subspan(segment.size());
        }
    }

    storage::Access access_;
    std::uint32_t depth_;
    OnComplete listener_;
};

}  // namespace pepita::test
