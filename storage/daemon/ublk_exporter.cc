#include "storage/daemon/ublk_exporter.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/exporter.h"
#include "storage/disk.h"
#include "storage/ublk_control.h"
#include "storage/ublk_server.h"

namespace pepita::storage::daemon {
namespace {

class UblkExport final : public Export {
public:
    explicit UblkExport(std::unique_ptr<UblkServer> server) : server_(std::move(server)) {}

    std::string path() const override { return ublk_block_path(server_->id()); }
    Result<void> stop() override {
        // Exclusive: fails where the kernel itself has it, a mount or a partition, which would lose
        // its disk.
        TRY(open_file(path().c_str(), O_RDONLY | O_EXCL), "still in use");
        return server_->stop();
    }
    Result<void> leave() override {
        server_->detach();
        return {};
    }
    Result<void> resized() override { return server_->resize(); }

private:
    std::unique_ptr<UblkServer> server_;
};

/// Whoever has it open still has errors from then on, and it goes when they let go.
constexpr std::chrono::seconds kStrayLimit{2};

/// Of "/dev/ublkb7".
Result<UblkId> id_of(const std::string& path) {
    constexpr std::string_view prefix = "/dev/ublkb";
    std::uint32_t number = 0;
    const std::string_view text = path;
    const char* const end = text.data() + text.size();
    const bool is_ublk = text.starts_with(prefix);
    const auto read = std::from_chars(is_ublk ? text.data() + prefix.size() : end, end, number);
    if (read.ec != std::errc() || read.ptr != end) {  // no digits, and too many, are errors
        return Error(Code::DataLoss, "'" + path + "' is no ublk device");
    }
    return UblkId{number};
}

}  // namespace

Result<UblkControl*> UblkExporter::control() {
    if (!control_) {
        control_ = TRY(UblkControl::open());
    }
    return &*control_;
}

Result<std::unique_ptr<Export>> UblkExporter::start(const api::AttachSpec& how,
                                                    std::optional<UblkId> id,
                                                    std::shared_ptr<Disk> disk) {
    UblkServer::Options options;
    options.id = id;
    options.queues = static_cast<std::uint16_t>(how.queues);
    options.depth = static_cast<std::uint16_t>(how.depth);
    options.mark = mark_;
    return std::make_unique<UblkExport>(
        TRY(UblkServer::start(*TRY(control()), std::move(disk), options)));
}

Result<std::unique_ptr<Export>> UblkExporter::attach(const std::string& /*name*/,
                                                     const api::AttachSpec& how,
                                                     std::shared_ptr<Disk> disk) {
    return start(how, std::nullopt, std::move(disk));
}

Result<std::unique_ptr<Export>> UblkExporter::recover(const std::string& name,
                                                      const api::Attachment& before,
                                                      std::shared_ptr<Disk> disk) {
    const UblkId id = TRY(id_of(before.path));
    auto server = UblkServer::recover(*TRY(control()), id, disk);
    if (server) {
        return std::make_unique<UblkExport>(*std::move(server));
    }
    if (server.error().code() != Code::NotFound) {
        return std::move(server).error();
    }
    log::warn("the device is gone, adding it anew", {{"volume", name}, {"device", before.path}});
    return start(before.spec, id, std::move(disk));
}

void UblkExporter::remove_strays(const std::vector<std::string>& exported) {
    const Result<UblkControl*> control = this->control();
    if (!control) {
        return;  // no ublk here, or none for us
    }
    const auto devices = (*control)->list();
    if (!devices) {
        log::warn("devices that were left are not looked for",
                  {{"error", devices.error().message()}});
        return;
    }
    for (const abi::UblkDeviceInfo& device : *devices) {
        const UblkId id{device.dev_id};
        const std::string path = ublk_block_path(id);
        if (device.ublksrv_flags != mark_ || std::ranges::find(exported, path) != exported.end()) {
            continue;
        }
        const Result<void> removed = (*control)->remove(id, kStrayLimit);
        if (removed) {
            log::info("a device that was left is gone", {{"device", path}});
        } else {
            log::warn("a device that was left stays",
                      {{"device", path}, {"error", removed.error().message()}});
        }
    }
}

Result<std::uint64_t> ublk_mark(FdRef directory) {
    struct stat status{};
    if (::fstat(directory.number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    // Inodes of one file system rarely need the upper bits; 0 would be no mark.
    return std::rotl(std::uint64_t{status.st_dev}, 40) ^ status.st_ino ^ 1ULL << 63U;
}

}  // namespace pepita::storage::daemon
