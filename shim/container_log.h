#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {

enum class LogStream : std::uint8_t { Stdout, Stderr };

/// One stream's output as records of the CRI's log format, as containerd writes them:
/// `<RFC3339 time> <stdout|stderr> <P|F> <line>\n`. A line of more than kLineMax bytes becomes
/// records marked P and one marked F; a last line without its newline is a P. Any byte but a
/// newline is passed on as it is. Source: kubernetes pkg/kubelet/kuberuntime/logs, containerd
/// internal/cri/io.
class LogRecords {
public:
    static constexpr std::size_t kLineMax = std::size_t{16} * 1024;

    explicit LogRecords(LogStream stream) : stream_(stream) {}

    using Time = std::chrono::system_clock::time_point;
    /// Appends the records that `bytes` complete to `out`, all with the time `now`, which was that
    /// of their arrival. Cost: one search and one copy.
    void add(std::string_view bytes, Time now, std::string& out);
    /// The stream has ended: what is left of it.
    void end(Time now, std::string& out);

private:
    void put(char mark, std::string_view tail, std::string_view time, std::string& out);

    LogStream stream_;
    std::string line_;  // its beginning, at most kLineMax bytes
};

/// A container's log file: both streams, in the order in which they came, one record after the
/// other. It is written at once, and never synced: a process that is killed loses nothing that it
/// had written, a machine may.
///
/// Where the file takes no more (no space, an error of the disk), records wait here and the owner
/// reads no further, so the container is held back, but not for ever: after Limits::patience what
/// waits and comes is dropped until the file takes bytes again. Then a record of standard error
/// says how much that was. Thread: that of `loop`.
class ContainerLog {
public:
    struct Limits {
        std::chrono::milliseconds patience = std::chrono::seconds(10);
        std::chrono::milliseconds retry_interval{200};
    };

    /// Opens the file, whose directory exists, or makes it. No link is followed at its end.
    static Result<std::unique_ptr<ContainerLog>> open(EventLoop& loop, std::string path);
    static Result<std::unique_ptr<ContainerLog>> open(EventLoop& loop, std::string path,
                                                      Limits limits);
    ContainerLog(const ContainerLog&) = delete;
    ContainerLog& operator=(const ContainerLog&) = delete;
    ContainerLog(ContainerLog&&) = delete;
    ContainerLog& operator=(ContainerLog&&) = delete;
    ~ContainerLog() = default;

    const std::string& path() const { return path_; }

    void write(LogStream stream, std::string_view bytes);
    /// The stream has ended.
    void end(LogStream stream);

    /// Whether it takes no more for now; `on_ready` of set_on_ready() is called when it does again.
    bool is_full() const { return again_is_due_; }
    void set_on_ready(std::move_only_function<void()> on_ready) { on_ready_ = std::move(on_ready); }

    /// Goes on in the file that is at the path now, or is made there. What waits goes there, too.
    /// Errors: where that file cannot be opened; then the old one stays.
    Result<void> reopen();

private:
    ContainerLog(EventLoop& loop, std::string path, Fd file, Limits limits);
    LogRecords& records(LogStream stream) { return records_[static_cast<std::size_t>(stream)]; }
    void flush_unless_full();
    void flush();
    Result<void> write_waiting();
    void on_failure(const Error& why);
    void on_recovery();
    std::size_t torn_from() const;
    void drop();
    void retry();

    EventLoop& loop_;
    std::string path_;
    Fd file_;
    Limits limits_;
    std::array<LogRecords, 2> records_{LogRecords(LogStream::Stdout),
                                       LogRecords(LogStream::Stderr)};
    std::string waiting_;      // whole records
    std::size_t written_ = 0;  // of waiting_
    std::move_only_function<void()> on_ready_;
    EventLoop::Timer again_;
    bool again_is_due_ = false;
    bool is_failing_ = false;  // since the last success, and our log says so
    EventLoop::Clock::time_point patience_ends_;
    std::string failure_;
    std::uint64_t lost_records_ = 0;  // that the file does not tell of yet
};

}  // namespace pepita::shim
