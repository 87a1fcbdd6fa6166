// The deque, the queue and the sleepers in every order that x86 allows, and mutants of them that
// must fail.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>

#include "compute/scheduler/inject_queue.h"
#include "compute/scheduler/sleepers.h"
#include "compute/scheduler/split_deque.h"
#include "mutants.h"
#include "test/support/interleavings.h"

namespace pepita::compute {
namespace {

using test::claim;
using test::Exploration;
using test::explore;
using test::ModelAtomics;
using test::Scenario;

constexpr std::uint32_t kDeep = 4;

struct Thing {
    int taken = 0;
    ModelAtomics::Atomic<std::uint32_t> done{0};
};

/// The owner joins what it spawned, as Worker::join() does; a thief runs what it steals.
template <typename Deque>
struct Fork {
    Deque deque{kDeep};
    std::array<Thing, 4> things;

    void spawn(std::size_t index) {
        claim(deque.push(&things[index]), "the deque is full too early");
        if (deque.should_share()) {
            deque.share();
        }
    }
    void join(std::size_t index) {
        if (deque.pop()) {
            if (deque.is_requested()) {
                deque.share();
            }
            ++things[index].taken;
            return;
        }
        while (things[index].done.load(std::memory_order_acquire) == 0) {
            ModelAtomics::wait(things[index].done, 0);
        }
        deque.retract();
    }
    void steal() {
        if (Thing* stolen = deque.steal()) {
            ++stolen->taken;
            stolen->done.store(1, std::memory_order_seq_cst);
        } else {
            deque.request();
        }
    }
    void each_was_taken_once() {
        for (const Thing& thing : things) {
            claim(thing.taken <= 1, "a job ran twice");
        }
    }
};

template <typename Deque>
Scenario nested_forks() {
    auto fork = std::make_shared<Fork<Deque>>();
    return {.threads = {[fork] {
                            fork->spawn(0);
                            fork->spawn(1);
                            fork->join(1);
                            fork->join(0);
                            claim(fork->things[0].taken == 1 && fork->things[1].taken == 1,
                                  "a joined job did not run");
                        },
                        [fork] {
                            fork->steal();
                            fork->steal();
                        }},
            .at_end = [fork] { fork->each_was_taken_once(); }};
}

/// The same places are used again, under the same words.
template <typename Deque>
Scenario forks_in_turn() {
    auto fork = std::make_shared<Fork<Deque>>();
    return {.threads = {[fork] {
                            fork->spawn(0);
                            fork->join(0);
                            fork->spawn(1);
                            fork->spawn(2);
                            fork->join(2);
                            fork->join(1);
                            claim(fork->things[0].taken == 1 && fork->things[1].taken == 1 &&
                                      fork->things[2].taken == 1,
                                  "a joined job did not run");
                        },
                        [fork] { fork->steal(); }},
            .at_end = [fork] { fork->each_was_taken_once(); }};
}

template <typename Deque>
Scenario two_thieves() {
    auto fork = std::make_shared<Fork<Deque>>();
    return {.threads = {[fork] {
                            fork->spawn(0);
                            fork->join(0);
                            fork->spawn(1);
                            fork->join(1);
                        },
                        [fork] { fork->steal(); }, [fork] { fork->steal(); }},
            .at_end = [fork] { fork->each_was_taken_once(); }};
}

/// A thief that finds nothing asks for work and sleeps: the owner wakes it, or still knows that it
/// asked.
template <typename Deque, typename Sleepers>
Scenario request_and_sleep() {
    struct State {
        Deque deque{kDeep};
        Sleepers sleepers;
        std::array<Thing, 4> things;
        bool asleep = false;
        bool woken = false;
    };
    auto state = std::make_shared<State>();
    for (Thing& thing : state->things) {
        state->deque.push(&thing);
    }
    state->deque.request();
    return {.threads = {[state] {
                            if (state->deque.should_share() && state->deque.share()) {
                                state->woken = state->sleepers.wake_one();
                            }
                        },
                        [state] {
                            state->deque.steal();
                            state->deque.steal();
                            state->sleepers.announce(0);
                            state->deque.request();
                            state->asleep = !state->deque.has_shared();
                        }},
            .at_end = [state] {
                claim(!state->asleep || state->woken || state->deque.should_share(),
                      "a thief sleeps and nobody knows");
            }};
}

template <typename Queue>
Scenario queue_of_two() {
    struct State {
        Queue queue{2};
        std::array<Thing, 4> things;
        int full = 0;
    };
    auto state = std::make_shared<State>();
    return {.threads = {[state] {
                            for (std::size_t i = 0; i < 3; ++i) {
                                state->full += state->queue.push(&state->things[i]) ? 0 : 1;
                            }
                        },
                        [state] {
                            Thing* last = nullptr;
                            for (int i = 0; i < 2; ++i) {
                                Thing* popped = state->queue.pop();
                                if (popped != nullptr) {
                                    claim(popped > last, "out of order");
                                    ++popped->taken;
                                    last = popped;
                                }
                            }
                        }},
            .at_end = [state] {
                while (Thing* popped = state->queue.pop()) {
                    ++popped->taken;
                }
                int taken = 0;
                for (const Thing& thing : state->things) {
                    claim(thing.taken <= 1, "an item came out twice");
                    taken += thing.taken;
                }
                claim(taken + state->full == 3, "an item was lost");
            }};
}

template <typename Queue>
Scenario two_consumers() {
    struct State {
        Queue queue{2};
        std::array<Thing, 4> things;
    };
    auto state = std::make_shared<State>();
    state->queue.push(&state->things[0]);
    state->queue.push(&state->things[1]);
    const auto take = [state] {
        if (Thing* popped = state->queue.pop()) {
            ++popped->taken;
        }
    };
    return {.threads = {take, take}, .at_end = [state] {
                claim(state->things[0].taken == 1 && state->things[1].taken == 1,
                      "an item did not come out once");
            }};
}

/// A consumer that sleeps if the queue is empty, as Worker::rest() does.
template <typename Queue, typename Sleepers>
Scenario submit_and_sleep() {
    struct State {
        Queue queue{2};
        Sleepers sleepers;
        std::array<Thing, 4> things;
    };
    auto state = std::make_shared<State>();
    return {.threads = {[state] {
                            for (std::size_t i = 0; i < 2; ++i) {
                                state->queue.push(&state->things[i]);
                                state->sleepers.wake_one();
                            }
                        },
                        [state] {
                            int taken = 0;
                            while (taken < 2) {
                                if (state->queue.pop() != nullptr) {
                                    ++taken;
                                    continue;
                                }
                                state->sleepers.announce(0);
                                if (state->queue.is_ready()) {
                                    state->sleepers.withdraw(0);
                                } else {
                                    state->sleepers.await_wake(0);
                                }
                            }
                        }}};
}

/// Two consumers and two items: nobody is left asleep beside an item.
template <typename Sleepers>
Scenario two_sleepers() {
    struct State {
        InjectQueue<Thing, ModelAtomics> queue{2};
        Sleepers sleepers;
        std::array<Thing, 4> things;
    };
    auto state = std::make_shared<State>();
    state->queue.push(&state->things[0]);
    const auto consume = [state](std::uint32_t self) {
        while (true) {
            state->sleepers.announce(self);
            if (state->queue.pop() != nullptr) {
                if (state->sleepers.withdraw(self)) {
                    state->sleepers.wake_one();
                }
                return;
            }
            state->sleepers.await_wake(self);
        }
    };
    return {.threads = {[state] {
                            state->queue.push(&state->things[1]);
                            state->sleepers.wake_one();
                        },
                        [consume] { consume(0); }, [consume] { consume(1); }}};
}

/// After a withdrawal that had been claimed, the next sleep lasts until the next wake-up.
template <typename Sleepers>
Scenario withdraw_then_sleep() {
    struct State {
        Sleepers sleepers;
        ModelAtomics::Atomic<std::uint32_t> wakes{0};
    };
    auto state = std::make_shared<State>();
    return {.threads = {[state] {
                            state->sleepers.wake(0);
                            state->wakes.exchange(1, std::memory_order_seq_cst);
                            state->sleepers.wake(0);
                        },
                        [state] {
                            state->sleepers.announce(0);
                            state->sleepers.withdraw(0);
                            state->sleepers.announce(0);
                            if (state->wakes.load(std::memory_order_seq_cst) != 0) {
                                state->sleepers.withdraw(0);
                                return;
                            }
                            state->sleepers.await_wake(0);
                            const bool claimed_again = state->sleepers.wake(0);
                            claim(!claimed_again, "it slept and was still idle");
                        }}};
}

template <template <typename, typename> typename Deque>
using Modelled = Deque<Thing, ModelAtomics>;
using ModelledSleepers = Sleepers<ModelAtomics, 1>;
using ModelledQueue = InjectQueue<Thing, ModelAtomics>;

void expect_holds(const std::function<Scenario()>& scenario) {
    const Exploration explored = explore(scenario);
    EXPECT_EQ(explored.failure, "");
    EXPECT_GT(explored.runs, 1U);
    ::testing::Test::RecordProperty("orders", std::to_string(explored.runs));
}

void expect_caught(std::initializer_list<std::function<Scenario()>> scenarios) {
    std::string failure;
    for (const auto& scenario : scenarios) {
        failure = failure.empty() ? explore(scenario).failure : failure;
    }
    EXPECT_NE(failure, "") << "the mutant survived";
}

template <template <typename, typename> typename Deque>
void expect_deque_caught() {
    expect_caught({nested_forks<Modelled<Deque>>, forks_in_turn<Modelled<Deque>>,
                   two_thieves<Modelled<Deque>>,
                   request_and_sleep<Modelled<Deque>, ModelledSleepers>});
}

TEST(DequeModel, NestedForks) { expect_holds(nested_forks<Modelled<SplitDeque>>); }
TEST(DequeModel, ForksInTurn) { expect_holds(forks_in_turn<Modelled<SplitDeque>>); }
TEST(DequeModel, TwoThieves) { expect_holds(two_thieves<Modelled<SplitDeque>>); }
TEST(DequeModel, RequestIsNotLost) {
    expect_holds(request_and_sleep<Modelled<SplitDeque>, ModelledSleepers>);
}
TEST(QueueModel, KeepsOrderAndBounds) { expect_holds(queue_of_two<ModelledQueue>); }
TEST(QueueModel, TwoConsumers) { expect_holds(two_consumers<ModelledQueue>); }
TEST(SleepersModel, NoWakeUpIsLost) {
    expect_holds(submit_and_sleep<ModelledQueue, ModelledSleepers>);
}
TEST(SleepersModel, TwoSleepers) { expect_holds(two_sleepers<ModelledSleepers>); }
TEST(SleepersModel, WithdrawalTakesItsWakeUp) {
    expect_holds(withdraw_then_sleep<ModelledSleepers>);
}

TEST(DequeModel, CatchesSlotReadBeforeTheExchange) {
    expect_deque_caught<slot_read_before_exchange::SplitDeque>();
}
TEST(DequeModel, CatchesReclaimWithoutExchange) {
    expect_deque_caught<reclaim_without_exchange::SplitDeque>();
}
TEST(DequeModel, CatchesStealWithoutExchange) {
    expect_deque_caught<steal_without_exchange::SplitDeque>();
}
TEST(DequeModel, CatchesSplitThatIsNotRetracted) {
    expect_deque_caught<split_not_retracted::SplitDeque>();
}
TEST(DequeModel, CatchesWordThatIsNotRetracted) {
    expect_deque_caught<word_not_retracted::SplitDeque>();
}
TEST(DequeModel, CatchesAllStolenForgotten) {
    expect_deque_caught<all_stolen_forgotten::SplitDeque>();
}
TEST(DequeModel, CatchesSharingTooMuch) { expect_deque_caught<shares_too_much::SplitDeque>(); }
TEST(DequeModel, CatchesRequestClearedLate) {
    expect_caught(
        {request_and_sleep<Modelled<request_cleared_late::SplitDeque>, ModelledSleepers>});
}
TEST(QueueModel, CatchesLatePublication) {
    expect_caught({submit_and_sleep<queue_publishes_late::InjectQueue<Thing, ModelAtomics>,
                                    ModelledSleepers>});
}
TEST(QueueModel, CatchesCellFreedEarly) {
    expect_caught({queue_of_two<queue_frees_early::InjectQueue<Thing, ModelAtomics>>});
}
TEST(QueueModel, CatchesClaimWithoutExchange) {
    expect_caught({two_consumers<queue_claims_without_exchange::InjectQueue<Thing, ModelAtomics>>});
}
TEST(SleepersModel, CatchesAnnouncementWithoutFence) {
    expect_caught(
        {submit_and_sleep<ModelledQueue, announce_without_fence::Sleepers<ModelAtomics, 1>>});
}
TEST(SleepersModel, CatchesLostWakeUp) {
    expect_caught({submit_and_sleep<ModelledQueue, wake_up_lost::Sleepers<ModelAtomics, 1>>});
}
TEST(SleepersModel, CatchesClaimWithoutExchange) {
    expect_caught({withdraw_then_sleep<claim_without_exchange::Sleepers<ModelAtomics, 1>>});
}
TEST(SleepersModel, CatchesTokenLeftBehind) {
    expect_caught({withdraw_then_sleep<token_left_behind::Sleepers<ModelAtomics, 1>>});
}

}  // namespace
}  // namespace pepita::compute
