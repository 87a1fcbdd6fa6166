#include "vmm/vsock/muxer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/vsock/client.h"
#include "vmm/vsock/connection.h"
#include "vmm/vsock/handshake.h"
#include "vmm/vsock/link.h"
#include "vmm/vsock/packet.h"
#include "vmm/vsock/rx_writer.h"

namespace pepita::vmm::vsock {
namespace {

/// Receive buffers that one connection may fill before the next one has its turn.
constexpr std::size_t kBatchMax = 16;

}  // namespace

Muxer::Muxer(EventLoop& loop, Options options, OnOutput on_output)
    : loop_(loop), options_(std::move(options)), on_output_(std::move(on_output)) {}

Result<std::unique_ptr<Muxer>> Muxer::create(EventLoop& loop, Fd listener, Options options,
                                             OnOutput on_output) {
    std::unique_ptr<Muxer> muxer(new Muxer(loop, std::move(options), std::move(on_output)));
    muxer->listener_ =
        TRY(Listener::create(loop, std::move(listener),
                             [self = muxer.get()](Fd client) { self->greet(std::move(client)); }),
            "vsock listener");
    return muxer;
}

Link* Muxer::find(const Ports& ports) {
    const auto found = by_ports_.find({ports.host, ports.guest});
    return found == by_ports_.end() ? nullptr : links_.at(found->second).get();
}

void Muxer::take(virtio::Chain& chain) {
    const Result<abi::VsockHeader> header = chain.read<abi::VsockHeader>();
    if (!header) {
        return;
    }
    const Decoded decoded = decode(*header, options_.guest_cid, chain.readable());
    if (decoded.verdict == Verdict::Drop) {
        return;
    }
    const Packet& packet = decoded.packet;
    Link* link = find(packet.ports);
    if (link == nullptr) {
        if (decoded.verdict == Verdict::Good && packet.op == VsockOp::Request) {
            take_request(packet);
        } else if (packet.op != VsockOp::Rst) {
            refuse(packet);
        }
        return;
    }
    if (decoded.verdict == Verdict::Refuse) {
        link->connection.fail();
        on_event(*link, Event::Violation, packet, chain);
    } else {
        on_event(*link, link->connection.on_packet(packet), packet, chain);
    }
    settle(*link);
}

void Muxer::refuse(const Packet& packet) {
    if (!is_congested()) {
        refusals_.push_back(refusal_of(packet));
    }
}

void Muxer::take_request(const Packet& packet) {
    if (links_.size() >= options_.connections_max) {
        return refuse(packet);
    }
    Result<Fd> client =
        connect_unix(options_.guest_prefix + "_" + std::to_string(packet.ports.host));
    if (!client) {
        return refuse(packet);
    }
    Link* link = add(Connection::from_guest(packet), std::move(*client));
    if (link == nullptr) {
        return refuse(packet);
    }
    settle(*link);
}

void Muxer::on_event(Link& link, Event event, const Packet& packet, virtio::Chain& chain) {
    switch (event) {
        case Event::Opened:
            if (!link.client.say(accepted_line(link.connection.ports().host))) {
                link.connection.fail();
            }
            break;
        case Event::Payload:
            deliver(link, packet.length, chain);
            break;
        case Event::Shutdown:
            if (!link.connection.guest_sends()) {
                link.client.finish_sending();
            }
            if (!link.connection.guest_receives() && !link.read_ended) {
                link.read_ended = true;
                link.client.stop_receiving();
            }
            break;
        case Event::Violation:
            link.connection.forwarded(link.client.give_up());
            break;
        case Event::Over:     // what was sent before still goes out, if the client takes it
        case Event::Discard:  // counted already
        case Event::Nothing:
            break;
    }
}

void Muxer::deliver(Link& link, std::uint32_t length, virtio::Chain& chain) {
    link.connection.forwarded(link.client.deliver(chain.take_readable(length)));
    if (link.client.is_deaf()) {
        lose_client(link);
    }
}

bool Muxer::fill(virtio::Ring& ring, std::size_t budget) {
    RxWriter writer(ring, options_.guest_cid, budget);
    while (has_output() && writer.has_budget() && !writer.is_dry()) {
        if (!refusals_.empty()) {
            if (std::optional<virtio::Chain> chain = writer.take()) {
                writer.write(std::move(*chain), refusals_.front());
                refusals_.pop_front();
            }
            continue;
        }
        Link& link = *links_.at(line_.front());
        line_.pop_front();
        link.queued = false;
        turn(link, writer);
        settle(link);
    }
    return has_output() && !writer.is_dry();
}

void Muxer::turn(Link& link, RxWriter& writer) {
    while (link.connection.has_control()) {
        std::optional<virtio::Chain> chain = writer.take();
        if (!chain) {
            return;
        }
        if (const std::optional<Packet> packet = link.connection.next_control()) {
            writer.write(std::move(*chain), *packet);
        }
    }
    if (!link.readable || !link.can_read()) {
        return;
    }
    const Client::Waiting waiting = link.client.waiting();
    const std::size_t length = std::min<std::size_t>(waiting.size, link.connection.room());
    if (waiting.ended || (waiting.size == 0 && link.hung_up)) {
        link.readable = false;
        link.read_ended = true;
        link.connection.stop_sending();
    } else if (writer.move(link.client, link.connection, length, kBatchMax) == waiting.size) {
        // Nothing is left for now. After a hang-up no event tells of the end, so look again.
        link.readable = link.hung_up;
    }
}

void Muxer::on_timeout(LinkId id) {
    Link& link = *links_.at(id);
    refuse({.ports = link.connection.ports()});
    link.connection.end();
    settle(link);
    on_output_();
}

void Muxer::driver_gone() {
    refusals_.clear();
    std::vector<LinkId> ids;
    for (const auto& [id, link] : links_) {
        if (!link->connection.is_unsent()) {
            ids.push_back(id);
        }
    }
    for (const LinkId id : ids) {
        Link& link = *links_.at(id);
        link.connection.end();
        settle(link);
    }
}

Link* Muxer::add(const Connection& connection, Fd socket) {
    const auto id = LinkId{next_id_++};
    auto link = std::make_unique<Link>(id, connection, std::move(socket));
    Result<EventLoop::Watch> watch = loop_.watch(
        link->client.socket(), 0, [this, id](std::uint32_t events) { on_client(id, events); });
    if (!watch) {
        return nullptr;
    }
    link->watch = std::move(*watch);
    const Ports& ports = connection.ports();
    by_ports_.emplace(std::pair(ports.host, ports.guest), id);
    return links_.emplace(id, std::move(link)).first->second.get();
}

void Muxer::stand_in_line(Link& link) {
    if (!link.queued) {
        link.queued = true;
        line_.push_back(link.id);
    }
}

void Muxer::settle(Link& link) {
    const Ports& ports = link.connection.ports();
    if (link.connection.is_over()) {
        const auto found = by_ports_.find({ports.host, ports.guest});
        if (found != by_ports_.end() && found->second == link.id) {
            by_ports_.erase(found);  // the guest may use the ports again while we drain
        }
    }
    if (link.is_done()) {
        return remove(link);
    }
    if (link.connection.awaits_guest() != link.has_deadline) {
        link.has_deadline = !link.has_deadline;
        link.deadline.cancel();
        if (link.has_deadline) {
            link.deadline =
                loop_.after(options_.answer_timeout, [this, id = link.id] { on_timeout(id); });
        }
    }
    if (link.has_output()) {
        stand_in_line(link);
    }
    watch_client(link);
}

void Muxer::watch_client(Link& link) {
    if (link.hung_up) {
        // A hang-up is reported for ever, and all that is left to learn is what reading tells.
        link.watch.cancel();
        return;
    }
    // No receive buffer or no credit means no interest: an event that nobody can act on would
    // come again at once, and again (Firecracker's #6031).
    const std::uint32_t events =
        (!link.readable && link.can_read() ? static_cast<std::uint32_t>(EPOLLIN) : 0U) |
        (link.client.has_unsent() ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
    if (events != link.watched) {
        link.watched = events;
        link.watch.set_events(events);
    }
}

void Muxer::remove(Link& link) {
    if (link.queued) {
        std::erase(line_, link.id);
    }
    links_.erase(link.id);
}

}  // namespace pepita::vmm::vsock
