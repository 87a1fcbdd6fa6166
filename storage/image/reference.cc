#include "storage/image/reference.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "storage/digest.h"

namespace pepita::storage::image {
namespace {

constexpr std::size_t kReferenceMax = 1024;
constexpr std::size_t kRepositoryMax = 255;
constexpr std::size_t kTagMax = 128;

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) { return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z'); }

/// Lower case and digits, with ".", "_", "__" or any number of "-" between them.
bool is_component(std::string_view text) {
    if (text.empty() || !(is_lower(text.front()) || is_digit(text.front()))) {
        return false;
    }
    while (!text.empty()) {
        const auto word =
            std::ranges::find_if_not(text, [](char c) { return is_lower(c) || is_digit(c); });
        text.remove_prefix(static_cast<std::size_t>(word - text.begin()));
        if (text.empty()) {
            return true;
        }
        const std::size_t separator = text.front() == '-'
                                          ? std::min(text.find_first_not_of('-'), text.size())
                                      : text.starts_with("__")                     ? 2
                                      : text.front() == '.' || text.front() == '_' ? 1
                                                                                   : 0;
        text.remove_prefix(separator);
        if (separator == 0 || text.empty() || !(is_lower(text.front()) || is_digit(text.front()))) {
            return false;
        }
    }
    return true;
}

bool is_tag(std::string_view text) {
    return !text.empty() && text.size() <= kTagMax && text.front() != '.' && text.front() != '-' &&
           std::ranges::all_of(
               text, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

bool is_registry(std::string_view text) {
    std::string_view host = text;
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos ||
            !std::ranges::all_of(text.substr(1, end - 1), [](char c) {
                return is_digit(c) || c == ':' || c == '.' || (c >= 'a' && c <= 'f');
            })) {
            return false;
        }
        host = text.substr(0, end + 1);
    } else {
        host = text.substr(0, text.find(':'));
        if (host.empty() || host.front() == '-' || host.front() == '.' ||
            !std::ranges::all_of(
                host, [](char c) { return is_alphanumeric(c) || c == '.' || c == '-'; })) {
            return false;
        }
    }
    const std::string_view port = text.substr(host.size());
    std::uint16_t number = 0;
    const auto [end, error] = std::from_chars(port.data() + std::min<std::size_t>(port.size(), 1),
                                              port.data() + port.size(), number);
    return port.empty() || (port.front() == ':' && error == std::errc() &&
                            end == port.data() + port.size() && number != 0);
}

bool is_repository(std::string_view text) {
    if (text.empty() || text.size() > kRepositoryMax || text.ends_with('/')) {
        return false;
    }
    while (!text.empty()) {
        const std::string_view component = text.substr(0, text.find('/'));
        if (!is_component(component)) {
            return false;
        }
        text.remove_prefix(std::min(text.size(), component.size() + 1));
    }
    return true;
}

}  // namespace

Result<Reference> parse_reference(std::string_view text) {
    const auto invalid = [&](std::string_view why) {
        return Error(Code::InvalidArgument, "'" + printable(text.substr(0, 256)) +
                                                "' names no image: " + std::string(why));
    };
    if (text.size() > kReferenceMax) {
        return invalid("it is too long");
    }
    Reference reference;
    std::string_view rest = text;
    if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
        reference.digest = TRY(parse_digest(rest.substr(at + 1)));
        if (!rest.substr(at + 1).starts_with("sha256:")) {
            return invalid("its digest has no algorithm");
        }
        rest = rest.substr(0, at);
    }
    const std::size_t slash = rest.rfind('/');
    const std::size_t colon = rest.find(':', slash == std::string_view::npos ? 0 : slash);
    if (colon != std::string_view::npos) {
        reference.tag = rest.substr(colon + 1);
        rest = rest.substr(0, colon);
        if (!is_tag(reference.tag)) {
            return invalid("its tag is none");
        }
    } else if (!reference.digest) {
        reference.tag = "latest";
    }
    const std::size_t first_slash = rest.find('/');
    const std::string_view first =
        first_slash == std::string_view::npos ? "" : rest.substr(0, first_slash);
    const bool has_registry =
        first.find_first_of(".:") != std::string_view::npos || first == "localhost" ||
        std::ranges::any_of(first, [](char c) { return c >= 'A' && c <= 'Z'; });
    reference.registry = has_registry ? first : "docker.io";
    reference.repository = has_registry ? rest.substr(first_slash + 1) : rest;
    if (reference.registry == "index.docker.io") {
        reference.registry = "docker.io";
    }
    if (reference.registry == "docker.io" && reference.repository.find('/') == std::string::npos) {
        reference.repository.insert(0, "library/");
    }
    if (!is_registry(reference.registry)) {
        return invalid("its registry is none");
    }
    if (!is_repository(reference.repository)) {
        return invalid("its repository is none");
    }
    return reference;
}

}  // namespace pepita::storage::image
