#include "kernel-abi/sys/relay.h"

#include <sys/socket.h>

#include <memory>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pump.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

Result<std::unique_ptr<Relay>> Relay::create(EventLoop& loop, Fd left, Fd right, OnEnd on_end) {
    std::unique_ptr<Relay> relay(new Relay(std::move(on_end)));
    TRY(relay->open(loop, relay->ways_[0], left.ref(), right.ref()));
    TRY(relay->open(loop, relay->ways_[1], right.ref(), left.ref()));
    return relay;
}

Result<void> Relay::open(EventLoop& loop, Way& way, FdRef source, FdRef sink) {
    way.source = TRY(duplicate(source));
    way.sink = TRY(duplicate(sink));
    way.pump = TRY(Pump::create(loop, way.source.ref(), way.sink.ref(),
                                [this, &way](Pump::End how) { end(way, how); }));
    return {};
}

void Relay::end(Way& way, Pump::End how) {
    // Where the sink went, the source's writer learns of it (EPIPE); what comes the other way may
    // still be wanted.
    (void)::shutdown(way.sink.ref().number(), SHUT_WR);
    if (how != Pump::End::Source) {
        (void)::shutdown(way.source.ref().number(), SHUT_RD);
    }
    if (--ways_left_ == 0) {
        OnEnd done = std::move(on_end_);
        done();
    }
}

}  // namespace pepita
