#include "cri/node_metrics.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

// The format: prometheus.io/docs/instrumenting/exposition_formats.

namespace pepita::cri {
namespace {

void append_head(std::string& text, std::string_view name, std::string_view type,
                 std::string_view help) {
    text.append("# HELP ").append(name).append(" ").append(help);
    text.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
}

void append_sample(std::string& text, std::string_view name, const std::string& labels,
                   const std::string& value) {
    text.append(name);
    if (!labels.empty()) {
        text.append("{").append(labels).append("}");
    }
    text.append(" ").append(value).append("\n");
}

/// "0.05" of 50 ms.
std::string seconds(std::chrono::nanoseconds time) {
    constexpr std::int64_t second = 1'000'000'000;
    std::string digits = std::to_string(time.count() % second);
    digits.insert(0, 9 - digits.size(), '0');
    digits.erase(digits.find_last_not_of('0') + 1);
    return std::to_string(time.count() / second) + (digits.empty() ? "" : "." + digits);
}

std::string label(std::string_view key, std::string_view value) {
    return std::string(key).append("=\"").append(value).append("\"");
}

}  // namespace

void Histogram::observe(std::chrono::nanoseconds time) {
    for (std::size_t i = 0; i < kBounds.size(); ++i) {
        counts_[i] += time <= kBounds[i] ? 1U : 0U;
    }
    ++count_;
    sum_ += time;
}

void Histogram::append_to(std::string& text, std::string_view name,
                          const std::string& labels) const {
    const std::string bucket = std::string(name) + "_bucket";
    const std::string before = labels.empty() ? "" : labels + ",";
    for (std::size_t i = 0; i < kBounds.size(); ++i) {
        append_sample(text, bucket, before + label("le", seconds(kBounds[i])),
                      std::to_string(counts_[i]));
    }
    append_sample(text, bucket, before + label("le", "+Inf"), std::to_string(count_));
    append_sample(text, std::string(name) + "_sum", labels, seconds(sum_));
    append_sample(text, std::string(name) + "_count", labels, std::to_string(count_));
}

void NodeMetrics::observe_call(std::string_view method, const Result<void>& result,
                               std::chrono::nanoseconds time) {
    const bool is_known = result || result.error().code() != Code::Unsupported;
    const std::string_view name = method.substr(method.rfind('/') + 1);
    auto found = methods_.find(name);
    if (found == methods_.end()) {
        const bool has_room = is_known && methods_.size() < kMethodsMax;
        found = methods_.try_emplace(has_room ? std::string(name) : "other").first;
    }
    found->second.times.observe(time);
    ++found->second.codes[result ? "OK" : to_string(result.error().code())];
}

std::string NodeMetrics::text(const NodeCensus& census) const {
    std::string text;
    append_head(text, "pepita_build_info", "gauge", "The version, as a label.");
    append_sample(text, "pepita_build_info", label("version", version_), "1");
    append_head(text, "pepita_pods", "gauge", "Pods by their state.");
    const auto state = [&text](std::string_view name, std::string_view which, std::size_t count) {
        append_sample(text, name, label("state", which), std::to_string(count));
    };
    state("pepita_pods", "ready", census.pods_ready);
    state("pepita_pods", "not_ready", census.pods_not_ready);
    append_head(text, "pepita_containers", "gauge", "Containers by their state.");
    state("pepita_containers", "created", census.containers_created);
    state("pepita_containers", "running", census.containers_running);
    state("pepita_containers", "exited", census.containers_exited);
    state("pepita_containers", "unknown", census.containers_unknown);
    append_head(text, "pepita_image_bytes", "gauge",
                "What the store of images takes on its disk, as of the scrape before.");
    append_sample(text, "pepita_image_bytes", "", std::to_string(census.image_bytes));
    append_head(text, "pepita_pod_boot_seconds", "histogram",
                "From the start of a pod's shim until its guest answered.");
    boots_.append_to(text, "pepita_pod_boot_seconds", "");
    append_head(text, "pepita_cri_requests_total", "counter",
                "Answered calls of CRI by their end.");
    for (const auto& [name, method] : methods_) {
        for (const auto& [code, count] : method.codes) {
            append_sample(text, "pepita_cri_requests_total",
                          label("method", name) + "," + label("code", code), std::to_string(count));
        }
    }
    append_head(text, "pepita_cri_request_seconds", "histogram",
                "From a call of CRI until its answer was complete.");
    for (const auto& [name, method] : methods_) {
        method.times.append_to(text, "pepita_cri_request_seconds", label("method", name));
    }
    return text;
}

}  // namespace pepita::cri
