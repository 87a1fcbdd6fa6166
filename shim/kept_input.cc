#include "shim/kept_input.h"

#include <sys/socket.h>

#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pump.h"
#include "kernel-abi/sys/result.h"
#include "shim/console.h"

namespace pepita::shim {

Result<void> KeptInput::attach(Fd source) {
    if (!source || !connection_ || is_closed_) {
        return {};
    }
    if (attachers_.size() == kAttachersMax) {
        return Error(Code::ResourceExhausted,
                     "standard input has at most " + std::to_string(kAttachersMax) + " attachers");
    }
    Fd twin = TRY(nonblocking_twin(std::move(source)));
    Fd sink = TRY(duplicate(connection_.ref()));
    const auto place = attachers_.emplace(attachers_.end());
    place->source = std::move(twin);
    place->sink = std::move(sink);
    auto pump = Pump::create(loop_, place->source.ref(), place->sink.ref(),
                             [this, place](Pump::End how) { on_end(place, how); });
    if (!pump) {
        attachers_.erase(place);
        return std::move(pump).error();
    }
    place->pump = *std::move(pump);
    return {};
}

void KeptInput::on_end(std::list<Attacher>::iterator place, Pump::End how) {
    attachers_.erase(place);
    if (how == Pump::End::Source && ends_ == Ends::WithAttacher) {
        close();
    }
}

void KeptInput::close() {
    attachers_.clear();
    if (connection_ && !is_closed_) {
        (void)::shutdown(connection_.ref().number(), SHUT_WR);
    }
    is_closed_ = true;
}

}  // namespace pepita::shim
