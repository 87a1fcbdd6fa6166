#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime::oci {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // keeps the order it was written in

inline constexpr std::size_t kJsonSizeMax = std::size_t{4} << 20U;
inline constexpr std::size_t kJsonDepthMax = 64;

/// Foreign text in quotes, as printable() writes it; of a longer one, the first 80 bytes.
std::string in_quotes(std::string_view text);

/// Whether a text may hold comments as C has them: files that people write.
enum class Comments : bool { Refused, Allowed };

/// Parses one JSON value and nothing after it.
/// Errors: InvalidArgument over a limit, for what is no JSON (with line and column), and for a
/// member given twice, of which two readers could see different ones.
Result<Json> parse_json(std::string_view text, Comments comments = Comments::Refused);

/// Text of a value built by us. Bytes that are no UTF-8 become U+FFFD rather than an abort.
std::string dump(const OrderedJson& value, int indent = -1);

class Object;

/// A value somewhere in a document that came from outside, and the path to it for error messages.
/// Every access checks the type: the library's own unchecked ones would abort.
class Node {
public:
    /// `value` is borrowed for as long as the Node and what came of it are used.
    Node(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {}

    const std::string& path() const { return path_; }

    Error invalid(std::string_view why) const;
    Error unsupported(std::string_view why = "is not supported") const;

    /// A string without NUL, which the kernel's interfaces would cut it at.
    Result<std::string> text() const;
    Result<bool> boolean() const;
    Result<std::int64_t> integer(std::int64_t min, std::int64_t max) const;
    Result<std::uint64_t> natural(std::uint64_t max) const;
    Result<std::vector<Node>> elements() const;
    Result<std::vector<std::string>> texts() const;
    Result<Object> object() const;
    /// The members of an object whose names are data.
    Result<std::vector<std::pair<std::string, Node>>> members() const;

    /// Null, false, "", [] and {}, and objects of nothing else: what generators write for "no".
    bool asks_nothing() const;

private:
    const Json* value_;
    std::string path_;
};

/// A Node that is known to be an object.
class Object {
public:
    const Node& node() const { return node_; }

    /// A member; null counts as absent, as in every reader of these files.
    std::optional<Node> find(std::string_view name) const;
    Result<Node> require(std::string_view name) const;

    /// Absent: "".
    Result<std::string> text_or_empty(std::string_view name) const;
    Result<bool> boolean_or_false(std::string_view name) const;
    Result<Object> object_or_empty(std::string_view name) const;
    Result<std::vector<std::string>> texts_or_empty(std::string_view name) const;

    /// Unsupported for the first of `names` that is there and asks for something.
    Result<void> refuse(std::initializer_list<std::string_view> names) const;

private:
    friend class Node;
    Object(Node node, const Json& value) : node_(std::move(node)), value_(&value) {}
    Node node_;
    const Json* value_;
};

}  // namespace pepita::runtime::oci
