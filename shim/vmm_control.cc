#include "shim/vmm_control.h"

#include <sys/epoll.h>

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
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "vmm/device_config.h"
#include "vmm/machine_config.h"

namespace pepita::shim {

Result<std::unique_ptr<VmmControl>> VmmControl::create(EventLoop& loop, Fd socket) {
    std::unique_ptr<VmmControl> control(new VmmControl(std::move(socket)));
    control->watch_ =
        TRY(loop.watch(control->socket_.ref(), EPOLLIN,
                       [self = control.get()](std::uint32_t /*events*/) { self->on_readable(); }));
    return control;
}

void VmmControl::request(vmm::ControlRequest request, OnReply on_reply) {
    if (has_ended_) {
        return on_reply(Error(Code::Unavailable, "pepita-vmm has closed its control socket"));
    }
    requests_.push_back({.request = std::move(request), .on_reply = std::move(on_reply)});
    send_next();
}

void VmmControl::send_next() {
    if (is_sent_ || requests_.empty()) {
        return;
    }
    vmm::ControlRequest& request = requests_.front().request;
    std::vector<FdRef> fds;
    if (auto* device = std::get_if<vmm::DeviceConfig>(&request)) {
        vmm::number_fds(*device, 0);
        vmm::for_each_fd(*device, [&fds](vmm::NumberedFd& fd) { fds.push_back(fd.fd.ref()); });
    }
    const std::string line = vmm::to_line(request);
    if (const auto sent = send_some(socket_.ref(), std::as_bytes(std::span(line)), fds); !sent) {
        return end(sent.error().message());
    }
    is_sent_ = true;
    request = vmm::ResumeRequest{};  // the descriptors are pepita-vmm's
}

void VmmControl::on_readable() {
    std::array<char, vmm::kControlLineMax> bytes{};
    const auto received = receive_some(socket_.ref(), std::as_writable_bytes(std::span(bytes)));
    if (!received) {
        if (received.error().code() != Code::Unavailable) {
            end(received.error().message());
        }
        return;
    }
    if (received->size == 0 || !is_sent_) {
        return end("pepita-vmm has closed its control socket");
    }
    OnReply on_reply = std::move(requests_.front().on_reply);
    requests_.pop_front();
    is_sent_ = false;
    send_next();
    const std::string_view line(bytes.data(), received->size);
    constexpr std::string_view ok = "ok";
    constexpr std::string_view error = "error ";
    if (line.starts_with(error)) {
        return on_reply(Error(Code::Aborted, std::string(line.substr(error.size()))));
    }
    on_reply(std::string(line.substr(std::min(line.size(), ok.size() + 1))));
}

void VmmControl::end(const std::string& why) {
    has_ended_ = true;
    watch_.cancel();
    for (Waiting& waiting : std::exchange(requests_, {})) {
        waiting.on_reply(Error(Code::Unavailable, why));
    }
}

}  // namespace pepita::shim
