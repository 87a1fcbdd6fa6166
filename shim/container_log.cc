#include "shim/container_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {
namespace {

constexpr mode_t kLogMode = 0640;  // as containerd's

/// 2026-11-30T18:40:00.000000001Z
std::string timestamp(LogRecords::Time time) {
    const auto since =
        std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
    const std::time_t whole = seconds.count();
    std::tm parts{};
    (void)::gmtime_r(&whole, &parts);
    std::array<char, 48> text{};
    const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    (void)std::snprintf(text.data() + size, text.size() - size, ".%09dZ",
                        static_cast<int>((since - seconds).count()));
    return text.data();
}

Result<Fd> open_log(const std::string& path) {
    Fd file(::open(path.c_str(),
                   O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                   kLogMode));
    if (!file) {
        return Error::from_errno(errno, "open the log '" + path + "'");
    }
    struct stat about{};
    if (::fstat(file.ref().number(), &about) != 0 || !S_ISREG(about.st_mode)) {
        return Error(Code::FailedPrecondition, "the log '" + path + "' is no regular file");
    }
    return file;
}

}  // namespace

void LogRecords::put(char mark, std::string_view tail, std::string_view time, std::string& out) {
    out += time;
    out += stream_ == LogStream::Stdout ? " stdout " : " stderr ";
    out += mark;
    out += ' ';
    out += line_;
    out += tail;
    out += '\n';
    line_.clear();
}

void LogRecords::add(std::string_view bytes, Time now, std::string& out) {
    const std::string time = timestamp(now);
    while (!bytes.empty()) {
        const std::size_t newline = bytes.find('\n');
        std::string_view part = bytes.substr(0, newline);
        bytes.remove_prefix(newline == std::string_view::npos ? bytes.size() : newline + 1);
        while (line_.size() + part.size() > kLineMax) {
            const std::size_t room = kLineMax - line_.size();
            put('P', part.substr(0, room), time, out);
            part.remove_prefix(room);
        }
        if (newline == std::string_view::npos) {
            line_ += part;
        } else {
            put('F', part, time, out);
        }
    }
}

void LogRecords::end(Time now, std::string& out) {
    if (!line_.empty()) {
        put('P', "", timestamp(now), out);
    }
}

ContainerLog::ContainerLog(EventLoop& loop, std::string path, Fd file, Limits limits)
    : loop_(loop), path_(std::move(path)), file_(std::move(file)), limits_(limits) {}

Result<std::unique_ptr<ContainerLog>> ContainerLog::open(EventLoop& loop, std::string path) {
    return open(loop, std::move(path), Limits());
}

Result<std::unique_ptr<ContainerLog>> ContainerLog::open(EventLoop& loop, std::string path,
                                                         Limits limits) {
    Fd file = TRY(open_log(path));
    return std::unique_ptr<ContainerLog>(
        new ContainerLog(loop, std::move(path), std::move(file), limits));
}

Result<void> ContainerLog::reopen() {
    file_ = TRY(open_log(path_));
    // A record that the old file has a part of is written to the new one as a whole.
    written_ = torn_from();
    retry();
    return {};
}

void ContainerLog::write(LogStream stream, std::string_view bytes) {
    records(stream).add(bytes, std::chrono::system_clock::now(), waiting_);
    flush_unless_full();
}

void ContainerLog::end(LogStream stream) {
    records(stream).end(std::chrono::system_clock::now(), waiting_);
    flush_unless_full();
}

void ContainerLog::flush_unless_full() {
    // Else a retry is on its way, which writes this, too.
    if (!again_is_due_) {
        flush();
    }
}

void ContainerLog::flush() {
    const Result<void> written = write_waiting();
    if (!written) {
        return on_failure(written.error());
    }
    if (std::exchange(is_failing_, false)) {
        on_recovery();
    }
}

Result<void> ContainerLog::write_waiting() {
    while (written_ < waiting_.size()) {
        const ssize_t got =
            ::write(file_.ref().number(), waiting_.data() + written_, waiting_.size() - written_);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return Error::from_errno(errno, "write");
        }
        written_ += static_cast<std::size_t>(got);
    }
    waiting_.clear();
    written_ = 0;
    return {};
}

void ContainerLog::on_failure(const Error& why) {
    failure_ = why.message();
    const auto now = EventLoop::Clock::now();
    if (!is_failing_) {
        is_failing_ = true;
        patience_ends_ = now + limits_.patience;
        log::warn("a container's log cannot be written; its output waits",
                  {{"log", path_}, {"error", failure_}});
    }
    if (now >= patience_ends_) {
        return drop();
    }
    again_is_due_ = true;
    again_ = loop_.after(limits_.retry_interval, [this] { retry(); });
}

/// Where the record begins that the file has a part of; what is written where it has none.
std::size_t ContainerLog::torn_from() const {
    const std::size_t newline = std::string_view(waiting_).substr(0, written_).rfind('\n');
    return newline == std::string::npos ? 0 : newline + 1;
}

void ContainerLog::drop() {
    if (lost_records_ == 0) {
        log::warn("a container's log cannot be written; its output is lost",
                  {{"log", path_}, {"error", failure_}});
    }
    const std::size_t from = torn_from();
    // A record that the file has a part of waits on, so that no other is joined to that part.
    const std::size_t to = from < written_ ? waiting_.find('\n', written_) + 1 : from;
    lost_records_ +=
        static_cast<std::uint64_t>(std::ranges::count(std::string_view(waiting_).substr(to), '\n'));
    waiting_ = waiting_.substr(from, to - from);
    written_ -= from;
}

void ContainerLog::on_recovery() {
    log::info("a container's log is written again",
              {{"log", path_}, {"lost records", lost_records_}});
    if (lost_records_ == 0) {
        return;
    }
    LogRecords notice(LogStream::Stderr);
    notice.add("pepita-shim: " + std::to_string(std::exchange(lost_records_, 0)) +
                   " records of output are lost: " + failure_ + "\n",
               std::chrono::system_clock::now(), waiting_);
    flush();
}

void ContainerLog::retry() {
    const bool was_full = std::exchange(again_is_due_, false);
    again_.cancel();
    flush();
    if (was_full && !is_full() && on_ready_) {
        on_ready_();
    }
}

}  // namespace pepita::shim
