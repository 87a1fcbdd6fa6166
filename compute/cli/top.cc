#include <poll.h>
#include <unistd.h>

#include <string>

#include "compute/cli/command_line.h"
#include "compute/cli/journal.h"
#include "compute/cli/progress.h"
#include "compute/cli/verbs.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {
namespace {

/// Whether a key, or the end of input, came before the time was over.
bool is_ended(bool has_keys, std::uint32_t interval_s) {
    constexpr int milliseconds = 1000;
    pollfd key{.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0};
    return ::poll(&key, 1, static_cast<int>(interval_s) * milliseconds) != 0;
}

}  // namespace

Result<int> top(const Command& command) {
    const std::string& file = command.words.front();
    const std::string journal = beside(file, command.shard, "journal");
    const bool is_live = !command.once && ::isatty(STDOUT_FILENO) == 1;
    const bool has_keys = ::isatty(STDIN_FILENO) == 1;
    for (bool is_first = true;; is_first = false) {
        if (!TRY(Journal::holder(journal))) {
            if (!is_first) {
                return 0;  // the batch that was shown has ended
            }
            return Error(Code::NotFound, "no batch of it is running");
        }
        const std::string status = TRY(read_file(beside(file, command.shard, "status")));
        const std::string view = top_view(TRY(parse_progress(status)));
        TRY(write_all(FdRef(STDOUT_FILENO), is_live ? "\x1b[H\x1b[2J" + view : view, "output"));
        if (!is_live || is_ended(has_keys, command.interval_s)) {
            return 0;
        }
    }
}

}  // namespace pepita::compute::cli
