#include "storage/zram/volume.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram/domain.h"
#include "storage/zram/frozen_volume.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {
namespace {

constexpr std::uint64_t kEntriesPerPage = kPageBytes / sizeof(std::uint64_t);

constexpr std::uint64_t tables_for(std::uint64_t pages) {
    return (pages + kEntriesPerTable - 1) / kEntriesPerTable;
}
static_assert(tables_for(ZramVolume::kCapacityMax.value()) <= kTablesMax);

constexpr std::uint16_t bit_of(std::uint64_t page) {
    return static_cast<std::uint16_t>(1U << (page % kEntriesPerTable / kEntriesPerPage));
}

/// Of a volume's frame, what one of that capacity uses.
constexpr std::size_t frame_bytes_for(std::uint64_t pages) {
    return offsetof(VolumeFrame, tables) + tables_for(pages) * sizeof(std::uint32_t);
}

/// The account has room, and the file system below the store has none.
Error no_memory() { return {Code::ResourceExhausted, "the memory file's file system is full"}; }

PageSpan page_at(std::byte* bytes) { return PageSpan(bytes, kPageBytes); }

}  // namespace

std::uint64_t Volume::cost_of(Pages capacity) {
    return sizeof(Volume) + tables_for(capacity.value()) * sizeof(Table) +
           (frame_bytes_for(capacity.value()) + kPageBytes - 1) / kPageBytes * kPageBytes;
}

Volume::Volume(MemoryFile& file, std::shared_ptr<Domain> domain, std::uint32_t frame,
               std::string name, Mapping tables)
    : file_(file),
      domain_(std::move(domain)),
      frame_(frame),
      name_(std::move(name)),
      what_(file.at<VolumeFrame>(frame).content),
      capacity_(file.at<VolumeFrame>(frame).capacity),
      tables_(std::move(tables)) {}

Result<std::shared_ptr<Volume>> Volume::create(MemoryFile& file, std::shared_ptr<Domain> domain,
                                               const ZramStore::VolumeOptions& options) {
    Mapping tables = TRY(Mapping::anonymous(Bytes(kTablesMax * sizeof(Table))));
    const std::uint64_t cost = cost_of(options.capacity);
    if (!domain->account().charge(cost)) {
        return Error(Code::ResourceExhausted, "the store's memory limit is reached");
    }
    const auto number = file.take();
    if (!number) {
        domain->account().refund(cost);
        return Error(Code::ResourceExhausted, "the store has no frame left");
    }
    if (!file.reserve(*number, 0, frame_bytes_for(options.capacity.value()))) {
        file.give(*number);
        domain->account().refund(cost);
        return no_memory();
    }
    auto& frame = file.at<VolumeFrame>(*number);
    frame.salt = domain->salt();
    frame.capacity = options.capacity.value();
    frame.content = options.content;
    std::ranges::copy(options.name, frame.name);
    std::ranges::copy(domain->name(), frame.domain);
    publish(frame.kind, FrameKind::Volume);
    return std::shared_ptr<Volume>(
        new Volume(file, std::move(domain), *number, options.name, std::move(tables)));
}

Volume::Table& Volume::table(std::uint64_t index) const {
    // SAFETY: the mapping is zeros at first, which are sound tables, and has all that may be.
    return reinterpret_cast<Table*>(tables_.bytes().data())[index];
}

std::atomic_ref<std::uint32_t> Volume::table_frame(std::uint64_t index) const {
    return std::atomic_ref(frame().tables[index]);
}

std::uint64_t* Volume::find_word(std::uint64_t page) const {
    const std::uint32_t number =
        table_frame(page / kEntriesPerTable).load(std::memory_order_acquire);
    return number == 0 ? nullptr : &file_.at<std::uint64_t>(number) + page % kEntriesPerTable;
}

std::uint64_t* Volume::make_word(std::uint64_t page) {
    const std::uint64_t index = page / kEntriesPerTable;
    Table& its = table(index);
    if ((its.touched.load(std::memory_order_acquire) & bit_of(page)) != 0) {
        return find_word(page);
    }
    const std::scoped_lock lock(tables_mutex_);
    if ((its.touched.load(std::memory_order_relaxed) & bit_of(page)) == 0) {
        if (!domain_->account().charge(kPageBytes)) {
            return nullptr;
        }
        const std::uint32_t before = table_frame(index).load(std::memory_order_relaxed);
        const auto number = before != 0 ? std::optional(before) : file_.take();
        const std::size_t in_frame = page % kEntriesPerTable * sizeof(std::uint64_t);
        if (!number || !file_.reserve(*number, in_frame, in_frame + sizeof(std::uint64_t))) {
            if (number && before == 0) {
                file_.give(*number);
            }
            domain_->account().refund(kPageBytes);
            return nullptr;
        }
        table_frame(index).store(*number, std::memory_order_release);
        its.touched.fetch_or(bit_of(page), std::memory_order_release);
    }
    return find_word(page);
}

Entry Volume::entry_at(std::uint64_t page) const {
    // A page of the table that nobody wrote is not read either: that would make memory of it.
    const bool is_there = (table(page / kEntriesPerTable).touched.load(std::memory_order_acquire) &
                           bit_of(page)) != 0;
    return is_there ? Entry(std::atomic_ref(*find_word(page)).load(std::memory_order_acquire))
                    : Entry();
}

bool Volume::are_inside(Pages first, Pages count) const {
    const Pages all = capacity();
    return first <= all && count <= all - first;
}

IoStatus Volume::read(Pages page, std::span<std::byte> into) const {
    CHECK(into.size() == kPageBytes);
    const std::scoped_lock lock(stripe_of(page.value()));
    if (!is_inside(page.value())) {
        return IoStatus::Failed;
    }
    return domain_->get(entry_at(page.value()), page_at(into.data())) ? IoStatus::Ok
                                                                      : IoStatus::Failed;
}

IoStatus Volume::read_part(Pages page, std::size_t offset, std::span<std::byte> into) const {
    CHECK(offset <= kPageBytes);
    CHECK(into.size() <= kPageBytes - offset);
    __attribute__((uninitialized)) std::array<std::byte, kPageBytes> whole;
    const IoStatus status = read(page, whole);
    if (status == IoStatus::Ok) {
        std::memcpy(into.data(), whole.data() + offset, into.size());
    }
    return status;
}

IoStatus Volume::write(Pages page, std::span<const std::byte> from) {
    CHECK(from.size() == kPageBytes);
    if (!is_inside(page.value())) {
        return IoStatus::Failed;
    }
    // Packed before the lock is taken, which many pages share.
    const std::optional<Stored> stored = domain_->put(PageView(from.data(), kPageBytes));
    return stored ? set(page.value(), *stored) : IoStatus::NoSpace;
}

IoStatus Volume::set(std::uint64_t page, const Stored& stored) {
    std::optional<Entry> before;
    IoStatus status = IoStatus::NoSpace;
    {
        const std::scoped_lock lock(stripe_of(page));
        if (is_inside(page)) {
            before = exchange(page, stored);
        } else {
            status = IoStatus::Failed;
        }
    }
    if (!before) {
        (void)domain_->release(stored.entry);
        return status;
    }
    drop(*before);
    return IoStatus::Ok;
}

IoStatus Volume::write_part(Pages page, std::size_t offset, std::span<const std::byte> from,
                            std::span<const std::byte> beneath) {
    CHECK(offset <= kPageBytes);
    CHECK(from.size() <= kPageBytes - offset);
    if (!beneath.empty()) {
        CHECK(beneath.size() == kPageBytes);
    }
    __attribute__((uninitialized)) std::array<std::byte, kPageBytes> whole;
    std::optional<Entry> before;
    {
        const std::scoped_lock lock(stripe_of(page.value()));
        if (!is_inside(page.value())) {
            return IoStatus::Failed;
        }
        const Entry entry = entry_at(page.value());
        if (entry.is_absent() && !beneath.empty()) {
            std::memcpy(whole.data(), beneath.data(), kPageBytes);
        } else if (!domain_->get(entry, whole)) {
            return IoStatus::Failed;
        }
        std::memcpy(whole.data() + offset, from.data(), from.size());
        const std::optional<Stored> stored = domain_->put(whole);
        if (!stored) {
            return IoStatus::NoSpace;
        }
        before = exchange(page.value(), *stored);
        if (!before) {
            (void)domain_->release(stored->entry);
            return IoStatus::NoSpace;
        }
    }
    drop(*before);
    return IoStatus::Ok;
}

std::optional<Entry> Volume::exchange(std::uint64_t page, const Stored& stored) {
    std::uint64_t* const word = make_word(page);
    if (word == nullptr) {
        return std::nullopt;
    }
    // From here on who opens the file finds the new page; the object was complete before.
    const Entry before{std::atomic_ref<std::uint64_t>(*word).exchange(stored.entry.word(),
                                                                      std::memory_order_acq_rel)};
    if (before.is_absent()) {
        table(page / kEntriesPerTable).live.fetch_add(1, std::memory_order_relaxed);
    }
    count(stored, true);
    return left_to_drop(page, before);
}

Entry Volume::left_to_drop(std::uint64_t page, Entry before) {
    if (frozen_ == nullptr || !frozen_->keep(page, before)) {
        return before;
    }
    if (!before.is_absent()) {
        count(domain_->look(before), false);
    }
    return {};
}

/// What an entry held that stands in the table no more.
void Volume::drop(Entry entry) {
    if (!entry.is_absent()) {
        count(domain_->release(entry), false);
    }
}

IoStatus Volume::write_zeroes(Pages first, Pages count) {
    if (!are_inside(first, count)) {
        return IoStatus::Failed;
    }
    for (std::uint64_t page = first.value(); page < first.value() + count.value(); ++page) {
        const IoStatus status = set(page, {.entry = Entry::same(0)});
        if (status != IoStatus::Ok) {
            return status;
        }
    }
    return IoStatus::Ok;
}

IoStatus Volume::discard(Pages first, Pages count) {
    if (!are_inside(first, count)) {
        return IoStatus::Failed;
    }
    clear(first.value(), first.value() + count.value());
    return IoStatus::Ok;
}

void Volume::clear(std::uint64_t first, std::uint64_t end) {
    std::uint64_t page = first;
    while (page < end) {
        const std::uint64_t index = page / kEntriesPerTable;
        const std::uint64_t table_end = std::min(end, (index + 1) * kEntriesPerTable);
        while (page < table_end) {
            if ((table(index).touched.load(std::memory_order_acquire) & bit_of(page)) == 0) {
                page = std::min(table_end, (page / kEntriesPerPage + 1) * kEntriesPerPage);
                continue;
            }
            Entry before;
            {
                const std::scoped_lock lock(stripe_of(page));
                std::uint64_t* const word = find_word(page);
                if (word != nullptr) {
                    before = Entry(std::atomic_ref(*word).exchange(0, std::memory_order_acq_rel));
                }
                if (!before.is_absent()) {
                    table(index).live.fetch_sub(1, std::memory_order_relaxed);
                    before = left_to_drop(page, before);
                }
            }
            drop(before);
            ++page;
        }
        drop_table_if_empty(index);
    }
}

void Volume::drop_table_if_empty(std::uint64_t index) {
    Table& its = table(index);
    if (its.live.load(std::memory_order_relaxed) != 0 || table_frame(index).load() == 0) {
        return;
    }
    std::uint32_t number = 0;
    int pages = 0;
    lock_all();  // so that nobody is in the table
    if (its.live.load(std::memory_order_relaxed) == 0) {
        number = table_frame(index).exchange(0);
        pages = std::popcount(its.touched.exchange(0));
    }
    unlock_all();
    if (number != 0) {
        file_.give(number);
        domain_->account().refund(static_cast<std::uint64_t>(pages) * kPageBytes);
    }
}

void Volume::lock_all() const {
    for (std::mutex& stripe : stripes_) {
        stripe.lock();
    }
}

void Volume::unlock_all() const {
    for (std::mutex& stripe : stripes_) {
        stripe.unlock();
    }
}

Result<std::unique_ptr<ZramFrozen>> Volume::freeze() {
    lock_all();  // so that each write is before it or after it
    std::unique_ptr<FrozenVolume> frozen;
    const bool is_removed = capacity().value() == 0;
    if (frozen_ == nullptr && !is_removed) {
        frozen = std::make_unique<FrozenVolume>(shared_from_this());
        frozen_ = frozen.get();
    }
    unlock_all();
    if (is_removed) {
        return Error(Code::NotFound, "volume '" + name_ + "' was removed");
    }
    if (!frozen) {
        return Error(Code::FailedPrecondition, "a snapshot of volume '" + name_ + "' is under way");
    }
    return frozen;
}

void Volume::thaw() {
    lock_all();
    frozen_ = nullptr;
    unlock_all();
}

std::uint64_t Volume::next_written(std::uint64_t page, std::uint64_t end) const {
    while (page < end && (table(page / kEntriesPerTable).touched.load(std::memory_order_acquire) &
                          bit_of(page)) == 0) {
        page = (page / kEntriesPerPage + 1) * kEntriesPerPage;
    }
    return std::min(page, end);
}

/// Whoever has a lock now may still go by the capacity that was.
void Volume::wait_for_users() const {
    for (std::mutex& stripe : stripes_) {
        const std::scoped_lock lock(stripe);
    }
}

bool Volume::contains(Pages page) const {
    const std::scoped_lock lock(stripe_of(page.value()));
    return is_inside(page.value()) && !entry_at(page.value()).is_absent();
}

Result<void> Volume::resize(Pages capacity) {
    const std::scoped_lock lock(sizing_);
    const Pages before = this->capacity();
    if (before.value() == 0) {
        return Error(Code::NotFound, "the volume was removed");
    }
    if (capacity.value() == 0 || capacity > kCapacityMax) {
        return Error(Code::InvalidArgument, std::to_string(capacity.value()) + " pages: 1 to " +
                                                std::to_string(kCapacityMax.value()));
    }
    const std::uint64_t now = cost_of(before);
    const std::uint64_t then = cost_of(capacity);
    if (then > now && !domain_->account().charge(then - now)) {
        return Error(Code::ResourceExhausted, "the store's memory limit is reached");
    }
    if (then > now && !file_.reserve(frame_, 0, frame_bytes_for(capacity.value()))) {
        domain_->account().refund(then - now);
        return no_memory();
    }
    std::atomic_ref<std::uint64_t>(frame().capacity)
        .store(capacity.value(), std::memory_order_release);
    capacity_.store(capacity.value(), std::memory_order_release);
    if (capacity < before) {
        wait_for_users();
        clear(capacity.value(), before.value());
        file_.release(frame_, frame_bytes_for(capacity.value()), kFrameBytes);
    }
    if (then < now) {
        domain_->account().refund(now - then);
    }
    return {};
}

Result<void> Volume::begin_filling() {
    const std::scoped_lock lock(sizing_);
    if (capacity().value() == 0) {
        return Error(Code::NotFound, "volume '" + name_ + "' was removed");
    }
    if (statistics().stored != 0) {
        return Error(Code::FailedPrecondition, "volume '" + name_ + "' is not empty");
    }
    set_phase(VolumePhase::Filling);
    return {};
}

void Volume::end_filling(Filled filled) {
    const std::scoped_lock lock(sizing_);
    if (capacity().value() == 0) {
        return;  // removed meanwhile
    }
    if (filled == Filled::InVain) {
        clear(0, capacity().value());
    }
    set_phase(VolumePhase::Whole);
}

void Volume::drop_if_filling() {
    if (frame().phase == VolumePhase::Filling) {
        end_filling(Filled::InVain);
    }
}

void Volume::set_phase(VolumePhase phase) {
    // What is written before a phase stands in the file before it does.
    std::atomic_ref<VolumePhase>(frame().phase).store(phase, std::memory_order_release);
}

void Volume::remove() {
    const std::scoped_lock lock(sizing_);
    const Pages before(capacity_.exchange(0, std::memory_order_acq_rel));
    if (before.value() == 0) {
        return;
    }
    // First of all: who opens the file from here on finds no volume, and what was its is free.
    publish(frame().kind, FrameKind::Free);
    wait_for_users();
    clear(0, before.value());
    file_.give(frame_);
    domain_->account().refund(cost_of(before));
}

void Volume::count(const Stored& stored, bool is_more) {
    const auto add = [is_more](std::atomic<std::uint64_t>& to, std::uint64_t n) {
        to.fetch_add(is_more ? n : 0 - n, std::memory_order_relaxed);
    };
    if (stored.entry.is_object()) {
        add(content_, 1);
        add(packed_, stored.size);
        add(raw_, stored.size == kPageBytes ? 1 : 0);
        return;
    }
    add(stored.entry.byte() == 0 ? zero_ : same_, 1);
}

ZramStatistics Volume::statistics() const {
    ZramStatistics its{.stored = 0,
                       .zero = zero_.load(std::memory_order_relaxed),
                       .same = same_.load(std::memory_order_relaxed),
                       .content = content_.load(std::memory_order_relaxed),
                       .raw = raw_.load(std::memory_order_relaxed),
                       .packed = Bytes(packed_.load(std::memory_order_relaxed))};
    its.stored = its.zero + its.same + its.content;
    return its;
}

Result<std::shared_ptr<Volume>> Volume::open(MemoryFile& file, std::shared_ptr<Domain> domain,
                                             std::uint32_t number) {
    Mapping tables = TRY(Mapping::anonymous(Bytes(kTablesMax * sizeof(Table))));
    const auto& frame = file.at<VolumeFrame>(number);
    const Pages capacity(frame.capacity);
    if (!domain->account().charge(cost_of(capacity))) {
        return Error(Code::DataLoss, "volumes need more than the memory limit");
    }
    std::shared_ptr<Volume> volume(
        new Volume(file, std::move(domain), number, frame.name, std::move(tables)));
    if (!file.reserve(number, 0, frame_bytes_for(capacity.value()))) {  // is there, if it is ours
        return no_memory();
    }
    const MemoryFile::Written written = TRY(file.written_in(number));
    for (std::uint64_t index = 0; index < kTablesMax; ++index) {
        const std::size_t at = offsetof(VolumeFrame, tables) + index * sizeof(std::uint32_t);
        if (written.has(at, at + sizeof(std::uint32_t)) && volume->table_frame(index).load() != 0) {
            TRY(volume->adopt_table(index), "volume '", volume->name_, "'");
        }
    }
    file.release(number, frame_bytes_for(capacity.value()), kFrameBytes);
    return volume;
}

Result<void> Volume::adopt_table(std::uint64_t index) {
    const std::uint32_t number = table_frame(index).load();
    const std::uint64_t first = index * kEntriesPerTable;
    if (first >= capacity().value()) {  // it was on its way out
        table_frame(index).store(0);
        return {};
    }
    if (!file_.take_at(number)) {
        return Error(Code::DataLoss, "a page table's frame is no table's");
    }
    Table& its = table(index);
    const MemoryFile::Written written = TRY(file_.written_in(number));
    const std::span words(&file_.at<std::uint64_t>(number), kEntriesPerTable);
    const std::uint64_t inside = std::min(kEntriesPerTable, capacity().value() - first);
    for (std::uint64_t i = 0; i < kEntriesPerTable; ++i) {
        if (!written.has(i * sizeof(Entry), (i + 1) * sizeof(Entry))) {
            i += kEntriesPerPage - 1;
            continue;
        }
        const Entry entry(words[i]);
        if (entry.is_absent()) {
            continue;
        }
        if (i >= inside) {  // it was about to be discarded
            words[i] = 0;
            continue;
        }
        Stored stored{.entry = entry};
        if (entry.is_object()) {
            stored.size = domain_->adopt_reference(entry);
        }
        if (!entry.is_sound() || (entry.is_object() && stored.size == 0)) {
            return Error(Code::DataLoss, "page " + std::to_string(first + i) +
                                             " refers to nothing that could be its content");
        }
        count(stored, true);
        its.live.fetch_add(1);
        its.touched.fetch_or(bit_of(i));
    }
    for (std::uint64_t page = 0; page < kEntriesPerTable; page += kEntriesPerPage) {
        if ((its.touched.load() & bit_of(page)) == 0) {
            file_.release(number, page * sizeof(Entry), (page + kEntriesPerPage) * sizeof(Entry));
        } else if (!domain_->account().charge(kPageBytes)) {
            return Error(Code::DataLoss, "page tables need more than the memory limit");
        }
    }
    drop_table_if_empty(index);
    return {};
}

}  // namespace pepita::storage::zram
