#include "shim/attached_roots.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "shim/clock.h"
#include "shim/disk_image.h"
#include "shim/machine_plan.h"
#include "shim/microvm.h"
#include "vmm/device_config.h"

namespace pepita::shim {
namespace {

using runtime::OnResult;

// A kernel lets go of a file system some time after the last process that had it mounted, and tells
// nobody.
constexpr std::chrono::milliseconds kReleasePause{50};
constexpr int kReleaseAttempts = 200;

vmm::DeviceConfig disk(std::string id, vmm::DiskConfig config, Fd image) {
    vmm::DeviceConfig device;
    device.id = std::move(id);
    device.kind = config;
    device.fds.push_back({.number = -1, .fd = std::move(image)});
    return device;
}

Error copy_of(const Error& error) { return {error.code(), error.message()}; }

}  // namespace

AttachedRoots::AttachedRoots(EventLoop& loop, Clock& clock, Ways ways, Options options)
    : loop_(loop),
      clock_(clock),
      ways_(std::move(ways)),
      place_(std::move(options.place)),
      scratch_(options.has_scratch ? Scratch::There : Scratch::None) {}

void AttachedRoots::add(const RootSource& root, OnResult<RootDisks> done) {
    const std::uint64_t number = next_++;
    adding_[number] = {.root = root,
                       .serial = kRootDiskSerial + std::string("-") + std::to_string(number),
                       .packing = nullptr,
                       .done = std::move(done)};
    if (!root.scratch || scratch_ == Scratch::There) {
        return pack(number);
    }
    waiting_.push_back(number);
    if (scratch_ == Scratch::None) {
        begin_scratch(*root.scratch);
    }
}

void AttachedRoots::begin_scratch(Bytes size) {
    scratch_ = Scratch::Making;
    auto formatting = DiskImage::format(loop_, size, place_, [this, size](Result<Fd> image) {
        if (!image) {
            return end_scratch(std::move(image).error());
        }
        attach_scratch(size, *std::move(image));
    });
    if (!formatting) {
        return end_scratch(std::move(formatting).error());
    }
    formatting_ = *std::move(formatting);
}

void AttachedRoots::attach_scratch(Bytes size, Fd image) {
    ways_.attach(disk(kScratchDiskSerial, {.access = vmm::Access::ReadWrite, .store = size},
                      std::move(image)),
                 [this](Result<std::string> attached) {
                     end_scratch(attached ? Result<void>() : std::move(attached).error());
                 });
}

// The guest finds it with the rescan for the first root that waits for it.
void AttachedRoots::end_scratch(const Result<void>& made) {
    scratch_ = made ? Scratch::There : Scratch::None;
    for (const std::uint64_t number : std::exchange(waiting_, {})) {
        if (made) {
            pack(number);
        } else {
            end_add(number, copy_of(made.error()).within("make the scratch disk"));
        }
    }
}

void AttachedRoots::pack(std::uint64_t number) {
    Adding& adding = adding_.at(number);
    auto packing =
        DiskImage::pack(loop_, adding.root.path, place_, [this, number](Result<Fd> image) {
            if (!image) {
                return end_add(number,
                               std::move(image).error().within("pack the root file system"));
            }
            attach(number, *std::move(image));
        });
    if (!packing) {
        return end_add(number, std::move(packing).error().within("pack the root file system"));
    }
    adding.packing = *std::move(packing);
}

void AttachedRoots::attach(std::uint64_t number, Fd image) {
    ways_.attach(disk(adding_.at(number).serial,
                      {.access = vmm::Access::ReadOnly, .store = std::nullopt}, std::move(image)),
                 [this, number](Result<std::string> attached) {
                     if (!attached) {
                         return end_add(number,
                                        std::move(attached).error().within("attach the root disk"));
                     }
                     rescan(number);
                 });
}

void AttachedRoots::rescan(std::uint64_t number) {
    ways_.guest.rescan([this, number](Result<void> found) {
        if (found) {
            return end_add(number, {});
        }
        // The guest has nothing of it mounted, so it is free to go.
        remove({.root_serial = adding_.at(number).serial, .scratch_serial = ""},
               [this, number, why = std::move(found).error().within("find the root disk")](
                   const Result<void>&) mutable { end_add(number, std::move(why)); });
    });
}

void AttachedRoots::end_add(std::uint64_t number, Result<void> added) {
    const auto node = adding_.extract(number);
    Adding& adding = node.mapped();
    // Not in its own call.
    loop_.post([gone = std::shared_ptr<DiskImage>(std::move(adding.packing))] {});
    if (!added) {
        return adding.done(std::move(added).error());
    }
    adding.done(RootDisks{.root_serial = adding.serial,
                          .scratch_serial = adding.root.scratch ? kScratchDiskSerial : ""});
}

void AttachedRoots::remove(const RootDisks& disks, OnResult<void> done) {
    if (disks.root_serial == kRootDiskSerial) {
        return done({});
    }
    const std::uint64_t number = next_++;
    removing_[number] = {.serial = disks.root_serial, .pause = nullptr, .done = std::move(done)};
    release(number);
}

void AttachedRoots::release(std::uint64_t number) {
    ways_.guest.release(
        {.serial = removing_.at(number).serial}, [this, number](Result<void> released) {
            // A guest that has not found it holds nothing of it.
            if (released || released.error().code() == Code::NotFound) {
                return detach(number);
            }
            Removing& removing = removing_.at(number);
            if (released.error().code() != Code::FailedPrecondition ||
                ++removing.attempts == kReleaseAttempts) {
                return end_remove(number, std::move(released));
            }
            removing.pause = clock_.after(kReleasePause, [this, number] { release(number); });
        });
}

void AttachedRoots::detach(std::uint64_t number) {
    ways_.detach(removing_.at(number).serial, [this, number](Result<void> detached) {
        end_remove(number, std::move(detached));
    });
}

void AttachedRoots::end_remove(std::uint64_t number, Result<void> removed) {
    auto node = removing_.extract(number);
    if (!removed) {
        removed = std::move(removed).error().within("disk '" + node.mapped().serial + "'");
    }
    node.mapped().done(std::move(removed));
}

}  // namespace pepita::shim
