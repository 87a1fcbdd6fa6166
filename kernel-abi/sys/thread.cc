#include "kernel-abi/sys/thread.h"

#include <linux/prctl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

// Not a real-time signal: those queue up, and each one of a burst would interrupt another call.
constexpr int kInterruptSignal = SIGUSR1;

/// Without a handler the signal would end the process; without SA_RESTART the call ends instead.
void install_interrupt_handler() {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    CHECK(::sigaction(kInterruptSignal, &action, nullptr) == 0);
}

}  // namespace

struct Thread::State {
    std::string name;
    Body body;
    pthread_t thread{};
    pid_t process = ::getpid();
    std::atomic<pid_t> id = 0;  // until the thread runs
};

void Thread::Deleter::operator()(State* state) const { std::default_delete<State>()(state); }

Result<Thread> Thread::start(std::string name, Body body) {
    install_interrupt_handler();
    std::unique_ptr<State, Deleter> state(std::make_unique<State>().release());
    state->name = std::move(name);
    state->body = std::move(body);
    const int failed = ::pthread_create(
        &state->thread, nullptr,
        [](void* argument) -> void* {
            auto* self = static_cast<State*>(argument);
            (void)::prctl(PR_SET_NAME, self->name.c_str());
            self->id.store(::gettid(), std::memory_order_release);  // pairs with interrupt()
            self->id.notify_one();
            self->body();
            return nullptr;
        },
        state.get());
    if (failed != 0) {
        return Error::from_errno(failed, "start thread '" + state->name + "'");
    }
    return Thread(std::move(state));
}

void Thread::join() {
    if (state_ == nullptr) {
        return;
    }
    CHECK(::pthread_join(state_->thread, nullptr) == 0);
    state_.reset();
}

bool Thread::join_within(std::chrono::milliseconds time) {
    if (state_ == nullptr) {
        return true;
    }
    timespec until{};
    CHECK(::clock_gettime(CLOCK_REALTIME, &until) == 0);
    const auto nanoseconds = std::chrono::nanoseconds(until.tv_nsec) + time;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(nanoseconds);
    until.tv_sec += seconds.count();
    until.tv_nsec = (nanoseconds - seconds).count();
    const int failed = ::pthread_timedjoin_np(state_->thread, nullptr, &until);
    if (failed != 0) {
        CHECK(failed == ETIMEDOUT);
        return false;
    }
    state_.reset();
    return true;
}

void Thread::interrupt() const {
    CHECK(state_ != nullptr);
    state_->id.wait(0, std::memory_order_acquire);
    // One system call, where pthread_kill(3) makes four, which a filter would have to allow. ESRCH
    // where the thread has ended: nothing is left to interrupt. Another thread of ours that got its
    // number would be interrupted for nothing.
    (void)::syscall(SYS_tgkill, state_->process, state_->id.load(std::memory_order_acquire),
                    kInterruptSignal);
}

}  // namespace pepita
