#pragma once

#include <shared_mutex>

#include "kernel-abi/sys/thread_annotations.h"

namespace pepita {

/// A mutex that many readers or one writer hold.
/// Thread: any. By SharedLock and ExclusiveLock.
class PEPITA_LOCKABLE SharedMutex {
public:
    void lock() PEPITA_ACQUIRE() { mutex_.lock(); }
    void unlock() PEPITA_RELEASE() { mutex_.unlock(); }
    void lock_shared() PEPITA_ACQUIRE_SHARED() { mutex_.lock_shared(); }
    void unlock_shared() PEPITA_RELEASE() { mutex_.unlock_shared(); }

private:
    std::shared_mutex mutex_;
};

class PEPITA_SCOPED_LOCK SharedLock {
public:
    explicit SharedLock(SharedMutex& mutex) PEPITA_ACQUIRE_SHARED(mutex) : mutex_(mutex) {
        mutex_.lock_shared();
    }
    SharedLock(const SharedLock&) = delete;
    SharedLock& operator=(const SharedLock&) = delete;
    SharedLock(SharedLock&&) = delete;
    SharedLock& operator=(SharedLock&&) = delete;
    ~SharedLock() PEPITA_RELEASE() { mutex_.unlock_shared(); }

private:
    SharedMutex& mutex_;
};

class PEPITA_SCOPED_LOCK ExclusiveLock {
public:
    explicit ExclusiveLock(SharedMutex& mutex) PEPITA_ACQUIRE(mutex) : mutex_(mutex) {
        mutex_.lock();
    }
    ExclusiveLock(const ExclusiveLock&) = delete;
    ExclusiveLock& operator=(const ExclusiveLock&) = delete;
    ExclusiveLock(ExclusiveLock&&) = delete;
    ExclusiveLock& operator=(ExclusiveLock&&) = delete;
    ~ExclusiveLock() PEPITA_RELEASE() { mutex_.unlock(); }

private:
    SharedMutex& mutex_;
};

}  // namespace pepita
