#pragma once

#include <mutex>

namespace pepita {

/// A mutex for sections that are over sooner than a thread is put to sleep and woken: who finds
/// it taken looks again for a while first. Sleep and wake cost tens of microseconds where
/// processors are virtual.
///
/// Thread: any. For std::scoped_lock and its like.
class AdaptiveMutex {
public:
    void lock() {
        for (int i = 0; i < kLooks; ++i) {
            if (mutex_.try_lock()) {
                return;
            }
            __builtin_ia32_pause();
        }
        mutex_.lock();
    }
    bool try_lock() { return mutex_.try_lock(); }
    void unlock() { mutex_.unlock(); }

private:
    static constexpr int kLooks = 200;
    std::mutex mutex_;
};

}  // namespace pepita
