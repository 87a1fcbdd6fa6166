#include "storage/file_ring.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"

namespace pepita::storage {
namespace {

constexpr std::array kOperations{IoRing::Operation::Nop, IoRing::Operation::Readv,
                                 IoRing::Operation::Writev, IoRing::Operation::Fsync,
                                 IoRing::Operation::Fallocate};

std::uint64_t tag_of(FileRing::UserId id, std::uint32_t slot) {
    return (std::uint64_t{std::to_underlying(id)} << 32U) | slot;
}

}  // namespace

Result<std::unique_ptr<FileRing>> FileRing::create(EventLoop& loop) {
    std::unique_ptr<FileRing> ring(
        new FileRing(loop, TRY(IoRing::create({.entries = kEntries, .only = kOperations}))));
    ring->watch_ =
        TRY(loop.watch(ring->ring_.fd(), EPOLLIN, [self = ring.get()](std::uint32_t /*events*/) {
            self->take_completions();
            self->give_turns();
        }));
    return ring;
}

FileRing::FileRing(EventLoop& loop, IoRing ring) : loop_(loop), ring_(std::move(ring)) {}

FileRing::~FileRing() {
    CHECK(std::ranges::all_of(places_, [](const Place& it) { return it.user == nullptr; }));
}

FileRing::Place& FileRing::place(UserId id) { return places_[std::to_underlying(id)]; }

const FileRing::Place& FileRing::place(UserId id) const { return places_[std::to_underlying(id)]; }

FileRing::UserId FileRing::add(User& user) {
    auto free = std::ranges::find(places_, nullptr, &Place::user);
    if (free == places_.end()) {
        free = places_.emplace(places_.end());
    }
    free->user = &user;
    return UserId{static_cast<std::uint32_t>(free - places_.begin())};
}

void FileRing::remove(UserId id) {
    place(id).user = nullptr;
    std::erase_if(waiting_, [id](const Waiting& it) { return it.id == id; });
    while (place(id).in_ring > 0) {
        wait();
        take_completions();
    }
    place(id) = {};
}

void FileRing::queue(UserId id, std::uint32_t slot) {
    if (waiting_.empty() && ring_.under_way() < kEntries) {
        return put(id, slot);
    }
    ++place(id).waiting;
    waiting_.push_back({.id = id, .slot = slot});
}

void FileRing::put(UserId id, std::uint32_t slot) {
    ++place(id).in_ring;
    place(id).user->put(ring_, slot, tag_of(id, slot));
}

void FileRing::submit() {
    // What can fail here beyond our own mistakes is the kernel's memory, and that we do not
    // survive.
    CHECK(ring_.submit().has_value());
}

void FileRing::take_completions() {
    if (ring_.under_way() == 0) {
        return;
    }
    ring_.reap([this](const IoRing::Completion& done) {
        const UserId id{static_cast<std::uint32_t>(done.tag >> 32U)};
        Place& of = place(id);
        --of.in_ring;
        if (of.user != nullptr) {
            of.has_news = true;
            of.user->on_operation(static_cast<std::uint32_t>(done.tag), done.result);
        }
    });
    while (!waiting_.empty() && ring_.under_way() < kEntries) {
        const Waiting next = waiting_.front();
        waiting_.pop_front();
        --place(next.id).waiting;
        put(next.id, next.slot);
    }
    submit();
}

void FileRing::give_turns() {
    for (std::size_t i = 0; i < places_.size(); ++i) {  // a turn may add a user
        if (places_[i].user != nullptr && std::exchange(places_[i].has_news, false)) {
            places_[i].user->on_turn();
        }
    }
}

void FileRing::reap(UserId id) {
    take_completions();
    place(id).has_news = false;
    if (std::ranges::any_of(places_, &Place::has_news)) {
        next_turn_ = loop_.after(std::chrono::nanoseconds(0), [this] { give_turns(); });
    }
}

void FileRing::wait() { CHECK(ring_.wait().has_value()); }

std::uint32_t FileRing::under_way(UserId id) const { return place(id).waiting + place(id).in_ring; }

}  // namespace pepita::storage
