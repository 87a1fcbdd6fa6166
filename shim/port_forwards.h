#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/relay.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/on_result.h"
#include "shim/microvm.h"

namespace pepita::shim {

/// Clients' sockets that are joined with ports of the guest's loopback.
///
/// Shared, because answers of the guest come when it may have gone: they hold it weakly.
class PortForwards : public std::enable_shared_from_this<PortForwards> {
public:
    static constexpr std::size_t kForwardsMax = 256;  // as many as the guest takes

    explicit PortForwards(EventLoop& loop) : loop_(loop) {}
    PortForwards(const PortForwards&) = delete;
    PortForwards& operator=(const PortForwards&) = delete;
    PortForwards(PortForwards&&) = delete;
    PortForwards& operator=(PortForwards&&) = delete;
    ~PortForwards() = default;

    /// Has the guest connect to the port, and joins `client`, a stream socket, with that. Answers
    /// when they are joined; the connection ends when both sides have ended.
    void connect(Microvm& microvm, std::uint16_t port, Fd client, runtime::OnResult<void> done);

private:
    Result<void> join(Fd client, Fd guest);

    EventLoop& loop_;
    std::list<std::unique_ptr<Relay>> relays_;
};

}  // namespace pepita::shim
