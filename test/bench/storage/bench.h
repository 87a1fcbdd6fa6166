#pragma once

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::bench {

/// The processor time of this process, its system calls included, in seconds.
inline double cpu_seconds() {
    rusage usage{};
    CHECK(::getrusage(RUSAGE_SELF, &usage) == 0);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The best of some runs, and how far the worst is from it.
class Best {
public:
    void add(double mb_per_second) {
        best_ = std::max(best_, mb_per_second);
        worst_ = worst_ == 0 ? mb_per_second : std::min(worst_, mb_per_second);
    }
    double best() const { return best_; }
    double spread_percent() const { return best_ == 0 ? 0 : 100 * (best_ - worst_) / best_; }

private:
    double best_ = 0;
    double worst_ = 0;
};

/// MB (10^6 bytes) for each second of processor time that `work` takes.
inline double speed_of(std::size_t bytes, const std::function<void()>& work) {
    const double before = cpu_seconds();
    work();
    return static_cast<double>(bytes) / 1e6 / std::max(cpu_seconds() - before, 1e-6);
}

/// A file's whole pages, in memory that is there already.
inline Result<Mapping> load_pages(const std::string& path) {
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
    const Bytes size(TRY(file_size(file.ref()), path).value() / kPageSize.value() *
                     kPageSize.value());
    Mapping mapping = TRY(Mapping::anonymous(size), path);
    TRY(read_exactly(file.ref(), mapping.bytes(), 0), path);
    return mapping;
}

}  // namespace pepita::bench
