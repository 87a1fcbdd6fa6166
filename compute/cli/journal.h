#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compute/cli/command_line.h"
#include "compute/cli/task_result.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute::cli {

/// "FILE.journal", or "FILE.K-of-N.journal" of a shard: what a batch keeps beside its task file.
std::string beside(const std::string& file, const Shard& shard, std::string_view suffix);

/// Which tasks of a file have ended, and how. It outlives a process that is killed: a task is
/// either in it, whole, or runs again.
class Journal {
public:
    /// Whose tasks they are.
    struct Identity {
        std::uint64_t fingerprint = 0;
        Shard shard;
    };
    enum class Existing : std::uint8_t { Continue, Discard };

    /// Opens or makes the one at `path`, and locks it while this lives. A line that a crash cut
    /// short is dropped. Errors: FailedPrecondition for one of another file or shard, and while
    /// another batch has it; DataLoss for a damaged one.
    static Result<Journal> open(const std::string& path, const Identity& identity,
                                Existing existing);

    const std::vector<EndedTask>& ended() const { return ended_; }
    /// `line` is result_line()'s.
    Result<void> append(std::string_view line) const;

    /// The process that has it locked, if there is one.
    static Result<std::optional<int>> holder(const std::string& path);

private:
    Journal(Fd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
    Result<void> read_or_begin(const Identity& identity, Existing existing);
    Fd file_;
    std::string path_;
    std::vector<EndedTask> ended_;
};

}  // namespace pepita::compute::cli
