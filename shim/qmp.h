#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {

/// The machine protocol of a QEMU (QMP), over one connected stream socket.
/// Thread: the loop's.
class Qmp {
public:
    using OnReply = std::move_only_function<void(Result<void>)>;
    /// An event, and the id of the device that it names; "" if it names none.
    using OnEvent =
        std::move_only_function<void(const std::string& event, const std::string& device)>;

    /// `loop` outlives this. The negotiation of capabilities is queued as the first command.
    static Result<std::unique_ptr<Qmp>> create(EventLoop& loop, Fd socket, OnEvent on_event);
    Qmp(const Qmp&) = delete;
    Qmp& operator=(const Qmp&) = delete;
    Qmp(Qmp&&) = delete;
    Qmp& operator=(Qmp&&) = delete;
    ~Qmp() = default;

    /// Queues a command; they are executed one after the other. `arguments` is a JSON object, ""
    /// for none; `fd` goes along with it (for getfd). `on_reply` gets QEMU's own words as an Error
    /// (Aborted), or Unavailable once the connection has ended.
    void execute(std::string_view command, std::string_view arguments, OnReply on_reply,
                 Fd fd = {});

private:
    struct Command {
        std::string text;
        Fd fd;
        OnReply on_reply;
    };

    Qmp(Fd socket, OnEvent on_event) : socket_(std::move(socket)), on_event_(std::move(on_event)) {}
    void on_readable();
    void on_line(std::string_view line);
    void send_next();
    void end(std::string_view why);

    Fd socket_;
    OnEvent on_event_;
    EventLoop::Watch watch_;
    std::string input_;
    std::deque<Command> commands_;  // the first is executed
    bool is_greeted_ = false;
    bool is_sent_ = false;  // the first
    bool has_ended_ = false;
};

}  // namespace pepita::shim
