#include "cri/cni/result.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cri/cni.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;
using runtime::oci::Json;
using runtime::oci::Node;
using runtime::oci::Object;

constexpr std::uint64_t kUint32Max = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kTextMax = 4096;
constexpr std::size_t kWordsMax = 1024;  // of a plugin, in one message

/// 32 or 128 for an address, 0 for what is none.
unsigned bits_of(const std::string& address) {
    std::array<std::byte, sizeof(in6_addr)> into{};
    if (::inet_pton(AF_INET, address.c_str(), into.data()) == 1) {
        return 32;
    }
    return ::inet_pton(AF_INET6, address.c_str(), into.data()) == 1 ? 128 : 0;
}

bool is_network(const std::string& text) {
    const std::size_t slash = text.find('/');
    if (slash == std::string::npos) {
        return false;
    }
    unsigned length = 0;
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + slash + 1, end, length);
    const unsigned bits = bits_of(text.substr(0, slash));
    return parsed.ec == std::errc() && parsed.ptr == end && bits > 0 && length <= bits;
}

bool is_mac(std::string_view text) {
    constexpr std::size_t mac_size = 17;  // 00:00:00:00:00:00
    if (text.size() != mac_size) {
        return false;
    }
    for (std::size_t at = 0; at < mac_size; ++at) {
        const bool is_digit =
            std::string_view("0123456789abcdefABCDEF").find(text[at]) != std::string_view::npos;
        if (at % 3 == 2 ? text[at] != ':' : !is_digit) {
            return false;
        }
    }
    return true;
}

Result<std::string> bounded_text(const Object& object, std::string_view name) {
    std::string text = TRY(object.text_or_empty(name));
    if (text.size() > kTextMax) {
        return object.node().invalid(std::string(name) + " is longer than 4096 bytes");
    }
    return text;
}

Result<std::vector<Node>> bounded_list(const Object& object, std::string_view name) {
    const auto node = object.find(name);
    if (!node) {
        return std::vector<Node>();
    }
    std::vector<Node> nodes = TRY(node->elements());
    if (nodes.size() > kCniListMax) {
        return node->invalid("has more than 1024 elements");
    }
    return nodes;
}

Result<std::optional<std::uint32_t>> number(const Object& object, std::string_view name) {
    const auto node = object.find(name);
    if (!node) {
        return std::optional<std::uint32_t>();
    }
    return std::optional(static_cast<std::uint32_t>(TRY(node->natural(kUint32Max))));
}

Result<CniInterface> parse_interface(const Node& node) {
    const Object object = TRY(node.object());
    CniInterface interface;
    interface.name = TRY(bounded_text(object, "name"));
    interface.mac = TRY(bounded_text(object, "mac"));
    interface.sandbox = TRY(bounded_text(object, "sandbox"));
    interface.mtu = TRY(number(object, "mtu")).value_or(0);
    // Infiniband's are longer, and nothing that a microVM could have.
    if (!interface.mac.empty() && !is_mac(interface.mac)) {
        return node.invalid("mac: " + in_quotes(interface.mac) + " is no MAC address");
    }
    return interface;
}

Result<CniAddress> parse_address(const Node& node, std::size_t interfaces) {
    const Object object = TRY(node.object());
    CniAddress address;
    address.address = TRY(bounded_text(object, "address"));
    if (!is_network(address.address)) {
        return node.invalid("address: " + in_quotes(address.address) +
                            " is no address with a prefix length");
    }
    address.gateway = TRY(bounded_text(object, "gateway"));
    if (!address.gateway.empty() && bits_of(address.gateway) == 0) {
        return node.invalid("gateway: " + in_quotes(address.gateway) + " is no address");
    }
    if (const auto index = object.find("interface")) {
        const std::int64_t value = TRY(index->integer(-1, static_cast<std::int64_t>(kCniListMax)));
        if (value >= static_cast<std::int64_t>(interfaces)) {
            return index->invalid("names no interface of the result");
        }
        if (value >= 0) {  // -1 is what some plugins write for none
            address.interface = static_cast<std::size_t>(value);
        }
    }
    return address;
}

Result<CniRoute> parse_route(const Node& node) {
    const Object object = TRY(node.object());
    CniRoute route;
    route.destination = TRY(bounded_text(object, "dst"));
    if (!is_network(route.destination)) {
        return node.invalid("dst: " + in_quotes(route.destination) + " is no network");
    }
    route.gateway = TRY(bounded_text(object, "gw"));
    if (!route.gateway.empty() && bits_of(route.gateway) == 0) {
        return node.invalid("gw: " + in_quotes(route.gateway) + " is no address");
    }
    route.mtu = TRY(number(object, "mtu")).value_or(0);
    route.advmss = TRY(number(object, "advmss")).value_or(0);
    route.priority = TRY(number(object, "priority"));
    route.table = TRY(number(object, "table"));
    route.scope = TRY(number(object, "scope"));
    return route;
}

Result<CniDns> parse_dns(const Object& result) {
    const Object object = TRY(result.object_or_empty("dns"));
    return CniDns{.name_servers = TRY(object.texts_or_empty("nameservers")),
                  .domain = TRY(bounded_text(object, "domain")),
                  .search = TRY(object.texts_or_empty("search")),
                  .options = TRY(object.texts_or_empty("options"))};
}

// spec 1.1 §Error
Code code_of(std::uint64_t number) {
    switch (number) {
        case 2:  // unsupported field
        case 4:  // invalid environment
        case 7:  // invalid network configuration
            return Code::InvalidArgument;
        case 3:  // unknown container
            return Code::NotFound;
        case 11:  // try again later
        case 50:  // the plugin cannot serve
        case 51:  // nor connect containers
            return Code::Unavailable;
        default:
            return Code::FailedPrecondition;
    }
}

struct PluginError {
    std::uint64_t code = 0;
    std::string words;
};

Result<PluginError> parse_error_object(std::string_view output) {
    const Json json = TRY(runtime::oci::parse_json(output));
    const Object object = TRY(Node(json, "error").object());
    PluginError error;
    error.code = TRY(TRY(object.require("code")).natural(kUint32Max));
    error.words = TRY(object.text_or_empty("msg"));
    if (const std::string details = TRY(object.text_or_empty("details")); !details.empty()) {
        error.words += error.words.empty() ? details : ": " + details;
    }
    return error;
}

}  // namespace

Result<CniResult> parse_cni_result(const Json& json) {
    const Object object = TRY(Node(json, "result").object());
    CniResult result;
    for (const Node& node : TRY(bounded_list(object, "interfaces"))) {
        result.interfaces.push_back(TRY(parse_interface(node)));
    }
    for (const Node& node : TRY(bounded_list(object, "ips"))) {
        result.ips.push_back(TRY(parse_address(node, result.interfaces.size())));
    }
    for (const Node& node : TRY(bounded_list(object, "routes"))) {
        result.routes.push_back(TRY(parse_route(node)));
    }
    result.dns = TRY(parse_dns(object));
    return result;
}

Error parse_cni_error(std::string_view output, std::string_view errors, std::string_view ending) {
    if (auto error = parse_error_object(output)) {
        return {code_of(error->code),
                printable(std::string_view(error->words).substr(0, kWordsMax)) + " (CNI error " +
                    std::to_string(error->code) + ")"};
    }
    std::string_view words = errors.empty() ? output : errors;
    words = words.substr(0, std::min(words.size(), kWordsMax));
    while (words.ends_with('\n')) {
        words.remove_suffix(1);
    }
    return {Code::FailedPrecondition,
            std::string(ending) + (words.empty() ? "" : ": " + printable(words))};
}

}  // namespace pepita::cri
