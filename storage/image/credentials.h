#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"

namespace pepita::storage::image {

/// What a registry answers with 401. Source: RFC 9110 §11.6.1; distribution's token specification.
struct Challenge {
    enum class Scheme : std::uint8_t { Basic, Bearer };
    Scheme scheme = Scheme::Basic;
    std::map<std::string, std::string> parameters;  // names in lower case
};

/// Nothing where it has neither scheme, or cannot be read.
std::optional<Challenge> parse_challenge(std::string_view header);

/// Errors: InvalidArgument.
Result<std::string> base64_decoded(std::string_view text);
std::string base64_encoded(std::string_view bytes);

}  // namespace pepita::storage::image
