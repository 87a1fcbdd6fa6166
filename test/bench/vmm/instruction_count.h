#pragma once

#include <cstdint>

namespace pepita::bench {

/// The file that the plugin maps and a bench reads while the guest runs.
/// Units: guest instructions since reset, of a machine with one processor.
struct InstructionCounts {
    std::uint64_t total = 0;
    std::uint64_t kernel_entry =
        0;                         // when the first address of the kernel's own half was translated
    std::uint64_t init_entry = 0;  // when init's first instruction was translated
};

}  // namespace pepita::bench
