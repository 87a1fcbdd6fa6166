#include "shim/process_io.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/pump.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container.h"
#include "runtime/pod_api.h"
#include "runtime/task_api.h"
#include "shim/console.h"
#include "shim/container_log.h"
#include "shim/kept_input.h"
#include "shim/kept_output.h"

namespace pepita::shim {
namespace {

// A FIFO is opened for both ways, so that opening does not wait for the other side (containerd
// makes the FIFOs and opens its ends when it likes).
Result<Fd> open_end(runtime::StreamEnd end, int flags) {
    if (end.fd) {
        return nonblocking_twin(*std::move(end.fd));
    }
    if (end.path.empty()) {
        return Fd();
    }
    return open_file(end.path.c_str(), flags | O_NONBLOCK);
}

bool is_fifo(const std::string& path) {
    struct stat about{};
    return ::stat(path.c_str(), &about) == 0 && S_ISFIFO(about.st_mode);
}

/// "" where the stream has no log.
std::string log_path(const runtime::StreamEnd& end) {
    const std::string_view prefix = runtime::kLogPrefix;
    return !end.fd && end.path.starts_with(prefix) ? end.path.substr(prefix.size()) : "";
}

bool is_kept(const runtime::StreamEnd& end) {
    return !end.fd &&
           (end.path.starts_with(runtime::kLogPrefix) || end.path == runtime::kKeptStream);
}

}  // namespace

ProcessIo::ProcessIo(EventLoop& loop, runtime::TaskIo io, Callbacks callbacks)
    : loop_(loop), io_(std::move(io)), callbacks_(std::move(callbacks)) {}

ProcessIo::~ProcessIo() = default;

Result<std::unique_ptr<ProcessIo>> ProcessIo::create(EventLoop& loop, runtime::TaskIo io,
                                                     runtime::WindowSize window,
                                                     Callbacks callbacks) {
    const std::optional<Fd> console_socket = std::exchange(io.console_socket, std::nullopt);
    std::unique_ptr<ProcessIo> made(new ProcessIo(loop, std::move(io), std::move(callbacks)));
    if (console_socket) {
        TRY(made->open_terminal(*console_socket, window));
    } else {
        TRY(made->open_ends());
    }
    TRY(made->watch_proxy());
    return made;
}

// A log has both streams, or one.
Result<void> ProcessIo::keep_output() {
    std::string log = log_path(io_.out);
    std::string errors = log_path(io_.err);
    if (!log.empty() && !errors.empty() && log != errors) {
        return Error(Code::InvalidArgument,
                     "one log for both streams, not '" + log + "' and '" + errors + "'");
    }
    if (log.empty()) {
        log = std::move(errors);
    }
    keeps_out_ = is_kept(io_.out);
    keeps_err_ = is_kept(io_.err);
    if (!keeps_out_ && !keeps_err_) {
        return {};
    }
    std::unique_ptr<ContainerLog> opened;
    if (!log.empty()) {
        opened = TRY(ContainerLog::open(loop_, std::move(log)));
    }
    kept_output_ =
        std::make_unique<KeptOutput>(loop_, std::move(opened), [this] { end_one_output(); });
    return {};
}

Result<void> ProcessIo::open_ends() {
    TRY(keep_output());
    if (io_.in.path == runtime::kKeptStream || io_.in.path == runtime::kKeptStreamOnce) {
        kept_input_ = std::make_unique<KeptInput>(loop_, io_.in.path == runtime::kKeptStream
                                                             ? KeptInput::Ends::WithProcess
                                                             : KeptInput::Ends::WithAttacher);
        io_.in.path.clear();
    }
    if (!io_.in.fd && is_fifo(io_.in.path)) {
        fifo_ = std::move(io_.in.path);
    } else {
        source_ = TRY(open_end(std::move(io_.in), O_RDONLY), "stdin");
    }
    if (!keeps_out_) {
        out_.sink = TRY(open_end(std::move(io_.out), O_RDWR), "stdout");
    }
    if (!keeps_err_) {
        err_.sink = TRY(open_end(std::move(io_.err), O_RDWR), "stderr");
    }
    return {};
}

Result<void> ProcessIo::open_terminal(const Fd& console_socket, runtime::WindowSize window) {
    Pty pty = TRY(open_pty(window));
    const std::array<FdRef, 1> fds{pty.master.ref()};
    const std::string name = "/dev/ptmx";  // as runc names it; receivers do not read it
    (void)TRY(send_some(console_socket.ref(), std::as_bytes(std::span(name)), fds),
              "send the terminal to the console socket");
    TRY(watch_window(pty.slave));
    out_.sink = TRY(duplicate(pty.slave.ref()));
    source_ = std::move(pty.slave);
    return {};
}

Result<void> ProcessIo::watch_window(const Fd& slave) {
    auto [ours, theirs] = TRY(socket_pair());
    TRY(set_blocking(theirs.ref()));
    SpawnOptions options;
    options.arguments = {"pepita-window"};
    options.fds = {{.fd = slave.ref(), .number = 3}, {.fd = theirs.ref(), .number = 4}};
    options.instead_of_exec = [] { report_window_sizes(FdRef(3), FdRef(4)); };
    window_child_ = TRY(spawn(std::move(options)));
    window_sizes_ = std::move(ours);
    window_watch_ =
        TRY(loop_.watch(window_sizes_.ref(), EPOLLIN, [this](std::uint32_t) { on_window(); }));
    return {};
}

void ProcessIo::on_window() {
    runtime::WindowSize window;
    const Result<Received> got =
        receive_some(window_sizes_.ref(), std::as_writable_bytes(std::span(&window, 1)));
    if (!got && got.error().sys_errno() == EAGAIN) {
        return;
    }
    if (!got || got->size != sizeof(window)) {
        return window_watch_.cancel();
    }
    if (window != runtime::WindowSize()) {
        callbacks_.on_resize(window);
    }
}

runtime::Streams ProcessIo::streams() const {
    return {.has_stdin = source_ || kept_input_ || !fifo_.empty(),
            .has_stdout = out_.sink || keeps_out_,
            .has_stderr = err_.sink || keeps_err_};
}

Result<void> ProcessIo::attach(Fd in, Fd out, Fd err) {
    if (io_.terminal == runtime::Terminal::Yes && in) {
        // One connection, both ways; a descriptor number serves one pump.
        out = TRY(duplicate(in.ref()));
    }
    TRY(keeps_out_ ? keep(LogStream::Stdout, std::move(out)) : attach_output(out_, std::move(out)));
    TRY(keeps_err_ ? keep(LogStream::Stderr, std::move(err)) : attach_output(err_, std::move(err)));
    input_ = std::move(in);
    if (input_ && kept_input_) {
        kept_input_->connect(TRY(duplicate(input_.ref())));
    }
    return pump_input();
}

Result<void> ProcessIo::start_input() {
    if (fifo_.empty()) {
        return {};
    }
    const std::string path = std::exchange(fifo_, {});
    source_ = TRY(open_file(path.c_str(), O_RDONLY | O_NONBLOCK), "stdin");
    fifo_writer_ = TRY(open_file(path.c_str(), O_WRONLY | O_NONBLOCK), "stdin");
    return pump_input();
}

Result<void> ProcessIo::pump_input() {
    if (input_ && source_) {
        input_pump_ = TRY(Pump::create(loop_, source_.ref(), input_.ref(), [this](Pump::End how) {
            if (how == Pump::End::Source) {
                (void)::shutdown(input_.ref().number(), SHUT_WR);
            }
        }));
    }
    return {};
}

Result<void> ProcessIo::attach_output(Output& output, Fd connection) {
    if (!connection || !output.sink) {
        return {};
    }
    output.connection = std::move(connection);
    output.pump = TRY(Pump::create(loop_, output.connection.ref(), output.sink.ref(),
                                   [this, &output](Pump::End) { on_output_end(output); }));
    ++outputs_left_;
    return {};
}

Result<void> ProcessIo::keep(LogStream which, Fd connection) {
    if (!connection) {
        return {};
    }
    // Both streams end as one.
    if (!std::exchange(is_keeping_, true)) {
        ++outputs_left_;
    }
    return kept_output_->connect(which, std::move(connection));
}

void ProcessIo::on_output_end(Output& output) {
    // Where our reader went, the guest's writer learns of it (SIGPIPE) by the connection's end.
    (void)::shutdown(output.connection.ref().number(), SHUT_RDWR);
    // And our reader that no more comes, though the container may wait long for its deletion.
    output.sink = Fd();
    end_one_output();
}

void ProcessIo::end_one_output() {
    if (--outputs_left_ == 0) {
        // Not in the pump's own call: the callback may give all of this up.
        loop_.post([done = std::move(callbacks_.on_output_written)]() mutable {
            if (done) {
                done();
            }
        });
    }
}

Result<void> ProcessIo::add_attacher(runtime::AttachRequest request) {
    if (!kept_output_ && !kept_input_) {
        return Error(Code::FailedPrecondition, "the container's streams are a client's own");
    }
    if (kept_output_) {
        TRY(kept_output_->attach(LogStream::Stdout, std::move(request.out)), "stdout");
        TRY(kept_output_->attach(LogStream::Stderr, std::move(request.err)), "stderr");
    }
    if (kept_input_) {
        TRY(kept_input_->attach(std::move(request.in)), "stdin");
    }
    return {};
}

Result<void> ProcessIo::reopen_log() {
    if (!kept_output_) {
        return Error(Code::FailedPrecondition, "the container has no log");
    }
    return kept_output_->reopen_log();
}

void ProcessIo::close_stdin() {
    if (kept_input_) {
        kept_input_->close();
    }
    if (fifo_writer_) {
        fifo_writer_ = Fd();  // what is in the FIFO still goes to the process
        return;
    }
    fifo_.clear();
    input_pump_.reset();
    if (input_) {
        (void)::shutdown(input_.ref().number(), SHUT_WR);
    }
}

Result<void> ProcessIo::watch_proxy() {
    if (io_.proxy) {
        proxy_ = *std::move(io_.proxy);
        proxy_watch_ =
            TRY(loop_.watch(proxy_.ref(), EPOLLIN, [this](std::uint32_t) { on_proxy(); }));
    }
    return {};
}

void ProcessIo::on_proxy() {
    const Result<Received> got =
        receive_some(proxy_.ref(), std::span(signal_).subspan(signal_size_));
    if (!got && got.error().sys_errno() == EAGAIN) {
        return;
    }
    if (!got || got->size == 0) {
        proxy_watch_.cancel();
        return callbacks_.on_proxy_gone();
    }
    signal_size_ += got->size;
    if (signal_size_ == signal_.size()) {
        signal_size_ = 0;
        std::uint32_t number = 0;
        std::memcpy(&number, signal_.data(), sizeof(number));
        callbacks_.on_signal(number);
    }
}

void ProcessIo::exited(std::uint32_t status) {
    if (kept_input_) {
        kept_input_->close();
    }
    input_pump_.reset();
    source_ = Fd();
    window_watch_.cancel();
    window_child_.reset();
    fifo_writer_ = Fd();
    if (proxy_) {
        proxy_watch_.cancel();
        // An empty socket has room for four bytes; a proxy that is gone needs no word.
        (void)send_some(proxy_.ref(), std::as_bytes(std::span(&status, 1))).has_value();
        proxy_ = Fd();
    }
}

}  // namespace pepita::shim
