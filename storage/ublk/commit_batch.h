#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/uapi/ublk.h"

namespace pepita::storage::ublk {

/// What a queue has to tell the kernel of its tags, as elements of commands for many
/// (kUblkFBatchIo). One command is under way at a time; what is added meanwhile waits for the next.
class CommitBatch {
public:
    /// Each: an element also says where the tag's buffer is.
    enum class Addresses : std::uint8_t { None, Each };

    explicit CommitBatch(Addresses addresses) : words_(addresses == Addresses::Each ? 2 : 1) {}

    std::uint8_t element_size() const {
        return static_cast<std::uint8_t>(words_ * sizeof(std::uint64_t));
    }

    void add(const abi::UblkElemHeader& header, std::uint64_t address) {
        waiting_.push_back(std::bit_cast<std::uint64_t>(header));
        if (words_ == 2) {
            waiting_.push_back(address);
        }
    }

    /// The elements of the next command, which stay where they are until on_taken(). Empty where
    /// one is under way, and where nothing waits.
    std::span<const std::uint64_t> send() {
        if (!sent_.empty()) {
            return {};
        }
        std::swap(sent_, waiting_);
        return sent_;
    }
    std::uint16_t count(std::span<const std::uint64_t> elements) const {
        return static_cast<std::uint16_t>(elements.size() / words_);
    }

    /// The command has come back, and the kernel took so many bytes of it. The rest waits again.
    void on_taken(std::size_t bytes) {
        const auto taken = static_cast<std::ptrdiff_t>(bytes / element_size() * words_);
        waiting_.insert(waiting_.begin(), sent_.begin() + taken, sent_.end());
        sent_.clear();
    }

    /// Nothing waits, and nothing is under way.
    bool is_empty() const { return sent_.empty() && waiting_.empty(); }

private:
    std::size_t words_;
    std::vector<std::uint64_t> waiting_;
    std::vector<std::uint64_t> sent_;
};

}  // namespace pepita::storage::ublk
