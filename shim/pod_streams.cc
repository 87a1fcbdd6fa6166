#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_api.h"
#include "runtime/rpc/on_result.h"
#include "shim/container.h"
#include "shim/pod.h"
#include "shim/port_forwards.h"

// What clients ask of the pod about streams: logs, attachers, forwarded ports.

namespace pepita::shim {
namespace {

using runtime::OnResult;

}  // namespace

void Pod::reopen_log(std::string container, OnResult<void> done) {
    Result<Entry*> entry = find(container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    done((*entry)->container->reopen_log());
}

void Pod::attach(runtime::AttachRequest request, OnResult<void> done) {
    Result<Entry*> entry = find(request.container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    done((*entry)->container->attach_client(std::move(request)));
}

void Pod::user(std::string container, runtime::OnResult<runtime::UserIds> done) {
    Result<Entry*> entry = find(container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    (*entry)->container->user(std::move(done));
}

void Pod::connect_port(std::uint16_t port, Fd socket, OnResult<void> done) {
    if (phase_ != Phase::Live) {
        return done(Error(Code::FailedPrecondition, "the pod is not running"));
    }
    forwards_->connect(*microvm_, port, std::move(socket), std::move(done));
}

}  // namespace pepita::shim
