#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "runtime/task_api.h"
#include "shim/container.h"
#include "shim/pod.h"
#include "shim/pod_size.h"

// How a pod grows and shrinks. The rest of its life is in pod.cc.

namespace pepita::shim {

using runtime::OnResult;
using runtime::ResourcesSpec;

/// With `changes` for the container `id`.
PodSize Pod::wanted_size(const std::string& id, const ResourcesSpec& changes) const {
    std::vector<ResourcesSpec> limits;
    for (const auto& [name, entry] : entries_) {
        const Container& container = *entry.container;
        if (container.is_pod() || container.status() == runtime::TaskStatus::Stopped) {
            continue;
        }
        const ResourcesSpec& has = container.bundle().container.resources;
        limits.push_back(name == id ? runtime::merged(has, changes) : has);
    }
    return smaller(needed_size(own_size_, spec_.is_sized, limits), largest_size(spec_));
}

/// On the host, the cgroup of the pod is the caller's.
void Pod::take_size(const PodSize& size, OnResult<void> done) {
    if (is_on_host()) {
        return done({});
    }
    resizes_.push_back({.size = size, .done = std::move(done)});
    if (!is_resizing_) {
        resize_next();
    }
}

/// One after the other: the guest may answer two in any order.
void Pod::resize_next() {
    while (!resizes_.empty()) {
        if (microvm_ && resizes_.front().size != size_) {
            is_resizing_ = true;
            return microvm_->guest().update("", to_resources(resizes_.front().size),
                                            [this](Result<void> taken) mutable {
                                                is_resizing_ = false;
                                                if (taken) {
                                                    size_ = resizes_.front().size;
                                                }
                                                end_resize(std::move(taken));
                                                if (!is_resizing_) {
                                                    resize_next();
                                                }
                                            });
        }
        end_resize(microvm_ ? Result<void>() : Error(Code::Aborted, "the pod has ended"));
    }
}

void Pod::end_resize(Result<void> taken) {
    OnResult<void> done = std::move(resizes_.front().done);
    resizes_.pop_front();
    done(std::move(taken));
}

/// A guest that cannot limit the pod has its containers all the same: they may have all of the
/// machine.
void Pod::fit_size(OnResult<void> done) {
    take_size(wanted_size("", {}), [done = std::move(done)](const Result<void>& taken) mutable {
        if (!taken) {
            log::warn("the pod is not limited in its guest", {{"error", taken.error().message()}});
        }
        done({});
    });
}

void Pod::update_pod(const ResourcesSpec& changes, OnResult<void> done) {
    if (phase_ != Phase::Live) {
        return done(Error(Code::FailedPrecondition, "the pod's guest is not up"));
    }
    if (is_on_host()) {
        return done({});
    }
    if (Result<void> checked = check_limits(changes, largest_size(spec_)); !checked) {
        return done(std::move(checked));
    }
    const PodSize before = std::exchange(own_size_, changed(own_size_, changes));
    take_size(wanted_size("", {}),
              [this, before, done = std::move(done)](Result<void> taken) mutable {
                  if (!taken) {
                      own_size_ = before;
                  } else {
                      spec_.is_sized = true;
                  }
                  done(std::move(taken));
              });
}

/// The pod grows before its container does, and shrinks after it.
void Pod::update_container(const std::string& id, const ResourcesSpec& changes,
                           OnResult<void> done) {
    if (is_on_host() || phase_ != Phase::Live) {
        return entries_.at(id).container->update(changes, std::move(done));
    }
    if (Result<void> checked = check_limits(changes, largest_size(spec_)); !checked) {
        return done(std::move(checked));
    }
    take_size(larger(size_, wanted_size(id, changes)), [this, id, changes, done = std::move(done)](
                                                           Result<void> grown) mutable {
        const auto found = entries_.find(id);
        if (!grown || found == entries_.end()) {
            return done(grown ? Error(Code::NotFound, "it was deleted") : std::move(grown).error());
        }
        found->second.container->update(
            changes, [this, done = std::move(done)](Result<void> updated) mutable {
                if (phase_ != Phase::Live) {
                    return done(std::move(updated));
                }
                fit_size([done = std::move(done), updated = std::move(updated)](
                             const Result<void>&) mutable { done(std::move(updated)); });
            });
    });
}

void Pod::update(std::string container, ResourcesSpec resources, OnResult<void> done) {
    if (container.empty()) {
        return update_pod(resources, std::move(done));
    }
    Result<Entry*> entry = find(container);
    if (!entry) {
        return done(std::move(entry).error());
    }
    if ((*entry)->container->is_pod()) {
        return update_pod(resources, std::move(done));
    }
    update_container(container, resources, std::move(done));
}

}  // namespace pepita::shim
