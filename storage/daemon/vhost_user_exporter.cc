#include "storage/daemon/vhost_user_exporter.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/result.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/exporter.h"
#include "storage/disk.h"
#include "storage/vhost_user_block.h"

namespace pepita::storage::daemon {
namespace {

// virtio-blk's serial number has 20 bytes, a volume's name may have more.
constexpr std::size_t kSerialMax = 20;

class VhostUserExport final : public Export {
public:
    VhostUserExport(std::unique_ptr<storage::VhostUserBlock> server, std::string path)
        : server_(std::move(server)), path_(std::move(path)) {}

    std::string path() const override { return path_; }
    Result<void> stop() override {
        server_->stop();
        return {};
    }
    // A front end that can reconnects by itself, and has kept what is in flight.
    Result<void> leave() override { return stop(); }
    Result<void> resized() override {
        server_->capacity_changed();
        return {};
    }

private:
    std::unique_ptr<storage::VhostUserBlock> server_;
    std::string path_;
};

}  // namespace

Result<std::unique_ptr<Export>> VhostUserExporter::attach(const std::string& name,
                                                          const api::AttachSpec& how,
                                                          std::shared_ptr<Disk> disk) {
    std::string path = directory_ + "/" + name + ".vhost";
    auto server = TRY(storage::VhostUserBlock::start(
        std::move(disk), {.socket = path,
                          .serial = name.substr(0, kSerialMax),
                          .queues = static_cast<std::uint16_t>(how.queues)}));
    return std::make_unique<VhostUserExport>(std::move(server), std::move(path));
}

Result<std::unique_ptr<Export>> VhostUserExporter::recover(const std::string& name,
                                                           const api::Attachment& before,
                                                           std::shared_ptr<Disk> disk) {
    return attach(name, before.spec, std::move(disk));
}

}  // namespace pepita::storage::daemon
