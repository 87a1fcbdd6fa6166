#include "cri/record_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cri/directories.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

constexpr std::size_t kRecordMax = std::size_t{16} << 20U;
constexpr std::string_view kTemporary = ".new";  // replace_file()'s

Result<std::vector<std::string>> names_in(const std::string& directory) {
    std::vector<std::string> names;
    std::error_code failed;
    std::filesystem::directory_iterator entries(directory, failed);
    for (; !failed && entries != std::filesystem::directory_iterator(); entries.increment(failed)) {
        names.push_back(entries->path().filename().string());
    }
    if (failed) {
        return Error::from_errno(failed.value(), "read '" + directory + "'");
    }
    std::ranges::sort(names);
    return names;
}

}  // namespace

Result<RecordStore> RecordStore::open(const std::string& directory) {
    TRY(make_directories(directory));
    std::error_code failed;
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all, failed);
    for (const std::string& name : TRY(names_in(directory))) {
        if (name.ends_with(kTemporary)) {
            std::string path = directory;
            path.append("/").append(name);
            (void)::unlink(path.c_str());
        }
    }
    return RecordStore(directory);
}

Result<void> RecordStore::put(const std::string& name, std::string_view bytes) {
    constexpr mode_t mode = 0600;
    return replace_file(FdRef(AT_FDCWD), directory_ + "/" + name, bytes, mode);
}

Result<void> RecordStore::remove(const std::string& name) {
    const std::string path = directory_ + "/" + name;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return Error::from_errno(errno, "remove '" + path + "'");
    }
    return {};
}

Result<std::vector<RecordStore::Record>> RecordStore::all() const {
    std::vector<Record> records;
    for (std::string& name : TRY(names_in(directory_))) {
        std::string path = directory_;
        path.append("/").append(name);
        const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
        if (!file) {
            return Error::from_errno(errno, "open '" + path + "'");
        }
        records.push_back(
            {.name = std::move(name), .bytes = TRY(read_all(file.ref(), kRecordMax, path))});
    }
    return records;
}

}  // namespace pepita::cri
