#include "shim/qmp.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/json.h"

namespace pepita::shim {
namespace {

namespace json = runtime::oci;

// QEMU's replies are short; a line of this size is none of them.
constexpr std::size_t kLineMax = std::size_t{64} * 1024;
constexpr std::string_view kClosed = "QEMU has closed its QMP socket";

/// The text of member `name`; "" where there is none.
std::string text_of(const std::optional<json::Node>& node, std::string_view name) {
    if (!node) {
        return "";
    }
    const auto object = node->object();
    const auto member = object ? object->find(name) : std::nullopt;
    return member ? member->text().value_or("") : "";
}

}  // namespace

Result<std::unique_ptr<Qmp>> Qmp::create(EventLoop& loop, Fd socket, OnEvent on_event) {
    std::unique_ptr<Qmp> qmp(new Qmp(std::move(socket), std::move(on_event)));
    qmp->watch_ =
        TRY(loop.watch(qmp->socket_.ref(), EPOLLIN,
                       [self = qmp.get()](std::uint32_t /*events*/) { self->on_readable(); }));
    qmp->execute("qmp_capabilities", "", [](const Result<void>&) {});
    return qmp;
}

void Qmp::execute(std::string_view command, std::string_view arguments, OnReply on_reply, Fd fd) {
    std::string text = R"({"execute":")" + std::string(command) + "\"";
    if (!arguments.empty()) {
        text.append(",\"arguments\":").append(arguments);
    }
    text.append("}\n");
    if (has_ended_) {
        return on_reply(Error(Code::Unavailable, std::string(kClosed)));
    }
    commands_.push_back(
        {.text = std::move(text), .fd = std::move(fd), .on_reply = std::move(on_reply)});
    send_next();
}

// One at a time, so that a reply needs no number, and a short command always finds room.
void Qmp::send_next() {
    if (!is_greeted_ || is_sent_ || commands_.empty()) {
        return;
    }
    const Command& command = commands_.front();
    const FdRef fd = command.fd.ref();
    const auto sent = send_some(socket_.ref(), std::as_bytes(std::span(command.text)),
                                command.fd ? std::span(&fd, 1) : std::span<const FdRef>());
    if (!sent || *sent != command.text.size()) {
        return end(sent ? "a QMP command was cut" : sent.error().message());
    }
    is_sent_ = true;
}

void Qmp::on_readable() {
    std::array<char, 4096> bytes{};
    const auto received = receive_some(socket_.ref(), std::as_writable_bytes(std::span(bytes)));
    if (!received) {
        if (received.error().sys_errno() == EAGAIN) {
            return;
        }
        // A command that QEMU has not read makes its end a reset.
        return end(received.error().sys_errno() == ECONNRESET ? kClosed
                                                              : received.error().message());
    }
    if (received->size == 0) {
        return end(kClosed);
    }
    input_.append(bytes.data(), received->size);
    for (std::size_t length = input_.find('\n'); length != std::string::npos && !has_ended_;
         length = input_.find('\n')) {
        const std::string line = input_.substr(0, length);
        input_.erase(0, length + 1);
        on_line(line);
    }
    if (input_.size() > kLineMax) {
        end("a line of QMP is too long");
    }
}

void Qmp::on_line(std::string_view line) {
    const Result<json::Json> value = json::parse_json(line);
    const auto object = value ? json::Node(*value, "QMP").object()
                              : Result<json::Object>(Error(Code::DataLoss, ""));
    if (!object) {
        return end("QMP line is no JSON object");
    }
    if (object->find("QMP")) {
        is_greeted_ = true;
        return send_next();
    }
    if (const auto event = object->find("event")) {
        on_event_(event->text().value_or(""), text_of(object->find("data"), "device"));
        return;
    }
    if (!is_sent_) {
        return end("QMP reply without a command");
    }
    OnReply on_reply = std::move(commands_.front().on_reply);
    commands_.pop_front();
    is_sent_ = false;
    const auto error = object->find("error");
    send_next();
    on_reply(error ? Result<void>(Error(Code::Aborted, "QEMU: " + text_of(error, "desc")))
                   : Result<void>());
}

void Qmp::end(std::string_view why) {
    has_ended_ = true;
    watch_.cancel();
    for (Command& command : std::exchange(commands_, {})) {
        command.on_reply(Error(Code::Unavailable, std::string(why)));
    }
}

}  // namespace pepita::shim
