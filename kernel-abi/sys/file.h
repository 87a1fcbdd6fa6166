#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {

// Files as wholes, by descriptors that wait. Calls that a signal interrupts go on. `name` is for
// errors, which quote it. Thread: any.

/// What is left to read, of files too that have no size (pipes, procfs).
/// Errors: OutOfRange over `size_max` bytes.
Result<std::string> read_all(FdRef file, std::size_t size_max, std::string_view name);

/// Errors: write(2)'s. What was written before them stays.
Result<void> write_all(FdRef file, std::span<const std::byte> bytes, std::string_view name);
Result<void> write_all(FdRef file, std::string_view text, std::string_view name);

/// The size of a regular file. Errors: InvalidArgument for anything else.
Result<Bytes> file_size(FdRef file);

/// Fills `into` with the file's bytes from `offset` on.
/// Errors: OutOfRange where the file ends before; read(2)'s.
Result<void> read_exactly(FdRef file, std::span<std::byte> into, std::uint64_t offset);

/// Small files of the kernel's: at most 1 MiB, written at once.
Result<std::string> read_file(const std::string& path);
Result<void> write_file(const std::string& path, std::string_view text);

/// Makes a file under a temporary name, for reading and writing. One that a crash left there, or a
/// link that another user put there, is removed and never followed or written to. `directory` may
/// be AT_FDCWD.
Result<Fd> create_temporary(FdRef directory, const std::string& name, mode_t mode);

/// Opens a file for appending lines to it, and makes it if it is missing. No terminal becomes ours.
Result<Fd> open_to_append(const std::string& path, mode_t mode);

/// Makes a file, or puts one in the place of another: whoever looks meanwhile finds the old one or
/// the new one. `directory` may be AT_FDCWD. Where it fails, all is as it was.
Result<void> replace_file(FdRef directory, const std::string& name, std::string_view text,
                          mode_t mode);

/// mkdir(2); one that exists is fine.
Result<void> make_directory(const std::string& path, mode_t mode);

}  // namespace pepita
