#include "cri/image/worker_pool.h"

#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"

namespace pepita::cri {

Result<void> WorkerPool::add(Work& work) {
    std::unique_lock lock(mutex_);
    if (is_stopping_ || queue_.size() >= options_.queue_max) {
        return Error(Code::ResourceExhausted,
                     options_.name + ": " + std::to_string(queue_.size()) + " calls wait already");
    }
    // A thread counts as idle until it takes its work, so work that waits may have spoken for it.
    if (idle_ <= queue_.size() && threads_.size() < options_.threads_max) {
        Result<Thread> thread = Thread::start(options_.name, [this] { serve(); });
        if (thread) {
            threads_.push_back(*std::move(thread));
        } else if (threads_.empty()) {
            return std::move(thread).error();
        }
    }
    queue_.push_back(std::move(work));
    lock.unlock();
    changed_.notify_one();
    return {};
}

void WorkerPool::serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
        ++idle_;
        changed_.wait(lock, [&] { return is_stopping_ || !queue_.empty(); });
        --idle_;
        if (is_stopping_) {
            return;
        }
        Work work = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        work.run();
        work = {};  // what it holds goes before the lock is taken again
        lock.lock();
    }
}

void WorkerPool::stop() {
    std::deque<Work> dropped;
    {
        const std::scoped_lock lock(mutex_);
        is_stopping_ = true;
        dropped.swap(queue_);
    }
    changed_.notify_all();
    for (Work& work : dropped) {
        work.drop();
    }
    threads_.clear();
}

}  // namespace pepita::cri
