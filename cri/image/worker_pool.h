#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"

namespace pepita::cri {

/// Threads for work that blocks. Each starts when it is needed first.
/// Thread: of its owner; the work runs on the pool's.
class WorkerPool {
public:
    /// Exactly one of both is called, once.
    struct Work {
        std::move_only_function<void()> run;
        std::move_only_function<void()> drop;  // the pool ends first
    };
    struct Options {
        std::string name;         // of the threads
        std::size_t threads_max;  // at least 1
        std::size_t queue_max;    // work that waits for a thread
    };

    explicit WorkerPool(Options options) : options_(std::move(options)) {}
    WorkerPool(const WorkerPool&) = delete;
    WorkerPool& operator=(const WorkerPool&) = delete;
    WorkerPool(WorkerPool&&) = delete;
    WorkerPool& operator=(WorkerPool&&) = delete;
    /// Drops the work that waits for a thread; waits for the rest.
    ~WorkerPool() { stop(); }

    /// Errors: ResourceExhausted where too much waits or no thread starts. Then `work` is as it
    /// was.
    Result<void> add(Work& work);
    /// As the destructor; nothing can be added after.
    void stop();

private:
    void serve();

    const Options options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Work> queue_;
    std::size_t idle_ = 0;
    bool is_stopping_ = false;
    std::vector<Thread> threads_;  // the owner's
};

}  // namespace pepita::cri
