#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace pepita {

/// How many descriptors this process has, and the one that this count opens.
inline std::size_t open_descriptors() {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

}  // namespace pepita
