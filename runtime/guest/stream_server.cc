#include "runtime/guest/stream_server.h"

#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::guest {
namespace {

constexpr std::chrono::seconds kNameDeadline{30};

}  // namespace

Result<std::uint64_t> StreamServer::expect(OnConnected on_connected) {
    std::uint64_t number = 0;
    while (number == 0 || expected_.contains(number)) {
        if (::getrandom(&number, sizeof(number), 0) != sizeof(number)) {
            return Error::from_errno(errno, "getrandom");
        }
    }
    expected_.emplace(number, std::move(on_connected));
    return number;
}

void StreamServer::add(Fd connection) {
    if (nameless_.size() == kNamelessMax) {
        log::warn("a stream connection was closed: too many are waiting", {});
        return;
    }
    const Place place = nameless_.emplace(nameless_.end());
    place->connection = std::move(connection);
    auto watch = loop_.watch(place->connection.ref(), EPOLLIN,
                             [this, place](std::uint32_t) { on_bytes(place); });
    if (!watch) {
        log::warn("a stream connection was closed", {{"error", watch.error().message()}});
        nameless_.erase(place);
        return;
    }
    place->watch = *std::move(watch);
    place->deadline = loop_.after(kNameDeadline, [this, place] { nameless_.erase(place); });
}

void StreamServer::on_bytes(Place place) {
    const auto room = std::span(place->number).subspan(place->size);
    // read(2) takes no more than the number: what follows is the stream's.
    const ssize_t got = ::read(place->connection.ref().number(), room.data(), room.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    place->size += got > 0 ? static_cast<std::size_t>(got) : 0;
    if (got > 0 && place->size < place->number.size()) {
        return;
    }
    place->watch.cancel();
    Fd connection = std::move(place->connection);
    std::uint64_t number = 0;
    std::memcpy(&number, place->number.data(), sizeof(number));
    const bool is_complete = place->size == place->number.size();
    nameless_.erase(place);
    auto found = is_complete ? expected_.extract(number) : decltype(expected_)::node_type();
    if (found) {
        found.mapped()(std::move(connection));
    }
}

}  // namespace pepita::runtime::guest
