#pragma once

#include <time.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::bench {

/// A process that serves one disk as vhost-user-blk; killed when this goes.
class DiskServer {
public:
    struct Options {
        std::string name;    // for people
        std::string socket;  // its path, where nothing is yet
        std::uint16_t queues;
    };

    /// Ours, over a file. The program is this one: see serve().
    static Result<DiskServer> start_file(Options options, const std::string& file);
    /// Ours, over a volume of a store in memory of its own.
    static Result<DiskServer> start_store(Options options, Bytes size);
    /// `program` is qemu-storage-daemon; `aio` what its file driver knows of: threads, io_uring.
    static Result<DiskServer> start_qemu(Options options, const std::string& program,
                                         const std::string& file, const std::string& aio);

    const std::string& name() const { return options_.name; }
    const std::string& socket() const { return options_.socket; }
    /// The processor time that all its threads have taken, in the kernel too, in seconds.
    double cpu_seconds() const;

private:
    DiskServer(Options options, Child child, clockid_t clock)
        : options_(std::move(options)), child_(std::move(child)), clock_(clock) {}
    static Result<DiskServer> start_ours(Options options, const std::string& what,
                                         const std::string& argument);
    static Result<DiskServer> hold(Options options, Child child);

    Options options_;
    Child child_;
    clockid_t clock_;
};

/// What a process does that start_file() or start_store() has made, until SIGTERM.
/// `words`: "file" or "store", the socket, the number of queues, the file or the size in bytes.
Result<void> serve(std::span<char*> words);

}  // namespace pepita::bench
