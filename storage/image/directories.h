#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::storage::image {

/// A lock that a descriptor holds (flock(2)), whoever has it by now: the kernel drops it with the
/// last of its copies, so no crash leaves one behind.
enum class Lock : std::uint8_t { Shared, Exclusive };
/// Waits. Errors: flock(2)'s.
Result<void> lock(FdRef file, Lock kind);
/// False where another has it.
Result<bool> try_lock(FdRef file, Lock kind);

/// Errors: fsync(2)'s.
Result<void> sync_file(FdRef file, std::string_view name);
Result<void> sync_directory(const std::string& path);

/// A new file. Errors: AlreadyExists; open(2)'s.
Result<Fd> create_file(const std::string& path);

/// A file of this content on stable storage, in the place of an old one or not at all.
Result<void> replace_durably(const std::string& directory, const std::string& name,
                             std::string_view text);

/// A directory that is removed with what is in it, unless it is moved away.
class TemporaryDirectory {
public:
    /// In `parent`. It is locked as long as this lives; see remove_stale().
    static Result<TemporaryDirectory> create(const std::string& parent);
    TemporaryDirectory(TemporaryDirectory&& other) noexcept
        : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
    TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory();

    const std::string& path() const { return path_; }
    /// Renames it durably; what is in it is on stable storage already.
    /// Errors: AlreadyExists; rename(2)'s.
    Result<void> move_to(const std::string& parent, const std::string& name);

private:
    TemporaryDirectory(std::string path, Fd lock)
        : path_(std::move(path)), lock_(std::move(lock)) {}
    std::string path_;  // empty: moved
    Fd lock_;
};

/// Removes what killed processes left in a directory of TemporaryDirectories. The caller sees to it
/// that nobody creates one meanwhile.
Result<void> remove_stale(const std::string& parent);

}  // namespace pepita::storage::image
