#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pump.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "runtime/guest/stream_server.h"
#include "runtime/guest_api.h"

namespace pepita::runtime::guest {

/// The guest's side of one process's standard streams: pipes or a terminal, and the connections
/// that the host makes for them. Output that nobody has come for yet waits in its pipe, and holds
/// the process back when the pipe is full. Thread: that of the loop.
class ProcessStreams {
public:
    ProcessStreams(EventLoop& loop, StreamServer& server) : loop_(loop), server_(server) {}
    ProcessStreams(const ProcessStreams&) = delete;
    ProcessStreams& operator=(const ProcessStreams&) = delete;
    ProcessStreams(ProcessStreams&&) = delete;
    ProcessStreams& operator=(ProcessStreams&&) = delete;
    ~ProcessStreams();

    /// Makes pipes for the streams asked for; the ends for the process. Not for a terminal.
    Result<container::Stdio> make_pipes(const Streams& streams);
    /// A process with a terminal: its master.
    Result<void> take_terminal(Fd master);

    const StreamNumbers& numbers() const { return numbers_; }

    /// Errors: FailedPrecondition where there is no terminal.
    Result<void> resize(WindowSize size);
    /// What has come by now is the last that the process reads.
    void close_stdin();

    /// The process is over: what it wrote goes out, then the streams end, whoever may still hold
    /// their other ends.
    void exited();

private:
    struct Output {
        Fd source;
        Fd connection;
        std::unique_ptr<Pump> pump;
    };
    Result<Fd> make_output(Output& output, std::uint64_t& number);
    void connect_output(Output& output, Fd connection);
    void connect_input(Fd connection);
    void end_input();

    EventLoop& loop_;
    StreamServer& server_;
    StreamNumbers numbers_;
    bool is_terminal_ = false;
    bool is_over_ = false;
    Fd input_sink_;
    Fd input_;  // the connection
    std::unique_ptr<Pump> input_pump_;
    Output out_;  // a terminal's output, too
    Output err_;
};

}  // namespace pepita::runtime::guest
