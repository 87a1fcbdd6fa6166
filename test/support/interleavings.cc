#include "test/support/interleavings.h"

#include <ucontext.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <set>
#include <utility>

namespace pepita::test {
namespace model {
namespace {

constexpr std::size_t kStackSize = 64 << 10;
constexpr std::uint64_t kRunsMax = 20'000'000;

enum class Kind : std::uint8_t { Load, Exchange, Wait, Flush };

/// One thing that can happen next.
struct Step {
    std::size_t thread;
    Kind kind;
    const Cell* cell;
    std::uint64_t wait_value = 0;

    std::size_t id() const { return thread * 2 + (kind == Kind::Flush ? 1 : 0); }
    bool writes() const { return kind == Kind::Exchange || kind == Kind::Flush; }
};

bool commute(const Step& a, const Step& b) {
    return a.thread != b.thread && (a.cell != b.cell || (!a.writes() && !b.writes()));
}

/// A point of choice on the path that is explored, kept from one run to the next.
struct Choice {
    std::vector<Step> enabled;
    std::set<std::size_t> asleep;  // ids: their orders were explored already
    Step taken{};
};

}  // namespace

class Run {
public:
    Run(const Scenario& scenario, std::vector<Choice>& path) : path_(path) {
        for (const auto& body : scenario.threads) {
            fibers_.push_back(std::make_unique<Fiber>());
            fibers_.back()->body = &body;
        }
    }

    /// Follows the path to its end and extends it. Then the failure, if there is one.
    std::string run() {
        current_run = this;
        for (std::size_t i = 0; i < fibers_.size(); ++i) {
            start(i);
        }
        for (std::size_t depth = 0; failure_.empty(); ++depth) {
            if (depth == path_.size() && !extend()) {
                break;
            }
            take(path_[depth].taken);
        }
        current_run = nullptr;
        return failure_;
    }
    bool is_complete() const { return complete_; }
    const std::string& failure() const { return failure_; }

    static inline Run* current_run = nullptr;

    bool is_in_thread() const { return running_ != nullptr; }
    void fail(const char* what) {
        if (failure_.empty()) {
            failure_ = what;
        }
    }

    std::uint64_t load(const Cell& cell) {
        stop_before({.thread = running_->index, .kind = Kind::Load, .cell = &cell});
        const auto& buffer = running_->buffer;
        const auto own = std::find_if(buffer.rbegin(), buffer.rend(),
                                      [&](const auto& entry) { return entry.first == &cell; });
        return own != buffer.rend() ? own->second : cell.value_;
    }
    void buffer(Cell& cell, std::uint64_t value) { running_->buffer.emplace_back(&cell, value); }
    void stop_for_exchange(const Cell& cell) {
        stop_before({.thread = running_->index, .kind = Kind::Exchange, .cell = &cell});
    }
    void wait(const Cell& cell, std::uint64_t value) {
        stop_before(
            {.thread = running_->index, .kind = Kind::Wait, .cell = &cell, .wait_value = value});
    }

private:
    struct Fiber {
        std::size_t index = 0;
        const std::function<void()>* body = nullptr;
        ucontext_t context{};
        std::unique_ptr<std::byte[]> stack = std::make_unique<std::byte[]>(kStackSize);
        std::deque<std::pair<Cell*, std::uint64_t>> buffer;
        Step next{};
        bool done = false;
    };

    static void enter() {
        Fiber& self = *current_run->running_;
        (*self.body)();
        self.done = true;
        ::swapcontext(&self.context, &current_run->scheduler_);
    }

    void start(std::size_t index) {
        Fiber& fiber = *fibers_[index];
        fiber.index = index;
        ::getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kStackSize;
        fiber.context.uc_link = nullptr;
        ::makecontext(&fiber.context, &Run::enter, 0);
        resume(fiber);
    }

    void resume(Fiber& fiber) {
        running_ = &fiber;
        ::swapcontext(&scheduler_, &fiber.context);
        running_ = nullptr;
    }

    void stop_before(const Step& step) {
        Fiber& self = *running_;
        self.next = step;
        ::swapcontext(&self.context, &scheduler_);
    }

    bool is_enabled(const Fiber& fiber) const {
        if (fiber.done) {
            return false;
        }
        switch (fiber.next.kind) {
            case Kind::Load:
                return true;
            case Kind::Exchange:
                return fiber.buffer.empty();
            case Kind::Wait:
                return fiber.buffer.empty() && fiber.next.cell->value_ != fiber.next.wait_value;
            case Kind::Flush:
                break;
        }
        return false;
    }

    std::vector<Step> enabled() const {
        std::vector<Step> steps;
        for (const auto& fiber : fibers_) {
            if (is_enabled(*fiber)) {
                steps.push_back(fiber->next);
            }
            if (!fiber->buffer.empty()) {
                steps.push_back({.thread = fiber->index,
                                 .kind = Kind::Flush,
                                 .cell = fiber->buffer.front().first});
            }
        }
        return steps;
    }

    /// Adds a choice at the end of the path. False if the run is over.
    bool extend() {
        Choice choice{.enabled = enabled(), .asleep = {}};
        if (choice.enabled.empty()) {
            complete_ = std::all_of(fibers_.begin(), fibers_.end(),
                                    [](const auto& fiber) { return fiber->done; });
            if (!complete_) {
                fail("a thread waits for ever");
            }
            return false;
        }
        if (!path_.empty()) {
            const Choice& before = path_.back();
            for (const Step& step : before.enabled) {
                if (before.asleep.contains(step.id()) && commute(step, before.taken)) {
                    choice.asleep.insert(step.id());
                }
            }
        }
        const auto awake = std::find_if(choice.enabled.begin(), choice.enabled.end(),
                                        [&](auto& s) { return !choice.asleep.contains(s.id()); });
        if (awake == choice.enabled.end()) {
            return false;  // explored in another order
        }
        choice.taken = *awake;
        path_.push_back(std::move(choice));
        return true;
    }

    void take(const Step& step) {
        Fiber& fiber = *fibers_[step.thread];
        if (step.kind == Kind::Flush) {
            const auto [cell, value] = fiber.buffer.front();
            fiber.buffer.pop_front();
            cell->value_ = value;
        } else {
            resume(fiber);
        }
    }

    std::vector<Choice>& path_;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    ucontext_t scheduler_{};
    Fiber* running_ = nullptr;
    std::string failure_;
    bool complete_ = false;
};

namespace {

bool in_thread() { return Run::current_run != nullptr && Run::current_run->is_in_thread(); }

/// Moves the path on to the next order. False if there is none.
///
/// Cells are at other addresses in the next run, so what the path knows of them is compared by
/// commute() only before: a step asleep is kept by its id.
bool advance(std::vector<Choice>& path) {
    while (!path.empty()) {
        Choice& last = path.back();
        last.asleep.insert(last.taken.id());
        const auto awake = std::find_if(last.enabled.begin(), last.enabled.end(), [&](auto& step) {
            return !last.asleep.contains(step.id());
        });
        if (awake != last.enabled.end()) {
            last.taken = *awake;
            return true;
        }
        path.pop_back();
    }
    return false;
}

}  // namespace

std::uint64_t Cell::load() const { return in_thread() ? Run::current_run->load(*this) : value_; }

void Cell::store_buffered(std::uint64_t value) {
    if (in_thread()) {
        Run::current_run->buffer(*this, value);
    } else {
        value_ = value;
    }
}

std::uint64_t Cell::exchange_with(const std::function<std::uint64_t(std::uint64_t)>& change) {
    if (in_thread()) {
        Run::current_run->stop_for_exchange(*this);
    }
    return std::exchange(value_, change(value_));
}

void Cell::wait_while(std::uint64_t value) const { Run::current_run->wait(*this, value); }

}  // namespace model

void claim(bool holds, const char* what) {
    if (!holds) {
        model::Run::current_run->fail(what);
    }
}

Exploration explore(const std::function<Scenario()>& make) {
    Exploration result;
    std::vector<model::Choice> path;
    do {
        const Scenario scenario = make();
        model::Run run(scenario, path);
        ++result.runs;
        result.failure = run.run();
        if (result.failure.empty() && run.is_complete()) {
            model::Run::current_run = &run;
            scenario.at_end();
            model::Run::current_run = nullptr;
            result.failure = run.failure();
        }
        if (result.runs > model::kRunsMax) {
            result.failure = "too many orders";
        }
    } while (result.failure.empty() && model::advance(path));
    return result;
}

}  // namespace pepita::test
