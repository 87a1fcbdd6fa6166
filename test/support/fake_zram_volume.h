#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_store.h"

namespace pepita::test {

/// A volume that is a map of pages, for one thread.
class FakeZramVolume final : public storage::ZramVolume {
public:
    using Page = std::array<std::byte, kPageSize.value()>;

    explicit FakeZramVolume(Pages capacity) : capacity_(capacity) {}

    std::map<std::uint64_t, Page> pages;
    std::uint64_t pages_max = UINT64_MAX;  // beyond them NoSpace
    mutable std::vector<const std::byte*> read_into;

    const std::string& name() const override { return name_; }
    const std::string& domain() const override { return name_; }
    storage::ZramContent content() const override { return storage::ZramContent::Disk; }
    Pages capacity() const override { return capacity_; }

    storage::IoStatus read(Pages page, std::span<std::byte> into) const override {
        return read_part(page, 0, into);
    }
    storage::IoStatus write(Pages page, std::span<const std::byte> from) override {
        CHECK(from.size() == kPageSize.value());
        return write_part(page, 0, from, {});
    }
    storage::IoStatus read_part(Pages page, std::size_t offset,
                                std::span<std::byte> into) const override {
        if (page >= capacity_) {
            return storage::IoStatus::Failed;
        }
        read_into.push_back(into.data());
        const auto found = pages.find(page.value());
        const Page content = found == pages.end() ? Page{} : found->second;
        std::ranges::copy(std::span(content).subspan(offset, into.size()), into.begin());
        return storage::IoStatus::Ok;
    }
    storage::IoStatus write_part(Pages page, std::size_t offset, std::span<const std::byte> from,
                                 std::span<const std::byte> beneath) override {
        if (page >= capacity_) {
            return storage::IoStatus::Failed;
        }
        if (!pages.contains(page.value()) && pages.size() >= pages_max) {
            return storage::IoStatus::NoSpace;
        }
        if (!pages.contains(page.value())) {
            std::ranges::copy(beneath, pages[page.value()].begin());
        }
        std::ranges::copy(from,
                          std::span(pages[page.value()]).subspan(offset, from.size()).begin());
        return storage::IoStatus::Ok;
    }
    storage::IoStatus discard(Pages first, Pages count) override {
        if (first > capacity_ || count > capacity_ - first) {
            return storage::IoStatus::Failed;
        }
        pages.erase(pages.lower_bound(first.value()),
                    pages.lower_bound(first.value() + count.value()));
        return storage::IoStatus::Ok;
    }
    storage::IoStatus write_zeroes(Pages first, Pages count) override {
        for (std::uint64_t i = 0; i < count.value(); ++i) {
            if (const auto status = write(first + Pages(i), Page{});
                status != storage::IoStatus::Ok) {
                return status;
            }
        }
        return storage::IoStatus::Ok;
    }
    bool contains(Pages page) const override { return pages.contains(page.value()); }
    Result<void> resize(Pages capacity) override {
        pages.erase(pages.lower_bound(capacity.value()), pages.end());
        capacity_ = capacity;
        return {};
    }
    /// `stored` only.
    storage::ZramStatistics statistics() const override {
        return {.stored = pages.size(), .packed = Bytes(0)};
    }
    Result<void> begin_filling() override {
        if (!pages.empty()) {
            return Error(Code::FailedPrecondition, "volume 'fake' is not empty");
        }
        return {};
    }
    void end_filling(Filled filled) override {
        if (filled == Filled::InVain) {
            pages.clear();
        }
    }
    Result<std::unique_ptr<storage::ZramFrozen>> freeze() override {
        if (capacity_ == Pages(0)) {
            return Error(Code::NotFound, "volume 'fake' was removed");
        }
        return std::make_unique<Frozen>(pages, capacity_);
    }

private:
    class Frozen final : public storage::ZramFrozen {
    public:
        Frozen(std::map<std::uint64_t, Page> pages, Pages capacity)
            : pages_(std::move(pages)), capacity_(capacity), at_(pages_.begin()) {}
        Pages capacity() const override { return capacity_; }
        Result<std::optional<Pages>> next(std::span<std::byte> into) override {
            if (at_ == pages_.end()) {
                return std::optional<Pages>();
            }
            std::ranges::copy(at_->second, into.begin());
            return std::optional(Pages((at_++)->first));
        }

    private:
        std::map<std::uint64_t, Page> pages_;
        Pages capacity_;
        std::map<std::uint64_t, Page>::const_iterator at_;
    };

    std::string name_ = "fake";
    Pages capacity_;
};

}  // namespace pepita::test
