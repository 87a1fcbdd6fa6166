// Processes a second: through the pool, with and without a timeout, and by posix_spawn and waitpid
// alone, in one run.

#include <spawn.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "compute/pool.h"

namespace {

using namespace pepita::compute;

constexpr int kRounds = 5;
constexpr int kProcesses = 300;

double now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <typename Body>
double rate_of(Body&& body) {
    const double start = now();
    body();
    return kProcesses / (now() - start);
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

void run_pool(Pool& pool, std::optional<Duration> timeout) {
    std::vector<Task> tasks;
    for (int i = 0; i < kProcesses; ++i) {
        tasks.push_back({.work = ProcessWork{.binary = "/bin/true"}, .timeout = timeout});
    }
    (void)pool.submit_batch(std::move(tasks));
    pool.drain();
}

void run_posix_spawn() {
    char name[] = "/bin/true";
    char* const arguments[] = {name, nullptr};
    char* const environment[] = {nullptr};
    for (int i = 0; i < kProcesses; ++i) {
        pid_t pid = 0;
        ::posix_spawn(&pid, name, nullptr, nullptr, arguments, environment);
        ::waitpid(pid, nullptr, 0);
    }
}

}  // namespace

int main() {
    const auto pool = *Pool::create({});
    std::vector<double> plain;
    std::vector<double> timed;
    std::vector<double> alone;
    for (int round = 0; round < kRounds; ++round) {
        alone.push_back(rate_of(run_posix_spawn));
        plain.push_back(rate_of([&] { run_pool(*pool, std::nullopt); }));
        timed.push_back(rate_of([&] { run_pool(*pool, std::chrono::minutes(1)); }));
    }
    std::printf("posix_spawn and waitpid, one at a time  %8.0f a second\n", median(alone));
    std::printf("pool                                    %8.0f a second  ratio %.2f\n",
                median(plain), median(plain) / median(alone));
    std::printf("pool, with a timeout                    %8.0f a second  ratio %.2f to without\n",
                median(timed), median(timed) / median(plain));
    return 0;
}
