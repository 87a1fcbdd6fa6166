#include "runtime/log_json.h"

#include <initializer_list>
#include <string>
#include <string_view>

#include "kernel-abi/sys/log.h"
#include "runtime/oci/json.h"
#include "runtime/state.h"

namespace pepita::runtime {

std::string log_json(std::string_view level, std::string_view text,
                     std::initializer_list<log::Field> fields) {
    oci::OrderedJson line{{"level", level}, {"msg", text}, {"time", timestamp_now()}};
    for (const log::Field& field : fields) {
        line.emplace(field.key, field.value);
    }
    return oci::dump(line) + "\n";
}

}  // namespace pepita::runtime
