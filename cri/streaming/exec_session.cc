#include "cri/streaming/exec_session.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cri/streaming.h"
#include "cri/streaming/fd_ends.h"
#include "cri/streaming/framing.h"
#include "cri/streaming/session.h"
#include "cri/streaming/websocket.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::Object;
using runtime::oci::OrderedJson;

Result<TerminalSize> parse_size(std::string_view text) {
    constexpr std::uint64_t max_side = std::numeric_limits<std::uint16_t>::max();
    const runtime::oci::Json json = TRY(runtime::oci::parse_json(text));
    const Object object = TRY(runtime::oci::Node(json, "resize").object());
    const auto width = TRY(TRY(object.require("Width")).natural(max_side));
    const auto height = TRY(TRY(object.require("Height")).natural(max_side));
    return TerminalSize{.width = static_cast<std::uint16_t>(width),
                        .height = static_cast<std::uint16_t>(height)};
}

OrderedJson status(std::string_view outcome) {
    OrderedJson json = OrderedJson::object();
    json.emplace("metadata", OrderedJson::object());
    json.emplace("status", outcome);
    return json;
}

OrderedJson cause(std::string_view reason, std::string_view message) {
    OrderedJson one = OrderedJson::object();
    if (!reason.empty()) {
        one.emplace("reason", reason);
    }
    one.emplace("message", message);
    OrderedJson details = OrderedJson::object();
    details.emplace("causes", OrderedJson::array({std::move(one)}));
    return details;
}

}  // namespace

StreamChoice choice_of(const StreamRequest& request) {
    if (const auto* exec = std::get_if<ExecRequest>(&request)) {
        return exec->streams;
    }
    return std::get<AttachRequest>(request).streams;
}

// k8s.io/cri-streaming remotecommand/exec.go
std::string exit_message(const Result<std::uint32_t>& exit, unsigned version) {
    const bool has_json = version >= 4;
    if (exit && *exit == 0) {
        return has_json ? runtime::oci::dump(status("Success")) : std::string();
    }
    std::string message =
        exit ? "command terminated with non-zero exit code: exit status " + std::to_string(*exit)
             : "error executing command in container: " + exit.error().message();
    if (!has_json) {
        return message;
    }
    OrderedJson json = status("Failure");
    json.emplace("message", message);
    if (exit) {
        json.emplace("reason", "NonZeroExitCode");
        json.emplace("details", cause("ExitCode", std::to_string(*exit)));
    } else {
        json.emplace("reason", "InternalError");
        json.emplace("details", cause("", exit.error().message()));
        json.emplace("code", 500);
    }
    return runtime::oci::dump(json);
}

std::optional<TerminalSize> ResizeReader::feed(std::span<const std::byte> bytes) {
    std::optional<TerminalSize> last;
    for (const std::byte byte : bytes) {
        if (is_broken_) {
            return last;
        }
        const char character = static_cast<char>(byte);
        object_.push_back(character);
        if (character == '}') {  // a size has no object within
            const Result<TerminalSize> size = parse_size(object_);
            object_.clear();
            is_broken_ = !size;
            last = size ? std::optional(*size) : last;
        }
        is_broken_ = is_broken_ || object_.size() > kObjectSizeMax;
    }
    return last;
}

ExecSession::ExecSession(EventLoop& loop, Wire& wire, StreamTarget& target, StreamRequest request,
                         Options options)
    : loop_(loop),
      wire_(wire),
      target_(target),
      request_(std::move(request)),
      choice_(choice_of(request_)),
      options_(options),
      in_(loop, [this] { wire_.update(); }) {
    timer_ = loop_.after(options_.streams_timeout, [this] { wire_.end(); });
}

std::vector<ChannelFraming::Channel> ExecSession::channels(const StreamChoice& choice) {
    constexpr auto types =
        std::to_array<std::string_view>({"stdin", "stdout", "stderr", "error", "resize"});
    const std::array<bool, types.size()> is_there = {choice.in, choice.out,
                                                     choice.err && !choice.tty, true, choice.tty};
    std::vector<ChannelFraming::Channel> channels;
    for (std::size_t number = 0; number < types.size(); ++number) {
        if (is_there.at(number)) {
            channels.push_back({.number = static_cast<std::uint8_t>(number),
                                .client_writes = number == 0 || number == 4,
                                .headers = {{"streamtype", std::string(types.at(number))}},
                                .greeting = {}});
        }
    }
    return channels;
}

std::optional<StreamId>* ExecSession::place_of(std::string_view type) {
    if (type == "error") {
        return &streams_.error;
    }
    if (type == "stdin" && choice_.in) {
        return &streams_.in;
    }
    if (type == "stdout" && choice_.out) {
        return &streams_.out;
    }
    if (type == "stderr" && choice_.err && !choice_.tty) {
        return &streams_.err;
    }
    if (type == "resize" && choice_.tty) {
        return &streams_.resize;
    }
    return nullptr;
}

void ExecSession::on_open(StreamId id, const StreamHeaders& headers) {
    std::optional<StreamId>* place = place_of(header(headers, "streamtype"));
    if (place == nullptr || *place || is_concluded_) {
        return wire_.reset(id);
    }
    *place = id;
    wire_.accept(id);
    if (!was_started_ && has_all()) {
        start();
    }
}

bool ExecSession::has_all() const {
    const bool resizes = choice_.tty && options_.version >= 3;
    return streams_.error && streams_.in.has_value() == choice_.in &&
           streams_.out.has_value() == choice_.out &&
           streams_.err.has_value() == (choice_.err && !choice_.tty) &&
           (streams_.resize.has_value() || !resizes);
}

void ExecSession::start() {
    was_started_ = true;
    timer_.cancel();
    const std::weak_ptr<bool> alive = alive_;
    StreamTarget::OnStarted on_started = [this, alive](Result<StartedProcess> started) {
        if (!alive.expired()) {
            this->on_started(std::move(started));
        }
    };
    StreamTarget::OnExit on_exit = [this, alive](Result<std::uint32_t> exit) {
        if (!alive.expired()) {
            this->on_exit(std::move(exit));
        }
    };
    if (const auto* exec = std::get_if<ExecRequest>(&request_)) {
        return target_.exec(*exec, std::move(on_started), std::move(on_exit));
    }
    target_.attach(std::get<AttachRequest>(request_), std::move(on_started), std::move(on_exit));
}

void ExecSession::on_started(Result<StartedProcess> started) {
    if (!started) {
        return on_exit(std::move(started).error());
    }
    if (Result<void> connected = connect(*std::move(started)); !connected) {
        on_exit(std::move(connected).error());
    }
}

Result<void> ExecSession::connect(StartedProcess started) {
    process_ = std::move(started.process);
    if (size_ && process_) {
        process_->resize(*size_);
    }
    if (started.in && streams_.in) {
        TRY(in_.connect(std::move(started.in)));
    }
    if (started.out && streams_.out) {
        out_ = TRY(forward(std::move(started.out), *streams_.out));
    }
    if (started.err && streams_.err) {
        err_ = TRY(forward(std::move(started.err), *streams_.err));
    }
    return {};
}

Result<std::unique_ptr<Inlet>> ExecSession::forward(Fd source, StreamId to) {
    return Inlet::create(loop_, std::move(source),
                         {.has_room = [this] { return wire_.has_room(); },
                          .on_bytes =
                              [this, to](std::span<const std::byte> bytes) {
                                  output_moved_ = true;
                                  wire_.send(to, bytes);
                              },
                          .on_end =
                              [this, to] {
                                  output_moved_ = true;
                                  wire_.finish(to);
                                  // Later, because it destroys the inlet that calls this.
                                  timer_ = loop_.after(std::chrono::milliseconds(0),
                                                       [this] { wait_for_output(); });
                              }});
}

void ExecSession::on_data(StreamId id, std::span<const std::byte> bytes) {
    if (id == streams_.in) {
        in_.write(bytes);
        return wire_.update();
    }
    if (id == streams_.resize) {
        if (const auto size = resizes_.feed(bytes)) {
            size_ = size;
            if (process_) {
                process_->resize(*size);
            }
        }
    }
}

void ExecSession::on_finish(StreamId id) {
    if (id == streams_.in) {
        in_.finish();
    }
}

void ExecSession::on_reset(StreamId id) { on_finish(id); }

void ExecSession::on_room() {
    if (out_) {
        out_->resume();
    }
    if (err_) {
        err_->resume();
    }
}

void ExecSession::on_exit(Result<std::uint32_t> exit) {
    if (!exit_) {
        exit_ = std::move(exit);
        output_moved_ = true;
        wait_for_output();
    }
}

// The output may still be in the pipes, or a child of the process may hold them open for ever.
void ExecSession::wait_for_output() {
    if (!exit_ || is_concluded_) {
        return;
    }
    const bool is_silent = !std::exchange(output_moved_, false) && wire_.has_room();
    const bool is_over = (!out_ || out_->has_ended()) && (!err_ || err_->has_ended());
    if (is_over || is_silent) {
        return conclude();
    }
    timer_ = loop_.after(options_.output_grace, [this] { wait_for_output(); });
}

void ExecSession::conclude() {
    CHECK(exit_.has_value() && streams_.error.has_value());
    const StreamId error = *streams_.error;
    const std::string message = exit_message(*exit_, options_.version);
    is_concluded_ = true;
    out_.reset();
    err_.reset();
    process_.reset();
    wire_.send(error, as_wire_bytes(message));
    wire_.finish(error);
    // After the status: clients of version 1 take the end of both for a success.
    for (const std::optional<StreamId>& stream : {streams_.out, streams_.err}) {
        if (stream) {
            wire_.finish(*stream);
        }
    }
    wire_.end();
}

}  // namespace pepita::cri
