#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "shim/attacher_sink.h"
#include "shim/container_log.h"

namespace pepita::shim {

/// What a process writes, where the shim keeps it (runtime/pod_api.h): it goes to the log, if there
/// is one, and a copy to each attacher. A log that takes no more holds the process back; an
/// attacher never does. Thread: that of `loop`.
class KeptOutput {
public:
    static constexpr std::size_t kAttachersMax = 16;  // of each stream

    /// `on_written` is called once, later: the streams have ended, and what the log takes is there.
    /// `log` may be null.
    KeptOutput(EventLoop& loop, std::unique_ptr<ContainerLog> log,
               std::move_only_function<void()> on_written);
    KeptOutput(const KeptOutput&) = delete;
    KeptOutput& operator=(const KeptOutput&) = delete;
    KeptOutput(KeptOutput&&) = delete;
    KeptOutput& operator=(KeptOutput&&) = delete;
    /// What the guest had sent by now is still written to the log.
    ~KeptOutput();

    /// The guest's end of a stream, a socket.
    Result<void> connect(LogStream which, Fd connection);
    /// From now on `sink` gets a copy. It is closed where that stream is not kept or has ended.
    Result<void> attach(LogStream which, Fd sink);
    /// Errors: FailedPrecondition where there is no log; ContainerLog::reopen()'s.
    Result<void> reopen_log();

private:
    struct Stream {
        LogStream which;
        Fd connection;  // until it ends
        EventLoop::Watch watch;
        std::list<std::unique_ptr<AttacherSink>> sinks;
    };
    Stream& stream(LogStream which) { return streams_[static_cast<std::size_t>(which)]; }
    Result<void> watch(Stream& stream);
    void on_readable(Stream& stream);
    void pass_on(Stream& stream, std::size_t size);
    void write_rest(Stream& stream);
    void end(Stream& stream);
    void on_log_ready();
    void tell_if_written();

    EventLoop& loop_;
    std::unique_ptr<ContainerLog> log_;
    std::move_only_function<void()> on_written_;
    std::array<Stream, 2> streams_{
        Stream{.which = LogStream::Stdout, .connection = {}, .watch = {}, .sinks = {}},
        Stream{.which = LogStream::Stderr, .connection = {}, .watch = {}, .sinks = {}}};
    std::array<char, std::size_t{64} * 1024> buffer_{};
    EventLoop::Timer telling_;
};

}  // namespace pepita::shim
