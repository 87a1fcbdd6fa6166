#include "shim/port_forwards.h"

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/relay.h"
#include "kernel-abi/sys/result.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "shim/microvm.h"

namespace pepita::shim {
namespace {

Result<void> check_stream_socket(FdRef fd) {
    int type = 0;
    socklen_t size = sizeof(type);
    if (::getsockopt(fd.number(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
        return Error(Code::InvalidArgument, "what came with the request is no stream socket");
    }
    return {};
}

}  // namespace

void PortForwards::connect(Microvm& microvm, std::uint16_t port, Fd client,
                           runtime::OnResult<void> done) {
    Result<void> checked = check_stream_socket(client.ref());
    if (checked && relays_.size() >= kForwardsMax) {
        checked =
            Error(Code::ResourceExhausted,
                  "a pod has at most " + std::to_string(kForwardsMax) + " forwarded connections");
    }
    if (!checked) {
        return done(std::move(checked));
    }
    auto on_stream = [weak = weak_from_this(), client = std::move(client),
                      done = std::move(done)](Result<Microvm::Connected> guest) mutable {
        const auto self = weak.lock();
        if (!guest) {
            return done(std::move(guest).error());
        }
        if (!self) {
            return done(Error(Code::Aborted, "the pod ended"));
        }
        done(self->join(std::move(client), std::move(guest->in)));
    };
    // The microVM is there when its guest answers with a number: without it calls fail.
    microvm.guest().dial(
        port, [&microvm, on_stream = std::move(on_stream)](Result<std::uint64_t> number) mutable {
            if (!number) {
                return on_stream(std::move(number).error());
            }
            microvm.connect_streams({.in = *number, .out = 0, .err = 0}, std::move(on_stream));
        });
}

Result<void> PortForwards::join(Fd client, Fd guest) {
    const auto place = relays_.emplace(relays_.end());
    auto relay = Relay::create(loop_, std::move(client), std::move(guest),
                               [this, place] { relays_.erase(place); });
    if (!relay) {
        relays_.erase(place);
        return std::move(relay).error();
    }
    *place = *std::move(relay);
    return {};
}

}  // namespace pepita::shim
