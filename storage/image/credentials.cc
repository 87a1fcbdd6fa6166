#include "storage/image/credentials.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"
#include "storage/image_pull.h"

namespace pepita::storage {
namespace image {
namespace {

std::string in_lower_case(std::string_view text) {
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return lower;
}

void skip_blanks(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t,"), text.size()));
}

/// name=value or name="quoted \"value\"", at the front of `text`.
std::optional<std::pair<std::string, std::string>> take_parameter(std::string_view& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) {
        return std::nullopt;
    }
    std::string name = in_lower_case(text.substr(0, equals));
    text.remove_prefix(equals + 1);
    std::string value;
    if (!text.starts_with('"')) {
        value = text.substr(0, text.find_first_of(", \t"));
        text.remove_prefix(value.size());
        return std::pair(std::move(name), std::move(value));
    }
    for (std::size_t i = 1; i < text.size(); ++i) {
        if (text[i] == '"') {
            text.remove_prefix(i + 1);
            return std::pair(std::move(name), std::move(value));
        }
        if (text[i] == '\\' && i + 1 < text.size()) {
            ++i;
        }
        value.push_back(text[i]);
    }
    return std::nullopt;
}

}  // namespace

std::optional<Challenge> parse_challenge(std::string_view header) {
    Challenge challenge;
    const std::string scheme = in_lower_case(header.substr(0, header.find(' ')));
    if (scheme != "basic" && scheme != "bearer") {
        return std::nullopt;
    }
    challenge.scheme = scheme == "basic" ? Challenge::Scheme::Basic : Challenge::Scheme::Bearer;
    header.remove_prefix(scheme.size());
    for (skip_blanks(header); !header.empty(); skip_blanks(header)) {
        auto parameter = take_parameter(header);
        if (!parameter) {
            return std::nullopt;
        }
        challenge.parameters.insert(std::move(*parameter));
    }
    return challenge;
}

Result<std::string> base64_decoded(std::string_view text) {
    const std::size_t padding =
        text.ends_with("==") ? 2 : static_cast<std::size_t>(text.ends_with('='));
    std::string bytes(text.size() / 4 * 3, '\0');
    // SAFETY: EVP_DecodeBlock writes 3 bytes for 4 characters, which is what there is room for.
    const int size = text.size() % 4 != 0
                         ? -1
                         : ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                             reinterpret_cast<const unsigned char*>(text.data()),
                                             static_cast<int>(text.size()));
    if (size < 0 || static_cast<std::size_t>(size) < padding) {
        return Error(Code::InvalidArgument, "no base64");
    }
    bytes.resize(static_cast<std::size_t>(size) - padding);
    return bytes;
}

std::string base64_encoded(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
    // SAFETY: EVP_EncodeBlock writes 4 characters for 3 bytes, and a NUL.
    const int size = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                       reinterpret_cast<const unsigned char*>(bytes.data()),
                                       static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

}  // namespace image

Result<RegistryAuth> read_docker_config(std::string_view text, std::string_view registry) {
    using runtime::oci::Node;
    using runtime::oci::Object;
    const runtime::oci::Json json = TRY(runtime::oci::parse_json(text), "docker's config.json");
    const Object config = TRY(Node(json, "config.json").object());
    const bool is_docker = registry == "docker.io";
    const Object auths = TRY(config.object_or_empty("auths"));
    const std::string plain(registry);
    for (const std::string& name :
         {plain, "https://" + plain, "http://" + plain, plain + "/", "https://" + plain + "/v2/",
          std::string(is_docker ? "https://index.docker.io/v1/" : plain)}) {
        const auto entry = auths.find(name);
        if (!entry) {
            continue;
        }
        const Object auth = TRY(entry->object());
        RegistryAuth found{.username = TRY(auth.text_or_empty("username")),
                           .password = TRY(auth.text_or_empty("password")),
                           .auth = TRY(auth.text_or_empty("auth")),
                           .identity_token = TRY(auth.text_or_empty("identitytoken")),
                           .registry_token = TRY(auth.text_or_empty("registrytoken"))};
        if (found != RegistryAuth{}) {
            return found;
        }
    }
    const bool has_helper = TRY(config.object_or_empty("credHelpers")).find(plain).has_value() ||
                            !TRY(config.text_or_empty("credsStore")).empty();
    if (has_helper) {
        return Error(Code::Unsupported, "docker's config.json has the credentials of '" + plain +
                                            "' in a helper program, and none is called");
    }
    return RegistryAuth{};
}

}  // namespace pepita::storage
