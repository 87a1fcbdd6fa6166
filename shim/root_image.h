#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {

/// Packs a directory into an EROFS image with mkfs.erofs, while the loop goes on.
///
/// The image has no name from its first byte on (O_TMPFILE): whoever dies when, it goes with its
/// last descriptor.
class RootImage {
public:
    using OnPacked = std::move_only_function<void(Result<Fd> image)>;

    /// `scratch` is where the image's bytes live. Calls `on_packed` once, later. Giving the
    /// RootImage up ends the packing, and the call does not come.
    /// Errors: ResourceExhausted without space; what mkfs.erofs complained of, in its words.
    static Result<std::unique_ptr<RootImage>> pack(EventLoop& loop, const std::string& directory,
                                                   const std::string& scratch, OnPacked on_packed);

private:
    RootImage(Fd image, Fd messages, Child child, OnPacked on_packed);
    void finish();
    std::string last_words() const;

    Fd image_;
    Fd messages_;  // what mkfs.erofs printed
    Child child_;
    OnPacked on_packed_;
    EventLoop::Watch watch_;
};

}  // namespace pepita::shim
