#include "shim/attached_roots.h"

#include <algorithm>
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
#include "runtime/task_api.h"
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

vmm::DeviceConfig disk(std::string id, vmm::DiskConfig config, std::vector<Fd> parts) {
    vmm::DeviceConfig device;
    device.id = std::move(id);
    device.kind = config;
    for (Fd& part : parts) {
        device.fds.push_back({.number = -1, .fd = std::move(part)});
    }
    return device;
}

vmm::DeviceConfig disk(std::string id, vmm::DiskConfig config, Fd image) {
    std::vector<Fd> parts;
    parts.push_back(std::move(image));
    return disk(std::move(id), config, std::move(parts));
}

constexpr vmm::DiskConfig kReadOnly{.access = vmm::Access::ReadOnly, .store = std::nullopt};

Error copy_of(const Error& error) { return {error.code(), error.message()}; }

}  // namespace

AttachedRoots::AttachedRoots(EventLoop& loop, Clock& clock, Ways ways, Options options)
    : loop_(loop),
      clock_(clock),
      ways_(std::move(ways)),
      place_(std::move(options.place)),
      scratch_(options.has_scratch ? Scratch::There : Scratch::None) {
    if (options.first_image) {
        images_[*options.first_image] = {
            .state = Image::State::There, .serial = kRootDiskSerial, .users = 1, .waiting = {}};
    }
}

void AttachedRoots::add(const RootSource& root, OnResult<RootDisks> done) {
    const std::uint64_t number = next_++;
    adding_[number] = {.root = root,
                       .serial = kRootDiskSerial + std::string("-") + std::to_string(number),
                       .wanted = {root.volumes.rbegin(), root.volumes.rend()},
                       .disks = {.scratch_serial = root.scratch ? kScratchDiskSerial : ""},
                       .packing = nullptr,
                       .done = std::move(done)};
    if (root.image) {
        adding_[number].wanted.push_back(*root.image);
    }
    if (!root.scratch || scratch_ == Scratch::There) {
        return provide(number);
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

// The guest finds it when it looks for the first root that waits for it.
void AttachedRoots::end_scratch(const Result<void>& made) {
    scratch_ = made ? Scratch::There : Scratch::None;
    attached_ += made ? 1U : 0U;
    for (const std::uint64_t number : std::exchange(waiting_, {})) {
        if (made) {
            provide(number);
        } else {
            end_add(number, copy_of(made.error()).within("make the scratch disk"));
        }
    }
}

void AttachedRoots::provide(std::uint64_t number) {
    if (adding_.at(number).root.image) {
        return use_next_image(number);
    }
    pack(number);
}

void AttachedRoots::use_next_image(std::uint64_t number) {
    const Adding& adding = adding_.at(number);
    if (adding.wanted.empty()) {
        return end_add(number, {});
    }
    use_image(number, runtime::ImageRoot(adding.wanted.back()));
}

void AttachedRoots::use_image(std::uint64_t number, const runtime::ImageRoot& id) {
    const auto [found, is_new] = images_.try_emplace(id);
    found->second.waiting.push_back(number);
    if (is_new) {
        return attach_image(id);
    }
    if (found->second.state == Image::State::There) {
        find_image(id);
    }
}

void AttachedRoots::attach_image(const runtime::ImageRoot& id) {
    Image& image = images_.at(id);
    image.state = Image::State::Coming;
    image.serial = "image-" + std::to_string(next_++);
    Result<std::vector<Fd>> parts = ways_.open_image(id);
    if (!parts) {
        return refuse_image(id, parts.error());
    }
    ways_.attach(disk(image.serial, kReadOnly, *std::move(parts)),
                 [this, id](Result<std::string> attached) {
                     if (!attached) {
                         return refuse_image(
                             id, std::move(attached).error().within("attach the image's disk"));
                     }
                     images_.at(id).state = Image::State::Attached;
                     ++attached_;
                     find_image(id);
                 });
}

void AttachedRoots::find_image(const runtime::ImageRoot& id) {
    if (found_ == attached_) {
        return give_image(id);
    }
    look([this, id](Result<void> looked) {
        const auto image = images_.find(id);
        if (image == images_.end() || image->second.state == Image::State::Leaving) {
            return;  // another look gave it to all that waited
        }
        if (looked) {
            return give_image(id);
        }
        refuse_image(id, std::move(looked).error().within("find the image's disk"));
    });
}

/// Has the guest find what is attached by now.
void AttachedRoots::look(OnResult<void> done) {
    ways_.guest.rescan(
        [this, now = attached_, done = std::move(done)](Result<void> looked) mutable {
            if (looked) {
                found_ = std::max(found_, now);
            }
            done(std::move(looked));
        });
}

void AttachedRoots::give_image(const runtime::ImageRoot& id) {
    Image& image = images_.at(id);
    image.state = Image::State::There;
    const std::string serial = image.serial;
    const std::vector<std::uint64_t> waiting = std::exchange(image.waiting, {});
    image.users += waiting.size();  // all of them before the first is answered
    for (const std::uint64_t number : waiting) {
        take_image(number, id, serial);
    }
}

/// The root's is the first.
void AttachedRoots::take_image(std::uint64_t number, const runtime::ImageRoot& id,
                               const std::string& serial) {
    Adding& adding = adding_.at(number);
    if (adding.disks.root_serial.empty()) {
        adding.disks.root_serial = serial;
    } else {
        adding.disks.volumes[id.id] = serial;
    }
    adding.wanted.pop_back();
    use_next_image(number);
}

/// To those that wait for it. What is attached of it and has no user goes.
void AttachedRoots::refuse_image(const runtime::ImageRoot& id, const Error& why) {
    Image& image = images_.at(id);
    auto refuse = [this, waiting = std::exchange(image.waiting, {}),
                   error = copy_of(why)](const Result<void>&) {
        for (const std::uint64_t number : waiting) {
            fail_add(number, copy_of(error));
        }
    };
    if (image.state == Image::State::Coming) {
        images_.erase(id);
        return refuse({});
    }
    ++image.users;  // this, until it leaves
    leave_image(id, std::move(refuse));
}

void AttachedRoots::leave_image(const runtime::ImageRoot& id, OnResult<void> done) {
    Image& image = images_.at(id);
    if (--image.users > 0 || !image.waiting.empty() || image.serial == kRootDiskSerial) {
        return done({});
    }
    image.state = Image::State::Leaving;
    take_away(image.serial, [this, id, done = std::move(done)](Result<void> removed) mutable {
        end_image(id, std::move(removed), std::move(done));
    });
}

/// It may be wanted again by now. One that stays is as good as a new one.
void AttachedRoots::end_image(const runtime::ImageRoot& id, Result<void> removed,
                              OnResult<void> done) {
    Image& image = images_.at(id);
    if (!removed) {
        image.state = Image::State::There;
        ++attached_;  // the guest may have let go of it
        if (!image.waiting.empty()) {
            find_image(id);
        }
    } else if (!image.waiting.empty()) {
        attach_image(id);
    } else {
        images_.erase(id);
    }
    done(std::move(removed));
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
    ways_.attach(disk(adding_.at(number).serial, kReadOnly, std::move(image)),
                 [this, number](Result<std::string> attached) {
                     if (!attached) {
                         return end_add(number,
                                        std::move(attached).error().within("attach the root disk"));
                     }
                     rescan(number);
                 });
}

void AttachedRoots::rescan(std::uint64_t number) {
    look([this, number](Result<void> found) {
        if (found) {
            Adding& adding = adding_.at(number);
            adding.disks.root_serial = adding.serial;
            return use_next_image(number);
        }
        // The guest has nothing of it mounted, so it is free to go.
        remove({.root_serial = adding_.at(number).serial, .scratch_serial = ""},
               [this, number, why = std::move(found).error().within("find the root disk")](
                   const Result<void>&) mutable { end_add(number, std::move(why)); });
    });
}

void AttachedRoots::fail_add(std::uint64_t number, Error why) {
    const RootDisks had = adding_.at(number).disks;
    remove(had, [this, number, why = std::move(why)](const Result<void>&) mutable {
        end_add(number, std::move(why));
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
    adding.done(std::move(adding.disks));
}

void AttachedRoots::remove(const RootDisks& disks, OnResult<void> done) {
    std::vector<std::string> serials;
    if (!disks.root_serial.empty()) {
        serials.push_back(disks.root_serial);
    }
    for (const auto& [id, serial] : disks.volumes) {
        serials.push_back(serial);
    }
    remove_all(std::move(serials), {}, std::move(done));
}

/// Those that follow one that stays, too.
void AttachedRoots::remove_all(std::vector<std::string> serials, Result<void> so_far,
                               OnResult<void> done) {
    if (serials.empty()) {
        return done(std::move(so_far));
    }
    const std::string serial = std::move(serials.back());
    serials.pop_back();
    remove_disk(serial, [this, serials = std::move(serials), so_far = std::move(so_far),
                         done = std::move(done)](Result<void> removed) mutable {
        remove_all(std::move(serials), so_far ? std::move(removed) : std::move(so_far),
                   std::move(done));
    });
}

void AttachedRoots::remove_disk(const std::string& serial, OnResult<void> done) {
    const auto image =
        std::ranges::find(images_, serial, [](const auto& it) { return it.second.serial; });
    if (image != images_.end()) {
        return leave_image(runtime::ImageRoot(image->first), std::move(done));
    }
    if (serial == kRootDiskSerial) {
        return done({});
    }
    take_away(serial, std::move(done));
}

void AttachedRoots::take_away(const std::string& serial, OnResult<void> done) {
    const std::uint64_t number = next_++;
    removing_[number] = {.serial = serial, .pause = nullptr, .done = std::move(done)};
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
