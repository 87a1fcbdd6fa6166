#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/streaming/framing.h"

namespace pepita::cri {

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

/// What happened, as text.
class Recorder final : public StreamEvents {
public:
    void on_open(StreamId id, const StreamHeaders& headers) override {
        log.push_back("open " + number(id) + " " + std::string(header(headers, "streamtype")));
    }
    void on_data(StreamId id, std::span<const std::byte> bytes) override {
        log.push_back("data " + number(id) + " " +
                      std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    }
    void on_finish(StreamId id) override { log.push_back("finish " + number(id)); }
    void on_reset(StreamId id) override { log.push_back("reset " + number(id)); }

    std::vector<std::string> log;

private:
    static std::string number(StreamId id) { return std::to_string(std::to_underlying(id)); }
};

}  // namespace pepita::cri
