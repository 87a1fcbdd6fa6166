#include "runtime/guest/pci_devices.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::guest {
namespace {

Result<void> check(const DiskId& disk) {
    if (disk.serial.empty() == disk.pci_address.empty()) {
        return Error(Code::InvalidArgument, "a disk has either a serial or a PCI address");
    }
    if (disk.pci_address.find('/') != std::string::npos || disk.pci_address.starts_with('.')) {
        return Error(Code::InvalidArgument, "'" + disk.pci_address + "' is no PCI address");
    }
    return {};
}

// The PCI function that a block device is on: its device is virtioN, whose parent is the function.
// Empty for one that is on none.
std::string function_of(const std::string& sys_block, const std::string& name) {
    std::array<char, PATH_MAX> path{};
    if (::realpath((sys_block + "/" + name + "/device").c_str(), path.data()) == nullptr) {
        return {};
    }
    std::string_view device(path.data());
    device = device.substr(0, device.rfind('/'));
    return std::string(device.substr(device.rfind('/') + 1));
}

bool is_disk(const DiskId& disk, const std::string& sys_block, const std::string& name) {
    if (disk.serial.empty()) {
        return function_of(sys_block, name) == disk.pci_address;
    }
    const Result<std::string> serial = read_file(sys_block + "/" + name + "/serial");
    return serial && (*serial == disk.serial || *serial == disk.serial + "\n");
}

std::string words_for(const DiskId& disk) {
    return disk.serial.empty() ? "PCI address '" + disk.pci_address + "'"
                               : "serial '" + disk.serial + "'";
}

// The name below /sys/block.
Result<std::string> find_name(const DiskId& disk, const std::string& sys) {
    const std::string sys_block = sys + "/block";
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(sys_block.c_str()), ::closedir);
    if (!entries) {
        return Error::from_errno(errno, "open '" + sys_block + "'");
    }
    while (const dirent* entry = ::readdir(entries.get())) {
        std::string name = entry->d_name;
        if (!name.starts_with('.') && is_disk(disk, sys_block, name)) {
            return name;
        }
    }
    return Error(Code::NotFound, "no disk has the " + words_for(disk));
}

// O_EXCL of a block device is refused while a file system of any mount namespace holds it.
Result<void> check_idle(const std::string& name) {
    const std::string path = "/dev/" + name;
    const Result<Fd> alone = open_file(path.c_str(), O_RDONLY | O_EXCL | O_NONBLOCK);
    if (!alone && alone.error().sys_errno() == EBUSY) {
        return Error(Code::FailedPrecondition, "disk '" + path + "' is in use");
    }
    return {};
}

}  // namespace

Result<std::string> find_disk(const DiskId& disk, const std::string& sys) {
    TRY(check(disk));
    return "/dev/" + TRY(find_name(disk, sys));
}

Result<void> rescan_bus(const std::string& sys) { return write_file(sys + "/bus/pci/rescan", "1"); }

Result<void> release_device(const DiskId& disk, const std::string& sys) {
    TRY(check(disk));
    const Result<std::string> name = find_name(disk, sys);
    std::string address = disk.pci_address;
    if (name) {
        TRY(check_idle(*name));
        address = function_of(sys + "/block", *name);
    } else if (address.empty()) {
        return Error(name.error().code(), name.error().message());
    }
    Result<void> removed = write_file(sys + "/bus/pci/devices/" + address + "/remove", "1");
    if (!removed && removed.error().sys_errno() == ENOENT) {
        return Error(Code::NotFound, "no device has the " + words_for(disk));
    }
    return removed;
}

}  // namespace pepita::runtime::guest
