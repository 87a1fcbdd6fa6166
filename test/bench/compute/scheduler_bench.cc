// Spawn and join, an uneven tree, and empty tasks from outside: this scheduler and oneTBB in turn,
// in one run. Processor time, because the machine is shared; medians of the rounds, and the ratio
// beside them.

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <vector>

#include "compute/scheduler.h"

#if PEPITA_HAVE_TBB
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>
#endif

namespace {

using pepita::compute::Scheduler;
using pepita::compute::Worker;

double now(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

struct Sample {
    double wall;
    double cpu;
};

template <typename Body>
Sample measure(double count, Body&& body) {
    const double wall = now(CLOCK_MONOTONIC);
    const double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    body();
    return {.wall = (now(CLOCK_MONOTONIC) - wall) / count,
            .cpu = (now(CLOCK_PROCESS_CPUTIME_ID) - cpu) / count};
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

struct Series {
    std::vector<double> wall;
    std::vector<double> cpu;
    void add(Sample sample) {
        wall.push_back(sample.wall);
        cpu.push_back(sample.cpu);
    }
};

void report(const char* what, const Series& ours, const Series& anchor, const char* anchor_name) {
    std::printf("%-34s %8.1f ns wall %8.1f ns cpu", what, median(ours.wall), median(ours.cpu));
    if (!anchor.wall.empty()) {
        std::printf("  %s %8.1f wall %8.1f cpu  ratio %.3f wall %.3f cpu", anchor_name,
                    median(anchor.wall), median(anchor.cpu),
                    median(ours.wall) / median(anchor.wall), median(ours.cpu) / median(anchor.cpu));
    }
    std::printf("\n");
}

constexpr int kFib = 34;
constexpr double kFibSpawns = 9'227'464;  // fib(35) - 1
constexpr int kRounds = 5;

[[gnu::noinline]] long fib(Worker& worker, int n) {
    if (n < 2) {
        return n;
    }
    long a = 0;
    long b = 0;
    worker.join([&](Worker& self) { a = fib(self, n - 1); },
                [&](Worker& self) { b = fib(self, n - 2); });
    return a + b;
}

/// Source: the uneven tree of UTS (Olivier et al. 2006), binomial: m = 8, q = .1248, root 2000.
struct Node {
    std::uint64_t state;
};
constexpr std::size_t kRootChildren = 2000;

std::uint64_t mix(std::uint64_t state) {
    for (int i = 0; i < 16; ++i) {
        state += 0x9e3779b97f4a7c15;
        state = (state ^ (state >> 30U)) * 0xbf58476d1ce4e5b9;
        state = (state ^ (state >> 27U)) * 0x94d049bb133111eb;
        state ^= state >> 31U;
    }
    return state;
}
Node child(Node parent, std::size_t index) { return {mix(parent.state + index + 1)}; }
std::size_t children_of(Node node) {
    return static_cast<double>(node.state >> 11U) * 0x1p-53 < 0.1248 ? 8 : 0;
}

std::uint64_t uts_serial(Node node, std::size_t children) {
    std::uint64_t nodes = 1;
    for (std::size_t i = 0; i < children; ++i) {
        const Node next = child(node, i);
        nodes += uts_serial(next, children_of(next));
    }
    return nodes;
}

std::uint64_t uts(Worker& worker, Node node, std::size_t children);
std::uint64_t uts_range(Worker& worker, Node node, std::size_t first, std::size_t last) {
    if (last - first == 1) {
        const Node next = child(node, first);
        const std::size_t more = children_of(next);
        return more == 0 ? 1 : uts(worker, next, more);
    }
    const std::size_t middle = first + (last - first) / 2;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    worker.join([&](Worker& self) { a = uts_range(self, node, first, middle); },
                [&](Worker& self) { b = uts_range(self, node, middle, last); });
    return a + b;
}
std::uint64_t uts(Worker& worker, Node node, std::size_t children) {
    return 1 + uts_range(worker, node, 0, children);
}

#if PEPITA_HAVE_TBB
[[gnu::noinline]] long fib_tbb(int n) {
    if (n < 2) {
        return n;
    }
    long a = 0;
    long b = 0;
    oneapi::tbb::task_group group;
    group.run([&] { b = fib_tbb(n - 2); });
    a = fib_tbb(n - 1);
    group.wait();
    return a + b;
}

std::uint64_t uts_tbb(Node node, std::size_t children);
std::uint64_t uts_tbb_range(Node node, std::size_t first, std::size_t last) {
    if (last - first == 1) {
        const Node next = child(node, first);
        const std::size_t more = children_of(next);
        return more == 0 ? 1 : uts_tbb(next, more);
    }
    const std::size_t middle = first + (last - first) / 2;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    oneapi::tbb::task_group group;
    group.run([&] { b = uts_tbb_range(node, middle, last); });
    a = uts_tbb_range(node, first, middle);
    group.wait();
    return a + b;
}
std::uint64_t uts_tbb(Node node, std::size_t children) {
    return 1 + uts_tbb_range(node, 0, children);
}
#endif

void compare_forks(std::uint32_t workers) {
    const auto scheduler = *Scheduler::create({.workers = workers});
    Series ours;
    Series tbb;
    Series tree;
    Series tree_tbb;
    Series tree_serial;
    long expected = 0;
    std::uint64_t nodes = 0;
#if PEPITA_HAVE_TBB
    const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism,
                                            workers);
    oneapi::tbb::task_arena arena(static_cast<int>(workers));
#endif
    const Node root{42};
    for (int round = 0; round < kRounds; ++round) {
        ours.add(measure(kFibSpawns, [&] {
            expected = scheduler->run([](Worker& worker) { return fib(worker, kFib); });
        }));
        tree_serial.add(measure(1, [&] { nodes = uts_serial(root, kRootChildren); }));
        tree.add(measure(1, [&] {
            const auto got =
                scheduler->run([&](Worker& worker) { return uts(worker, root, kRootChildren); });
            std::printf("%s", got == nodes ? "" : "uts: WRONG\n");
        }));
#if PEPITA_HAVE_TBB
        tbb.add(measure(kFibSpawns, [&] {
            arena.execute(
                [&] { std::printf("%s", fib_tbb(kFib) == expected ? "" : "fib: WRONG\n"); });
        }));
        tree_tbb.add(measure(1, [&] {
            arena.execute([&] {
                std::printf("%s", uts_tbb(root, kRootChildren) == nodes ? "" : "uts: WRONG\n");
            });
        }));
#endif
    }
    for (Series* series : {&tree, &tree_tbb, &tree_serial}) {
        for (auto* values : {&series->wall, &series->cpu}) {
            for (double& value : *values) {
                value /= static_cast<double>(nodes);
            }
        }
    }
    const std::string suffix = ", " + std::to_string(workers) + " workers";
    report(("spawn and join" + suffix).c_str(), ours, tbb, "oneTBB");
    report(("uneven tree, a node" + suffix).c_str(), tree, tree_tbb, "oneTBB");
    report("  against serial", tree, tree_serial, "serial");
}

constexpr int kTasks = 500'000;

void compare_injection(std::uint32_t workers) {
    const auto scheduler = *Scheduler::create({.workers = workers});
    Series ours;
    Series tbb;
#if PEPITA_HAVE_TBB
    const oneapi::tbb::global_control limit(oneapi::tbb::global_control::max_allowed_parallelism,
                                            workers + 1);
    oneapi::tbb::task_arena arena(static_cast<int>(workers), 0);
#endif
    const auto run_all = [](auto&& submit) {
        std::atomic<int> left = kTasks;
        for (int i = 0; i < kTasks; ++i) {
            submit([&left] {
                if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                    left.notify_one();
                }
            });
        }
        for (int seen = left.load(); seen != 0; seen = left.load()) {
            left.wait(seen);
        }
    };
    for (int round = 0; round < kRounds; ++round) {
        ours.add(measure(kTasks, [&] {
            run_all([&](auto task) { scheduler->submit([task](Worker&) { task(); }); });
        }));
#if PEPITA_HAVE_TBB
        tbb.add(measure(kTasks, [&] { run_all([&](auto task) { arena.enqueue(task); }); }));
#endif
    }
    report(("empty task from outside, " + std::to_string(workers) + " workers").c_str(), ours, tbb,
           "oneTBB");
}

}  // namespace

int main() {
#if !PEPITA_HAVE_TBB
    std::printf("oneTBB is not installed (libtbb-dev): no anchor\n");
#endif
    for (const std::uint32_t workers : {1U, 2U}) {
        compare_forks(workers);
        compare_injection(workers);
    }
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    std::printf("peak resident set, anchors included: %ld KiB\n", usage.ru_maxrss);
    return 0;
}
