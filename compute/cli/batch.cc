#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "compute/cli/command_line.h"
#include "compute/cli/interrupts.h"
#include "compute/cli/journal.h"
#include "compute/cli/progress.h"
#include "compute/cli/task_file.h"
#include "compute/cli/task_result.h"
#include "compute/cli/trace.h"
#include "compute/cli/verbs.h"
#include "compute/pool.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"

namespace pepita::compute::cli {
namespace {

constexpr mode_t kReadable = 0644;
constexpr int kSignalled = 128;
constexpr std::chrono::milliseconds kBarInterval{200};
constexpr std::chrono::seconds kReportInterval{1};
/// Submitted and not yet in the journal: their outputs are in memory.
constexpr std::size_t kInFlightMax = 256;
constexpr std::size_t kNamedFailuresMax = 10;

std::size_t terminal_width() {
    winsize size{};
    constexpr std::size_t usual = 80;
    return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col - 1U
                                                                              : usual;
}

/// One run over the tasks of a file that have not ended yet. Thread: its loop's; the pool's thread
/// posts to it.
class BatchRun {
public:
    BatchRun(const Command& command, EventLoop& loop, Pool& pool, const Journal& journal)
        : command_(command),
          loop_(loop),
          pool_(pool),
          journal_(journal),
          begin_(TimePoint::clock::now()),
          trace_(begin_),
          is_terminal_(::isatty(STDOUT_FILENO) == 1),
          status_path_(beside(command.words.front(), command.shard, "status")) {}
    BatchRun(const BatchRun&) = delete;
    BatchRun& operator=(const BatchRun&) = delete;
    BatchRun(BatchRun&&) = delete;
    BatchRun& operator=(BatchRun&&) = delete;
    ~BatchRun() { (void)::unlink(status_path_.c_str()); }

    /// Gives the exit status. Errors: what kept a result from being written.
    Result<int> run(std::vector<TaskLine> tasks);
    void interrupt(int signal) {
        signalled_ = signal;
        stop();
    }

private:
    void submit_more();
    void on_end(std::size_t index, const ExecutionResult& result);
    Result<void> keep(const TaskLine& task, const ExecutionResult& result);
    /// Starts nothing more, and ends what runs.
    void stop();
    void give_up(Error error) {
        error_ = std::move(error);
        stop();
    }
    void draw();
    void report_each_second();
    Result<void> report();
    Result<void> finish();

    const Command& command_;
    EventLoop& loop_;
    Pool& pool_;
    const Journal& journal_;
    TimePoint begin_;
    Trace trace_;
    bool is_terminal_;
    std::string status_path_;

    std::vector<TaskLine> tasks_;
    std::size_t next_ = 0;
    std::map<std::size_t, TaskHandle> running_;
    Progress progress_;
    std::vector<std::string> failures_;
    int signalled_ = 0;
    bool stopping_ = false;
    std::optional<Error> error_;
    EventLoop::Timer drawing_;
    EventLoop::Timer reporting_;
};

Result<int> BatchRun::run(std::vector<TaskLine> tasks) {
    progress_.tasks = tasks.size();
    std::set<std::uint32_t> ended;
    for (const EndedTask& each : journal_.ended()) {
        ++progress_.ended[std::to_underlying(each.status)];
        ended.insert(each.line);
    }
    progress_.before = progress_.done();
    std::erase_if(tasks, [&](const TaskLine& task) { return ended.contains(task.line); });
    tasks_ = std::move(tasks);
    // The pool sees a part of them at a time, which must be the part that goes first.
    std::ranges::sort(tasks_, {}, [](const TaskLine& task) {
        return std::pair(task.options.priority, task.line);
    });
    report_each_second();
    draw();
    submit_more();
    if (!tasks_.empty()) {
        TRY(loop_.run());
    }
    drawing_.cancel();
    reporting_.cancel();
    TRY(finish());
    if (error_) {
        return *std::move(error_);
    }
    if (signalled_ != 0) {
        return kSignalled + signalled_;
    }
    return progress_.ended[std::to_underlying(TaskStatus::Succeeded)] == progress_.tasks ? 0 : 1;
}

void BatchRun::submit_more() {
    while (!stopping_ && next_ < tasks_.size() && running_.size() < kInFlightMax) {
        const std::size_t index = next_++;
        TaskLine& task = tasks_[index];
        Result<TaskHandle> handle = pool_.submit(make_task(
            task.command, task.options, ProcessWork::Streams::Captured, std::move(task.input)));
        if (!handle) {
            give_up(std::move(handle).error().within("line " + std::to_string(task.line)));
            break;
        }
        running_.emplace(index, *handle);
        handle->on_end([this, index](const ExecutionResult& result) {
            loop_.post([this, index, result] { on_end(index, result); });
        });
    }
    if (running_.empty()) {
        loop_.stop();
    }
}

void BatchRun::on_end(std::size_t index, const ExecutionResult& result) {
    running_.erase(index);
    TaskLine& task = tasks_[index];
    if (result.status != TaskStatus::Cancelled && !error_) {
        trace_.add(task, result);
        progress_.add(result);
        if (Result<void> kept = keep(task, result); !kept) {
            give_up(std::move(kept).error());
        }
    }
    task = {};
    submit_more();
}

Result<void> BatchRun::keep(const TaskLine& task, const ExecutionResult& result) {
    const std::string line = result_line(task, result);
    TRY(journal_.append(line));
    if (!is_terminal_) {
        TRY(write_all(FdRef(STDOUT_FILENO), line, "standard output"));
    }
    if (result.status != TaskStatus::Succeeded && failures_.size() < kNamedFailuresMax) {
        failures_.push_back("line " + std::to_string(task.line) +
                            (task.name.empty() ? "" : " '" + printable(task.name) + "'") + ": " +
                            printable(result.reason));
    }
    return {};
}

void BatchRun::stop() {
    if (std::exchange(stopping_, true)) {
        return;
    }
    for (const auto& [index, handle] : running_) {
        handle.cancel();
    }
}

void BatchRun::draw() {
    if (!is_terminal_) {
        return;
    }
    progress_.elapsed =
        std::chrono::duration_cast<std::chrono::milliseconds>(TimePoint::clock::now() - begin_);
    const std::string line = "\r\x1b[K" + bar(progress_, terminal_width());
    if (Result<void> drawn = write_all(FdRef(STDOUT_FILENO), line, "standard output"); !drawn) {
        return give_up(std::move(drawn).error());
    }
    drawing_ = loop_.after(kBarInterval, [this] { draw(); });
}

void BatchRun::report_each_second() {
    if (Result<void> reported = report(); !reported) {
        return give_up(std::move(reported).error());
    }
    reporting_ = loop_.after(kReportInterval, [this] { report_each_second(); });
}

Result<void> BatchRun::report() {
    progress_.elapsed =
        std::chrono::duration_cast<std::chrono::milliseconds>(TimePoint::clock::now() - begin_);
    progress_.pool = pool_.counts();
    TRY(replace_file(FdRef(AT_FDCWD), status_path_, to_json(progress_), kReadable));
    if (!command_.metrics.empty()) {
        TRY(replace_file(FdRef(AT_FDCWD), command_.metrics, prometheus_text(progress_), kReadable));
    }
    return {};
}

Result<void> BatchRun::finish() {
    TRY(report());
    if (!command_.trace.empty()) {
        TRY(replace_file(FdRef(AT_FDCWD), command_.trace, trace_.json(), kReadable));
    }
    std::string text = is_terminal_ ? "\r\x1b[K" : "";
    for (const std::string& failure : failures_) {
        text += failure + "\n";
    }
    text += summary(progress_);
    if (signalled_ != 0) {
        text += "interrupted; the same command goes on from here\n";
    }
    return write_all(FdRef(is_terminal_ ? STDOUT_FILENO : STDERR_FILENO), text, "the table");
}

}  // namespace

Result<int> batch(const Command& command) {
    const std::string& path = command.words.front();
    TaskFile file;
    {
        const Fd opened = TRY(open_file(path.c_str(), O_RDONLY));
        file = TRY(
            parse_task_file(TRY(read_all(opened.ref(), TaskFile::kSizeMax, path)), command.task));
    }
    std::vector<TaskLine> tasks = tasks_of(std::move(file.tasks), command.shard);
    const Journal journal = TRY(
        Journal::open(beside(path, command.shard, "journal"),
                      {.fingerprint = file.fingerprint, .shard = command.shard},
                      command.fresh ? Journal::Existing::Discard : Journal::Existing::Continue));
    const auto loop = TRY(EventLoop::create());
    BatchRun* running = nullptr;
    const auto interrupts = TRY(Interrupts::create(*loop, [&running](int signal) {
        if (running != nullptr) {
            running->interrupt(signal);
        }
    }));
    Pool::Options options{.scheduler = {.workers = command.workers},
                          .tasks_max = kInFlightMax + 1,  // one may be calling on_end()
                          .processes_max = command.workers};
    // Each task has a limit of its own, which the user chose.
    options.retry_budget.per_second = kInFlightMax * RetryPolicy::kAttemptsMax;
    const auto pool = TRY(Pool::create(options));
    BatchRun run(command, *loop, *pool, journal);
    running = &run;
    return run.run(std::move(tasks));
}

}  // namespace pepita::compute::cli
