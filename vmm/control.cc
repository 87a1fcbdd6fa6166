#include "vmm/control.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "vmm/device_config.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {
namespace {

template <typename... Cases>
struct Match : Cases... {
    using Cases::operator()...;
};

Result<std::string> without_text(Result<void> outcome) {
    TRY(std::move(outcome));
    return std::string();
}

}  // namespace

Result<std::unique_ptr<Control>> Control::create(EventLoop& loop, Fd socket, DeviceHost& host) {
    std::unique_ptr<Control> control(new Control(std::move(socket), host));
    control->watch_ =
        TRY(loop.watch(control->socket_.ref(), EPOLLIN,
                       [self = control.get()](std::uint32_t /*events*/) { self->on_readable(); }));
    return control;
}

void Control::on_readable() {
    std::array<char, kControlLineMax + 1> line{};
    Result<Received> received =
        receive_some(socket_.ref(), std::as_writable_bytes(std::span(line)));
    if (!received) {
        if (received.error().code() != Code::Unavailable) {
            reply(std::move(received).error());
        }
        return;
    }
    if (received->size == 0) {  // the shim has exited, or wants nothing more
        watch_.cancel();
        return;
    }
    if (received->size > kControlLineMax) {
        return reply(Error(Code::InvalidArgument, "the line is too long"));
    }
    serve(std::string_view(line.data(), received->size), std::move(received->fds));
}

void Control::serve(std::string_view line, std::vector<Fd> fds) {
    Result<ControlRequest> request = parse_line(line);
    if (!request) {
        return reply(std::move(request).error());
    }
    if (auto* device = std::get_if<DeviceConfig>(&*request)) {
        Result<void> claimed = claim_fds(*device, [&fds](int number) {
            const auto place = static_cast<std::size_t>(number);
            return place < fds.size() ? std::move(fds[place]) : Fd();
        });
        if (!claimed) {
            return reply(std::move(claimed).error());
        }
    }
    std::visit(Match{[this](DeviceConfig& it) { reply(host_.attach(std::move(it))); },
                     [this](const DetachRequest& it) { reply(without_text(host_.detach(it.id))); },
                     [this](const ResizeRequest& it) {
                         reply(without_text(host_.resize(it.id, it.size)));
                     },
                     [this](const PauseRequest& /*it*/) { reply(without_text(host_.pause())); },
                     [this](const ResumeRequest& /*it*/) { reply(without_text(host_.resume())); }},
               *request);
}

void Control::reply(const Result<std::string>& outcome) {
    std::string line = outcome ? "ok" : "error " + outcome.error().message();
    if (outcome && !outcome->empty()) {
        line.append(" ").append(*outcome);
    }
    std::ranges::replace(line, '\n', ' ');
    line.resize(std::min(line.size(), kControlLineMax));
    // A client that does not read its replies gets none.
    if (const auto sent = send_some(socket_.ref(), std::as_bytes(std::span(line))); !sent) {
        log::warn("a control reply was lost", {{"error", sent.error().message()}});
    }
}

}  // namespace pepita::vmm
