#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::shim {

/// Makes the image of a disk by another process, a mkfs program as a rule, while the loop goes on.
///
/// The image has no name from its first byte on (O_TMPFILE): whoever dies when, it goes with its
/// last descriptor.
class DiskImage {
public:
    using OnMade = std::move_only_function<void(Result<Fd> image)>;

    /// `directory` as an EROFS; `place` is where the image's bytes live. Calls `on_made` once,
    /// later. Giving the DiskImage up ends the program, and the call does not come.
    /// Errors: ResourceExhausted without space; what the program complained of, in its words.
    static Result<std::unique_ptr<DiskImage>> pack(EventLoop& loop, const std::string& directory,
                                                   const std::string& place, OnMade on_made);

    /// An empty ext4 of `size`, whole MiB and at least 16, for a disk that lives no longer than its
    /// machine. The file is sparse: some 100 KiB for a disk of a GiB. The rest as above.
    static Result<std::unique_ptr<DiskImage>> format(EventLoop& loop, Bytes size,
                                                     const std::string& place, OnMade on_made);

    /// Files one after the other in one. The rest as above.
    static Result<std::unique_ptr<DiskImage>> concatenate(EventLoop& loop,
                                                          const std::vector<Fd>& parts,
                                                          const std::string& place, OnMade on_made);

private:
    DiskImage(std::string name, Fd image, Fd messages, Child child, OnMade on_made);
    static Result<std::unique_ptr<DiskImage>> start(EventLoop& loop, SpawnOptions options, Fd image,
                                                    OnMade on_made);
    void finish();
    std::string last_words() const;

    std::string name_;  // of the program
    Fd image_;
    Fd messages_;  // what the program printed
    Child child_;
    OnMade on_made_;
    EventLoop::Watch watch_;
};

}  // namespace pepita::shim
