#include "runtime/rpc/log_json.h"

#include <time.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/log.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime {

std::string timestamp_now() {
    const time_t now = ::time(nullptr);
    struct tm parts{};
    ::gmtime_r(&now, &parts);
    std::array<char, 32> text{};
    const std::size_t size = ::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text.data(), size};
}

std::string log_json(std::string_view level, std::string_view text,
                     const std::vector<log::Field>& fields) {
    oci::OrderedJson line{{"level", level}, {"msg", text}, {"time", timestamp_now()}};
    for (const log::Field& field : fields) {
        line.emplace(field.key, field.value);
    }
    return oci::dump(line) + "\n";
}

}  // namespace pepita::runtime
