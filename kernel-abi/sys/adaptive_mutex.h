#pragma once

#include <mutex>

#include "kernel-abi/sys/thread_annotations.h"

namespace pepita {

/// A mutex for sections that end sooner than a thread is put to sleep and woken: a thread that
/// finds it locked retries for a while first. Sleep and wake cost tens of microseconds where
/// processors are virtual.
///
/// Thread: any. By AdaptiveLock, or std::scoped_lock and its like.
class PEPITA_LOCKABLE AdaptiveMutex {
public:
    void lock() PEPITA_ACQUIRE() {
        for (int i = 0; i < kLooks; ++i) {
            if (mutex_.try_lock()) {
                return;
            }
            __builtin_ia32_pause();
        }
        mutex_.lock();
    }
    bool try_lock() PEPITA_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
    void unlock() PEPITA_RELEASE() { mutex_.unlock(); }

private:
    static constexpr int kLooks = 200;
    std::mutex mutex_;
};

/// Holds an AdaptiveMutex for its scope, as the analysis of thread_annotations.h can follow.
class PEPITA_SCOPED_LOCK AdaptiveLock {
public:
    explicit AdaptiveLock(AdaptiveMutex& mutex) PEPITA_ACQUIRE(mutex) : mutex_(mutex) {
        mutex_.lock();
    }
    AdaptiveLock(const AdaptiveLock&) = delete;
    AdaptiveLock& operator=(const AdaptiveLock&) = delete;
    AdaptiveLock(AdaptiveLock&&) = delete;
    AdaptiveLock& operator=(AdaptiveLock&&) = delete;
    ~AdaptiveLock() PEPITA_RELEASE() { mutex_.unlock(); }

private:
    AdaptiveMutex& mutex_;
};

}  // namespace pepita
