#include "compute/cli/progress.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>

#include "compute/cli/task_result.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::compute::cli {
namespace {

using runtime::oci::Object;
using runtime::oci::OrderedJson;

constexpr std::array<std::string_view, kPriorities> kPriorityNames{"high", "normal", "low", "idle"};
constexpr std::uint64_t kNumberMax = UINT64_MAX;

std::uint64_t ended_as(const Progress& progress, TaskStatus status) {
    return progress.ended[std::to_underlying(status)];
}

/// Tenths of tasks a second, in this run.
std::uint64_t rate_tenths(const Progress& progress) {
    const auto elapsed = static_cast<std::uint64_t>(progress.elapsed.count());
    return elapsed == 0 ? 0 : (progress.done() - progress.before) * 10'000 / elapsed;
}

std::string tenths(std::uint64_t value) {
    return std::to_string(value / 10) + "." + std::to_string(value % 10);
}

std::string seconds(std::chrono::milliseconds time) {
    return tenths(static_cast<std::uint64_t>(time.count()) / 100) + " s";
}

/// Text in a field of `width`, at its left or right.
std::string left(std::string text, std::size_t width) {
    text.resize(std::max(width, text.size()), ' ');
    return text;
}
std::string right(const std::string& text, std::size_t width) {
    return std::string(width - std::min(width, text.size()), ' ') + text;
}

/// A counter or gauge of Prometheus' text format, with its first line about it.
void describe(std::string& text, std::string_view name, std::string_view type,
              std::string_view help) {
    text.append("# HELP ").append(name).append(" ").append(help).append("\n");
    text.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

void sample(std::string& text, std::string_view name, std::string_view labels,
            const std::string& value) {
    text.append(name).append(labels).append(" ").append(value).append("\n");
}

void single(std::string& text, std::string_view name, std::string_view type, std::string_view help,
            std::uint64_t value) {
    describe(text, name, type, help);
    sample(text, name, "", std::to_string(value));
}

std::string decimal(double value) {
    std::string text = std::to_string(value);
    text.resize(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) {
        text.pop_back();
    }
    return text;
}

void durations(std::string& text, const Progress& progress) {
    constexpr std::string_view name = "pepita_task_run_seconds";
    const std::uint64_t count = progress.done() - progress.before;
    describe(text, name, "histogram", "Time from the start of a task's last attempt to its end.");
    for (std::size_t i = 0; i < progress.within.size(); ++i) {
        sample(text, "pepita_task_run_seconds_bucket",
               "{le=\"" + decimal(Progress::kBounds[i]) + "\"}",
               std::to_string(progress.within[i]));
    }
    sample(text, "pepita_task_run_seconds_bucket", "{le=\"+Inf\"}", std::to_string(count));
    sample(text, "pepita_task_run_seconds_sum", "", decimal(progress.seconds));
    sample(text, "pepita_task_run_seconds_count", "", std::to_string(count));
}

Result<std::uint64_t> number(const Object& object, std::string_view name) {
    return TRY(object.require(name)).natural(kNumberMax);
}

/// An array of numbers of as many elements as `into` has.
template <std::size_t Size>
Result<void> numbers(const Object& object, std::string_view name,
                     std::array<std::uint64_t, Size>& into) {
    const auto node = TRY(object.require(name));
    const auto elements = TRY(node.elements());
    if (elements.size() != Size) {
        return node.invalid("must have " + std::to_string(Size) + " elements");
    }
    for (std::size_t i = 0; i < Size; ++i) {
        into[i] = TRY(elements[i].natural(kNumberMax));
    }
    return {};
}

}  // namespace

std::uint64_t Progress::done() const {
    return std::accumulate(ended.begin(), ended.end(), std::uint64_t{0});
}

void Progress::add(const ExecutionResult& result) {
    ++ended[std::to_underlying(result.status)];
    const std::chrono::duration<double> took =
        result.started == TimePoint{} ? Duration{} : result.ended - result.started;
    seconds += took.count();
    for (std::size_t i = 0; i < kBounds.size(); ++i) {
        within[i] += took.count() <= kBounds[i] ? 1U : 0U;
    }
}

std::string bar(const Progress& progress, std::size_t width) {
    constexpr std::size_t cells_max = 40;
    const std::uint64_t done = progress.done();
    const std::uint64_t bad = done - ended_as(progress, TaskStatus::Succeeded);
    const std::uint64_t rate = rate_tenths(progress);
    std::string words = std::to_string(done) + "/" + std::to_string(progress.tasks);
    words += bad == 0 ? "" : "  " + std::to_string(bad) + " failed";
    words += "  " + tenths(rate) + "/s";
    if (rate != 0 && done != progress.tasks) {
        words += "  " + std::to_string((progress.tasks - done) * 10 / rate) + " s left";
    }
    if (words.size() + 8 < width) {
        const std::size_t cells = std::min(cells_max, width - words.size() - 5);
        const std::size_t full = progress.tasks == 0 ? cells : done * cells / progress.tasks;
        words.insert(0, "[" + left(std::string(full, '='), cells) + "]  ");
    }
    return words.substr(0, width);
}

std::string summary(const Progress& progress) {
    std::string text = left("STATUS", 12) + right("TASKS", 8) + "\n";
    for (std::size_t i = 0; i < kTaskStatuses; ++i) {
        const auto status = static_cast<TaskStatus>(i);
        if (progress.ended[i] != 0) {
            text += left(std::string(to_string(status)), 12) +
                    right(std::to_string(progress.ended[i]), 8) + "\n";
        }
    }
    if (const std::uint64_t rest = progress.tasks - progress.done(); rest != 0) {
        text += left("not run", 12) + right(std::to_string(rest), 8) + "\n";
    }
    text += std::to_string(progress.done() - progress.before) + " tasks in " +
            seconds(progress.elapsed) + ", " + std::to_string(progress.pool.retries) +
            " retries, " + tenths(rate_tenths(progress)) + " tasks/s";
    if (progress.before != 0) {
        text += "; " + std::to_string(progress.before) + " had ended in an earlier run";
    }
    return text + "\n";
}

std::string to_json(const Progress& progress) {
    OrderedJson workers = OrderedJson::array();
    for (const WorkerCounts& worker : progress.pool.workers) {
        workers.push_back(
            {{"stolen", worker.stolen}, {"injected", worker.injected}, {"rests", worker.rests}});
    }
    OrderedJson json;
    json["tasks"] = progress.tasks;
    json["before"] = progress.before;
    json["ended"] = progress.ended;
    json["elapsed_ms"] = static_cast<std::uint64_t>(progress.elapsed.count());
    json["parked"] = progress.pool.parked;
    json["queued"] = progress.pool.queued;
    json["processes"] = progress.pool.processes;
    json["attempts"] = progress.pool.attempts;
    json["retries"] = progress.pool.retries;
    json["pool_ended"] = progress.pool.ended;
    json["workers"] = std::move(workers);
    json["within"] = progress.within;
    json["run_us"] = static_cast<std::uint64_t>(progress.seconds * 1e6);
    return runtime::oci::dump(json) + "\n";
}

Result<Progress> parse_progress(std::string_view text) {
    constexpr std::uint64_t elapsed_max = INT64_MAX;
    const auto document = TRY(runtime::oci::parse_json(text));
    const auto object = TRY(runtime::oci::Node(document, "").object());
    Progress progress;
    progress.tasks = TRY(number(object, "tasks"));
    progress.before = TRY(number(object, "before"));
    TRY(numbers(object, "ended", progress.ended));
    progress.elapsed = std::chrono::milliseconds(
        static_cast<std::int64_t>(TRY(TRY(object.require("elapsed_ms")).natural(elapsed_max))));
    progress.pool.parked =
        static_cast<std::uint32_t>(TRY(TRY(object.require("parked")).natural(UINT32_MAX)));
    TRY(numbers(object, "queued", progress.pool.queued));
    progress.pool.processes = TRY(number(object, "processes"));
    progress.pool.attempts = TRY(number(object, "attempts"));
    progress.pool.retries = TRY(number(object, "retries"));
    TRY(numbers(object, "pool_ended", progress.pool.ended));
    for (const auto& element : TRY(TRY(object.require("workers")).elements())) {
        const auto worker = TRY(element.object());
        progress.pool.workers.push_back({.stolen = TRY(number(worker, "stolen")),
                                         .injected = TRY(number(worker, "injected")),
                                         .rests = TRY(number(worker, "rests"))});
    }
    TRY(numbers(object, "within", progress.within));
    progress.seconds = static_cast<double>(TRY(number(object, "run_us"))) / 1e6;
    return progress;
}

std::string top_view(const Progress& progress) {
    constexpr std::size_t width = 100;
    const PoolCounts& pool = progress.pool;
    std::string text = bar(progress, width) + "\n";
    text += "running " + std::to_string(pool.processes) + "  retries " +
            std::to_string(pool.retries) + "  attempts " + std::to_string(pool.attempts) +
            "  since " + seconds(progress.elapsed) + "\n\nQUEUE   WAITING\n";
    for (std::size_t i = 0; i < kPriorities; ++i) {
        text += left(std::string(kPriorityNames[i]), 8) + right(std::to_string(pool.queued[i]), 7) +
                "\n";
    }
    text += "\n" + std::to_string(pool.workers.size()) + " workers for functions, " +
            std::to_string(pool.parked) + " parked\nWORKER    STARTED   STOLEN   PARKED\n";
    for (std::size_t i = 0; i < pool.workers.size(); ++i) {
        const WorkerCounts& worker = pool.workers[i];
        text += left(std::to_string(i), 8) + right(std::to_string(worker.injected), 9) +
                right(std::to_string(worker.stolen), 9) + right(std::to_string(worker.rests), 9) +
                "\n";
    }
    return text;
}

std::string prometheus_text(const Progress& progress) {
    const PoolCounts& pool = progress.pool;
    std::string text;
    single(text, "pepita_task_total", "gauge", "Tasks of this batch.", progress.tasks);
    describe(text, "pepita_task_ended_total", "counter",
             "Tasks that ended, in earlier runs of the batch too.");
    for (std::size_t i = 0; i < kTaskStatuses; ++i) {
        sample(text, "pepita_task_ended_total",
               "{status=\"" + std::string(to_string(static_cast<TaskStatus>(i))) + "\"}",
               std::to_string(progress.ended[i]));
    }
    single(text, "pepita_task_attempts_total", "counter", "Attempts that began.", pool.attempts);
    single(text, "pepita_task_retries_total", "counter", "Attempts that were not the first.",
           pool.retries);
    single(text, "pepita_task_processes", "gauge", "Processes that run.", pool.processes);
    describe(text, "pepita_task_queued", "gauge", "Tasks that wait for their start.");
    for (std::size_t i = 0; i < kPriorities; ++i) {
        sample(text, "pepita_task_queued", "{priority=\"" + std::string(kPriorityNames[i]) + "\"}",
               std::to_string(pool.queued[i]));
    }
    single(text, "pepita_task_workers", "gauge", "Threads that run functions.",
           pool.workers.size());
    single(text, "pepita_task_workers_parked", "gauge", "Of those, the ones that sleep.",
           pool.parked);
    describe(text, "pepita_task_stolen_total", "counter", "Jobs that a worker took from others.");
    for (std::size_t i = 0; i < pool.workers.size(); ++i) {
        sample(text, "pepita_task_stolen_total", "{worker=\"" + std::to_string(i) + "\"}",
               std::to_string(pool.workers[i].stolen));
    }
    durations(text, progress);
    return text;
}

}  // namespace pepita::compute::cli
