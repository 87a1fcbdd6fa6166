#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "vmm/machine_config.h"

namespace pepita::shim {

/// The client of pepita-vmm's control socket. Thread: the loop's.
class VmmControl {
public:
    using OnReply = std::move_only_function<void(Result<std::string>)>;

    /// `loop` outlives this; `socket` is SOCK_SEQPACKET.
    static Result<std::unique_ptr<VmmControl>> create(EventLoop& loop, Fd socket);
    VmmControl(const VmmControl&) = delete;
    VmmControl& operator=(const VmmControl&) = delete;
    VmmControl(VmmControl&&) = delete;
    VmmControl& operator=(VmmControl&&) = delete;
    ~VmmControl() = default;

    /// Requests are sent one after the other, with the descriptors that they own. `on_reply` gets
    /// what follows "ok", or an Error: Aborted with pepita-vmm's reason, Unavailable once it has
    /// closed the socket.
    void request(vmm::ControlRequest request, OnReply on_reply);

private:
    struct Waiting {
        vmm::ControlRequest request;
        OnReply on_reply;
    };

    explicit VmmControl(Fd socket) : socket_(std::move(socket)) {}
    void on_readable();
    void send_next();
    void end(const std::string& why);

    Fd socket_;
    EventLoop::Watch watch_;
    std::deque<Waiting> requests_;  // the first is sent
    bool is_sent_ = false;
    bool has_ended_ = false;
};

}  // namespace pepita::shim
