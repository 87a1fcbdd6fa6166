#include "compute/cli/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::compute::cli {
namespace {

constexpr std::size_t kSizeMax = std::size_t{4} << 30U;
constexpr mode_t kPrivate = 0600;  // outputs may be secrets

std::string first_line(const Journal::Identity& identity) {
    runtime::oci::OrderedJson line;
    line["journal"] = 1;
    line["fingerprint"] = identity.fingerprint;
    line["shard"] =
        std::to_string(identity.shard.index) + "/" + std::to_string(identity.shard.count);
    return runtime::oci::dump(line) + "\n";
}

/// A POSIX lock: it ends with the process, and F_GETLK names its holder.
struct flock whole(short type) {
    struct flock lock{};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return lock;
}

Result<std::optional<int>> holder_of(FdRef file, const std::string& path) {
    struct flock lock = whole(F_WRLCK);
    if (::fcntl(file.number(), F_GETLK, &lock) != 0) {
        return Error::from_errno(errno, "look at the lock of '" + path + "'");
    }
    return lock.l_type == F_UNLCK ? std::nullopt : std::optional(static_cast<int>(lock.l_pid));
}

}  // namespace

std::string beside(const std::string& file, const Shard& shard, std::string_view suffix) {
    std::string path = file + ".";
    if (shard.count != 1) {
        path += std::to_string(shard.index) + "-of-" + std::to_string(shard.count) + ".";
    }
    return path.append(suffix);
}

Result<Journal> Journal::open(const std::string& path, const Identity& identity,
                              Existing existing) {
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, kPrivate));
    if (!file) {
        return Error::from_errno(errno, "open '" + path + "'");
    }
    struct flock lock = whole(F_WRLCK);
    if (::fcntl(file.ref().number(), F_SETLK, &lock) != 0) {
        if (errno != EACCES && errno != EAGAIN) {
            return Error::from_errno(errno, "lock '" + path + "'");
        }
        const std::optional<int> holder = TRY(holder_of(file.ref(), path));
        return Error(Code::FailedPrecondition,
                     "another batch runs it" +
                         (holder ? ": process " + std::to_string(*holder) : std::string()));
    }
    Journal journal(std::move(file), path);
    TRY(journal.read_or_begin(identity, existing), "journal '", path, "'");
    return journal;
}

Result<void> Journal::read_or_begin(const Identity& identity, Existing existing) {
    const std::string begin = first_line(identity);
    std::string text;
    if (existing == Existing::Continue) {
        text = TRY(read_all(file_.ref(), kSizeMax, path_));
    }
    // A line without an end was being written when the process or the machine ended.
    const std::size_t whole_size = text.rfind('\n') + 1;
    if (::ftruncate(file_.ref().number(), static_cast<off_t>(whole_size)) != 0) {
        return Error::from_errno(errno, "cut");
    }
    if (whole_size == 0) {
        return append(begin);
    }
    std::string_view rest = std::string_view(text).substr(0, whole_size);
    if (!rest.starts_with(begin)) {
        return Error(Code::FailedPrecondition,
                     "it is of another task file, or the file has changed; --fresh discards it");
    }
    rest.remove_prefix(begin.size());
    for (std::uint64_t number = 2; !rest.empty(); ++number) {
        const std::size_t length = rest.find('\n');
        Result<EndedTask> ended = parse_result_line(rest.substr(0, length));
        if (!ended) {
            return Error(Code::DataLoss, "line " + std::to_string(number) + ": " +
                                             ended.error().message() + "; --fresh discards it");
        }
        ended_.push_back(*ended);
        rest.remove_prefix(length + 1);
    }
    return {};
}

Result<void> Journal::append(std::string_view line) const {
    return write_all(file_.ref(), line, path_);
}

Result<std::optional<int>> Journal::holder(const std::string& path) {
    Result<Fd> file = open_file(path.c_str(), O_RDWR);
    if (!file && file.error().code() == Code::NotFound) {
        return std::nullopt;
    }
    return holder_of(TRY(std::move(file)).ref(), path);
}

}  // namespace pepita::compute::cli
