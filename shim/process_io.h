#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/pump.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/pod_api.h"
#include "runtime/task_api.h"
#include "shim/container_log.h"
#include "shim/kept_input.h"
#include "shim/kept_output.h"

namespace pepita::shim {

/// The host's side of one process in the guest: its streams or terminal, and the process that
/// stands for it in the host's pid file.
class ProcessIo {
public:
    struct Callbacks {
        std::move_only_function<void()> on_output_written;  // once: all output is out
        std::move_only_function<void(runtime::WindowSize)> on_resize;
        std::move_only_function<void(std::uint32_t signal)> on_signal;
        std::move_only_function<void()> on_proxy_gone;
    };

    /// Opens or takes over the ends in `io`; with a console socket makes a pty and hands its master
    /// over. Errors: a path that cannot be opened, by name.
    /// Streams in the forms of runtime/pod_api.h are kept here, for the log and attachers.
    static Result<std::unique_ptr<ProcessIo>> create(EventLoop& loop, runtime::TaskIo io,
                                                     runtime::WindowSize window,
                                                     Callbacks callbacks);
    ProcessIo(const ProcessIo&) = delete;
    ProcessIo& operator=(const ProcessIo&) = delete;
    ProcessIo(ProcessIo&&) = delete;
    ProcessIo& operator=(ProcessIo&&) = delete;
    ~ProcessIo();

    /// What the guest has to provide.
    runtime::Streams streams() const;

    /// Connects the guest's streams; an Fd that is not open where there is none.
    Result<void> attach(Fd in, Fd out, Fd err);

    /// The process runs. Only now a FIFO is opened for it: clients learn by that when they may send
    /// input, and its end (ctr does not ask for the end before it has the answer to its Create).
    Result<void> start_input();

    /// True once nothing more will be written, or before attach().
    bool is_output_written() const { return outputs_left_ == 0; }

    /// What the process would read is ended.
    void close_stdin();

    /// FailedPrecondition where no stream is kept; one that is not is closed, as one that has
    /// ended.
    Result<void> add_attacher(runtime::AttachRequest request);
    Result<void> reopen_log();

    /// The process is over: the proxy ends with `status`, input stops.
    void exited(std::uint32_t status);

private:
    struct Output {
        Fd sink;
        Fd connection;
        std::unique_ptr<Pump> pump;
    };

    ProcessIo(EventLoop& loop, runtime::TaskIo io, Callbacks callbacks);
    Result<void> open_ends();
    Result<void> keep_output();
    Result<void> open_terminal(const Fd& console_socket, runtime::WindowSize window);
    Result<void> watch_proxy();
    Result<void> watch_window(const Fd& slave);
    Result<void> pump_input();
    Result<void> attach_output(Output& output, Fd connection);
    Result<void> keep(LogStream which, Fd connection);
    void on_output_end(Output& output);
    void end_one_output();
    void on_proxy();
    void on_window();

    EventLoop& loop_;
    runtime::TaskIo io_;
    Callbacks callbacks_;
    Fd source_;         // of the process's standard input
    std::string fifo_;  // the path of one for it that is not open yet
    Fd fifo_writer_;    // it ends by close_stdin(), not with a client that may come back
    Fd input_;          // the guest's end of it
    std::unique_ptr<Pump> input_pump_;
    Output out_;
    Output err_;
    bool keeps_out_ = false;
    bool keeps_err_ = false;
    std::unique_ptr<KeptOutput> kept_output_;  // of those
    bool is_keeping_ = false;                  // one of them is connected
    std::unique_ptr<KeptInput> kept_input_;    // instead of source_
    int outputs_left_ = 0;
    Fd proxy_;
    std::array<std::byte, 4> signal_{};  // as much of a number as has come
    std::size_t signal_size_ = 0;
    EventLoop::Watch proxy_watch_;
    std::optional<Child> window_child_;
    Fd window_sizes_;
    EventLoop::Watch window_watch_;
};

}  // namespace pepita::shim
