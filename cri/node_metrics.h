#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// How often something took how long. Of fixed size.
class Histogram {
public:
    /// Upper bounds; what takes longer is counted too.
    static constexpr std::array<std::chrono::milliseconds, 12> kBounds{
        {std::chrono::milliseconds(1), std::chrono::milliseconds(5), std::chrono::milliseconds(10),
         std::chrono::milliseconds(50), std::chrono::milliseconds(100),
         std::chrono::milliseconds(500), std::chrono::milliseconds(1000),
         std::chrono::milliseconds(2500), std::chrono::milliseconds(5000),
         std::chrono::milliseconds(10'000), std::chrono::milliseconds(30'000),
         std::chrono::milliseconds(120'000)}};

    void observe(std::chrono::nanoseconds time);
    /// The lines of one histogram; `labels`: none, or such as "method=\"Version\"".
    void append_to(std::string& text, std::string_view name, const std::string& labels) const;

private:
    std::array<std::uint64_t, kBounds.size()> counts_{};
    std::uint64_t count_ = 0;
    std::chrono::nanoseconds sum_{0};
};

/// What is on this node now.
struct NodeCensus {
    std::size_t pods_ready = 0;
    std::size_t pods_not_ready = 0;
    std::size_t containers_created = 0;
    std::size_t containers_running = 0;
    std::size_t containers_exited = 0;
    std::size_t containers_unknown = 0;
    std::uint64_t image_bytes = 0;

    friend bool operator==(const NodeCensus&, const NodeCensus&) = default;
};

/// The node's metrics for Prometheus. Its size is bounded: methods that are not CRI's are one.
/// Thread: one.
class NodeMetrics {
public:
    static constexpr std::size_t kMethodsMax = 64;  // CRI has fewer

    explicit NodeMetrics(std::string version) : version_(std::move(version)) {}

    /// `method`: "/runtime.v1.RuntimeService/Version".
    void observe_call(std::string_view method, const Result<void>& result,
                      std::chrono::nanoseconds time);
    /// A pod's, from the start of its shim until its guest answered.
    void observe_boot(std::chrono::nanoseconds time) { boots_.observe(time); }

    /// In Prometheus's text format, version 0.0.4.
    std::string text(const NodeCensus& census) const;

private:
    struct Method {
        Histogram times;
        std::map<std::string_view, std::uint64_t> codes;  // names of Code, or "OK"
    };
    std::string version_;
    std::map<std::string, Method, std::less<>> methods_;
    Histogram boots_;
};

}  // namespace pepita::cri
