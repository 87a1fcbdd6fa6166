#include "runtime/guest/process_streams.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/pump.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "runtime/guest/stream_server.h"

namespace pepita::runtime::guest {
namespace {

void report(const Result<std::unique_ptr<Pump>>& pump) {
    log::warn("a stream could not be connected", {{"error", pump.error().message()}});
}

}  // namespace

ProcessStreams::~ProcessStreams() {
    server_.forget(numbers_.in);
    server_.forget(numbers_.out);
    server_.forget(numbers_.err);
}

Result<Fd> ProcessStreams::make_output(Output& output, std::uint64_t& number) {
    Pipe pipe = TRY(make_pipe());
    TRY(set_nonblocking(pipe.read.ref()));  // our end alone; the process's waits
    output.source = std::move(pipe.read);
    number = TRY(server_.expect(
        [this, &output](Fd connection) { connect_output(output, std::move(connection)); }));
    return std::move(pipe.write);
}

Result<container::Stdio> ProcessStreams::make_pipes(const Streams& streams) {
    container::Stdio stdio;
    if (streams.has_stdin) {
        Pipe pipe = TRY(make_pipe());
        TRY(set_nonblocking(pipe.write.ref()));
        input_sink_ = std::move(pipe.write);
        stdio.in = std::move(pipe.read);
        numbers_.in =
            TRY(server_.expect([this](Fd connection) { connect_input(std::move(connection)); }));
    }
    if (streams.has_stdout) {
        stdio.out = TRY(make_output(out_, numbers_.out));
    }
    if (streams.has_stderr) {
        stdio.err = TRY(make_output(err_, numbers_.err));
    }
    return stdio;
}

Result<void> ProcessStreams::take_terminal(Fd master) {
    TRY(set_nonblocking(master.ref()));
    is_terminal_ = true;
    // A descriptor number serves one pump: one for each way.
    input_sink_ = TRY(duplicate(master.ref()));
    out_.source = std::move(master);
    numbers_.in = TRY(server_.expect([this](Fd connection) {
        Result<Fd> other_way = duplicate(connection.ref());
        if (other_way) {
            connect_output(out_, *std::move(other_way));
        }
        connect_input(std::move(connection));
    }));
    return {};
}

void ProcessStreams::connect_output(Output& output, Fd connection) {
    output.connection = std::move(connection);
    auto pump =
        Pump::create(loop_, output.source.ref(), output.connection.ref(), [&output](Pump::End) {
            // Without its reader the process gets SIGPIPE; without its writer
            // the host sees the end.
            (void)::shutdown(output.connection.ref().number(), SHUT_RDWR);
            output.source = Fd();
        });
    if (!pump) {
        report(pump);
        output.connection = Fd();
        return;
    }
    output.pump = *std::move(pump);
    if (is_over_) {
        output.pump->finish();
    }
}

void ProcessStreams::connect_input(Fd connection) {
    input_ = std::move(connection);
    if (!input_sink_) {
        return end_input();
    }
    auto pump =
        Pump::create(loop_, input_.ref(), input_sink_.ref(), [this](Pump::End) { end_input(); });
    if (!pump) {
        report(pump);
        return end_input();
    }
    input_pump_ = *std::move(pump);
}

void ProcessStreams::end_input() {
    // A terminal's other descriptor keeps it open: there, the end of input is a character.
    input_sink_ = Fd();
    if (input_) {
        // The host learns that nobody reads on; a terminal's connection is its output's, too.
        (void)::shutdown(input_.ref().number(), is_terminal_ ? SHUT_RD : SHUT_RDWR);
    }
}

Result<void> ProcessStreams::resize(WindowSize size) {
    if (!is_terminal_ || !out_.source) {
        return Error(Code::FailedPrecondition, "the process has no terminal");
    }
    winsize window{};
    window.ws_row = static_cast<unsigned short>(size.rows);
    window.ws_col = static_cast<unsigned short>(size.columns);
    if (::ioctl(out_.source.ref().number(), TIOCSWINSZ, &window) != 0) {
        return Error::from_errno(errno, "TIOCSWINSZ");
    }
    return {};
}

void ProcessStreams::close_stdin() {
    if (input_pump_ && input_sink_) {
        input_pump_->finish();
    } else {
        end_input();
    }
}

void ProcessStreams::exited() {
    is_over_ = true;
    input_pump_.reset();
    end_input();
    for (Output* output : {&out_, &err_}) {
        if (output->pump && output->source) {
            output->pump->finish();
        }
    }
}

}  // namespace pepita::runtime::guest
