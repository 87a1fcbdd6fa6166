#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Small records by name, in one directory, each a file that is replaced as a whole: after a crash
/// it holds the old record or the new one. Thread: one.
class RecordStore {
public:
    /// Makes the directory where it is missing, for root alone. Removes what a crash left.
    static Result<RecordStore> open(const std::string& directory);

    Result<void> put(const std::string& name, std::string_view bytes);
    /// One that is not there is no error.
    Result<void> remove(const std::string& name);

    struct Record {
        std::string name;
        std::string bytes;
    };
    /// All of them, by name.
    Result<std::vector<Record>> all() const;

private:
    explicit RecordStore(std::string directory) : directory_(std::move(directory)) {}

    std::string directory_;
};

}  // namespace pepita::cri
