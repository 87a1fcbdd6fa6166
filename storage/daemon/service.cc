#include "storage/daemon/service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/on_result.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/node.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {

using runtime::OnResult;

template <typename T, typename Work>
void Service::perform(OnResult<T> done, Work work) {
    if (is_stopping_) {
        return done(Error(Code::Unavailable, "the daemon is ending"));
    }
    if (waiting_ == kWaitingMax) {
        return done(
            Error(Code::ResourceExhausted, std::to_string(kWaitingMax) + " calls wait already"));
    }
    ++waiting_;
    worker_.post([this, done = std::move(done), work = std::move(work)]() mutable {
        Result<T> result = work(*node_);
        loop_.post([this, done = std::move(done), result = std::move(result)]() mutable {
            --waiting_;
            done(std::move(result));
        });
    });
}

void Service::open(MakeNode make, OnResult<void> done) {
    worker_.post([this, make = std::move(make), done = std::move(done)]() mutable {
        Result<std::unique_ptr<Node>> node = make();
        Result<void> opened;
        if (node) {
            node_ = *std::move(node);
        } else {
            opened = std::move(node).error();
        }
        loop_.post([done = std::move(done), opened = std::move(opened)]() mutable {
            done(std::move(opened));
        });
    });
}

void Service::stop(Node::Ending ending, std::move_only_function<void()> done) {
    is_stopping_ = true;
    worker_.post([this, ending, done = std::move(done)]() mutable {
        if (node_) {
            node_->stop(ending);
            node_.reset();
        }
        loop_.post(std::move(done));
    });
}

void Service::create(api::VolumeSpec volume, OnResult<void> done) {
    perform(std::move(done), [volume = std::move(volume)](Node& node) mutable {
        return node.create(std::move(volume));
    });
}

void Service::attach(std::string name, api::AttachSpec how, OnResult<std::string> done) {
    perform(std::move(done),
            [name = std::move(name), how](Node& node) { return node.attach(name, how); });
}

void Service::detach(std::string name, OnResult<void> done) {
    perform(std::move(done), [name = std::move(name)](Node& node) { return node.detach(name); });
}

void Service::resize(std::string name, Bytes capacity, OnResult<void> done) {
    perform(std::move(done),
            [name = std::move(name), capacity](Node& node) { return node.resize(name, capacity); });
}

void Service::snapshot(std::string name, Fd file, OnResult<void> done) {
    perform(std::move(done), [name = std::move(name), file = std::move(file)](Node& node) {
        return node.snapshot(name, file.ref());
    });
}

void Service::restore(std::string name, Fd file, OnResult<void> done) {
    perform(std::move(done), [name = std::move(name), file = std::move(file)](Node& node) {
        return node.restore(name, file.ref());
    });
}

void Service::remove(std::string name, OnResult<void> done) {
    perform(std::move(done), [name = std::move(name)](Node& node) { return node.remove(name); });
}

void Service::list(OnResult<std::vector<api::VolumeInfo>> done) {
    perform(std::move(done),
            [](Node& node) -> Result<std::vector<api::VolumeInfo>> { return node.list(); });
}

void Service::stats(OnResult<api::StorageStats> done) {
    perform(std::move(done), [](Node& node) -> Result<api::StorageStats> { return node.stats(); });
}

void Service::mark_idle(OnResult<void> done) {
    perform(std::move(done), [](Node& node) -> Result<void> {
        node.mark_idle();
        return {};
    });
}

void Service::compact_idle(Pages budget, OnResult<ZramCompaction> done) {
    perform(std::move(done), [budget](Node& node) { return node.compact_idle(budget); });
}

}  // namespace pepita::storage::daemon
