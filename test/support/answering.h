#pragma once

#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "runtime/rpc/on_result.h"

namespace pepita::test {

/// What a fake service does with every call: it answers with `error`, as kCode, where there is one,
/// and else with what it was given.
template <Code kCode>
class Answering {
public:
    std::optional<std::string> error;

protected:
    void answer(runtime::OnResult<void> done) const {
        error ? done(Error(kCode, *error)) : done({});
    }
    template <typename T>
    void answer(runtime::OnResult<T> done, T value) const {
        error ? done(Error(kCode, *error)) : done(std::move(value));
    }
};

}  // namespace pepita::test
