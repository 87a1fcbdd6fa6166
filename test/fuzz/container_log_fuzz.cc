#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/check.h"
#include "shim/container_log.h"

// A container that writes anything at all, in pieces of any size (the first two bytes): the records
// together are what it wrote.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace shim = pepita::shim;
    constexpr std::string_view head = "1970-01-01T00:00:00.000000000Z stdout P ";
    if (size < 2) {
        return 0;
    }
    const std::size_t piece = std::size_t{data[0]} * 256 + data[1] + 1;
    const auto bytes = std::span(data, size).subspan(2);
    const std::string output(bytes.begin(), bytes.end());
    shim::LogRecords records(shim::LogStream::Stdout);
    std::string out;
    for (std::size_t at = 0; at < output.size(); at += piece) {
        records.add(std::string_view(output).substr(at, piece), {}, out);
    }
    records.end({}, out);
    std::string joined;
    for (std::string_view left = out; !left.empty();) {
        const std::string_view record = left.substr(0, left.find('\n'));
        CHECK(record.size() >= head.size() && record.size() < left.size());
        CHECK(record.size() - head.size() <= shim::LogRecords::kLineMax);
        const char mark = record[head.size() - 2];
        CHECK(mark == 'P' || mark == 'F');
        joined += record.substr(head.size());
        joined += mark == 'F' ? "\n" : "";
        left.remove_prefix(record.size() + 1);
    }
    CHECK(joined == output);
    return 0;
}
