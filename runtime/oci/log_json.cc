#include "runtime/oci/log_json.h"

#include <string>
#include <string_view>

#include "runtime/oci/json.h"

namespace pepita::runtime::oci {

std::string log_json(std::string_view level, std::string_view message, std::string_view time) {
    return dump({{"level", level}, {"msg", message}, {"time", time}}) + "\n";
}

}  // namespace pepita::runtime::oci
