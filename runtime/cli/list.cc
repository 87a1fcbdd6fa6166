#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/observe.h"
#include "runtime/cli/report.h"
#include "runtime/cli/verbs.h"
#include "runtime/state.h"
#include "runtime/store.h"

namespace pepita::runtime::cli {
namespace {

constexpr std::chrono::seconds kDeadline{5};

using Row = std::array<std::string, 5>;

std::string table(std::span<const ContainerState> states) {
    std::vector<Row> rows{{"ID", "PID", "STATUS", "BUNDLE", "CREATED"}};
    for (const ContainerState& state : states) {
        rows.push_back({state.id, std::to_string(state.pid), std::string(to_string(state.status)),
                        state.bundle, state.created});
    }
    std::array<std::size_t, std::tuple_size_v<Row>> widths{};
    for (const Row& row : rows) {
        for (std::size_t column = 0; column < row.size(); ++column) {
            widths[column] = std::max(widths[column], row[column].size());
        }
    }
    std::string out;
    for (Row& row : rows) {
        for (std::size_t column = 0; column + 1 < row.size(); ++column) {
            row[column].resize(widths[column] + 2, ' ');
            out += row[column];
        }
        out += row.back() + "\n";
    }
    return out;
}

}  // namespace

Result<int> list(const Command& command) {
    const std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    const auto store = TRY(oci::ContainerStore::open(command.root));
    std::vector<ContainerState> states;
    for (const std::string& id : TRY(store.ids())) {
        auto found = observe(*loop, store, id, kDeadline);
        if (found) {
            states.push_back(*std::move(found));
        } else if (found.error().code() != Code::NotFound) {  // made or removed just now
            report(command, "container '" + id + "': " + found.error().message());
        }
    }
    std::string out;
    if (command.quiet) {
        for (const ContainerState& state : states) {
            out += state.id + "\n";
        }
    } else {
        out = command.list_format == Format::Json ? to_oci_json(states) : table(states);
    }
    return print(out) ? 0 : 1;
}

}  // namespace pepita::runtime::cli
