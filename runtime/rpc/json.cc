#include "runtime/rpc/json.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"

namespace pepita::runtime::oci {
namespace {

Error malformed(std::string why) { return {Code::InvalidArgument, std::move(why)}; }

/// "line 3, column 14" of a byte offset.
std::string place(std::string_view text, std::size_t offset) {
    const std::string_view before = text.substr(0, std::min(offset, text.size()));
    const auto line = 1 + std::ranges::count(before, '\n');
    const std::size_t start = before.rfind('\n');  // npos + 1 is 0
    return "line " + std::to_string(line) + ", column " +
           std::to_string(std::max<std::size_t>(before.size() - start - 1, 1));
}

/// Builds the document as the library's own builder does, and refuses what that one lets pass:
/// depth without end, and members given twice.
// NOLINTNEXTLINE(misc-include-cleaner): json.hpp is its documented header.
class Builder final : public nlohmann::json_sax<Json> {
public:
    explicit Builder(std::string_view text) : text_(text) {}

    bool null() override { return add(nullptr); }
    bool boolean(bool value) override { return add(value); }
    bool number_integer(std::int64_t value) override { return add(value); }
    bool number_unsigned(std::uint64_t value) override { return add(value); }
    bool number_float(double value, const std::string& /*text*/) override { return add(value); }
    bool string(std::string& value) override { return add(std::move(value)); }
    bool binary(Json::binary_t& /*value*/) override { return false; }  // JSON text has none
    bool start_object(std::size_t /*size*/) override { return open(Json::object()); }
    bool start_array(std::size_t /*size*/) override { return open(Json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }

    bool key(std::string& value) override {
        auto& members = open_.back()->get_ref<Json::object_t&>();
        const auto [member, is_new] = members.try_emplace(value);
        if (!is_new) {
            error_ = "member " + in_quotes(value) + " is there twice";
            return false;
        }
        target_ = &member->second;
        return true;
    }

    bool parse_error(std::size_t position, const std::string& /*last_token*/,
                     const Json::exception& /*error*/) override {
        error_ = place(text_, position) + ": not JSON";
        return false;
    }

    Json take_document() { return std::move(document_); }
    std::string take_error() { return std::move(error_); }

private:
    Json& add(Json value) {
        if (open_.empty()) {
            return document_ = std::move(value);
        }
        if (open_.back()->is_array()) {
            return open_.back()->get_ref<Json::array_t&>().emplace_back(std::move(value));
        }
        return *target_ = std::move(value);
    }
    template <typename T>
    bool add(T&& value) {
        add(Json(std::forward<T>(value)));
        return true;
    }
    bool open(Json container) {
        if (open_.size() == kJsonDepthMax) {
            error_ = "nested more than " + std::to_string(kJsonDepthMax) + " deep";
            return false;
        }
        // SAFETY: the address stays good while the container is open: only the innermost open array
        // grows, and none of the open ones lies in it but as its last element.
        open_.push_back(&add(std::move(container)));
        return true;
    }
    bool close() {
        open_.pop_back();
        return true;
    }

    std::string_view text_;
    Json document_;
    std::vector<Json*> open_;
    Json* target_ = nullptr;  // the value of the key that came last
    std::string error_;
};

bool asks_nothing(const Json& value) {
    if (value.is_null() || value == false) {
        return true;
    }
    if (const auto* text = value.get_ptr<const Json::string_t*>()) {
        return text->empty();
    }
    if (const auto* elements = value.get_ptr<const Json::array_t*>()) {
        return elements->empty();
    }
    const auto* members = value.get_ptr<const Json::object_t*>();
    return members != nullptr && std::ranges::all_of(*members, [](const auto& member) {
               return asks_nothing(member.second);
           });
}

}  // namespace

std::string in_quotes(std::string_view text) {
    constexpr std::size_t shown_max = 80;
    std::size_t shown = 0;
    while (shown < std::min(text.size(), shown_max)) {
        shown += std::max<std::size_t>(utf8_character(text.substr(shown)), 1);  // none cut in two
    }
    return "'" + printable(text.substr(0, shown)) + (text.size() > shown ? "…'" : "'");
}

Result<Json> parse_json(std::string_view text, Comments comments) {
    if (text.size() > kJsonSizeMax) {
        return malformed("larger than " + std::to_string(kJsonSizeMax) + " bytes");
    }
    Builder builder(text);
    if (!Json::sax_parse(text, &builder, Json::input_format_t::json, true,
                         comments == Comments::Allowed)) {
        return malformed(builder.take_error());
    }
    return builder.take_document();
}

std::string dump(const OrderedJson& value, int indent) {
    return value.dump(indent, ' ', false, OrderedJson::error_handler_t::replace);
}

Error Node::invalid(std::string_view why) const {
    return malformed((path_.empty() ? "" : path_ + ": ").append(why));
}

Error Node::unsupported(std::string_view why) const {
    return {Code::Unsupported, (path_.empty() ? "" : path_ + ": ").append(why)};
}

Result<std::string> Node::text() const {
    const auto* text = value_->get_ptr<const Json::string_t*>();
    if (text == nullptr) {
        return invalid("must be a string");
    }
    if (text->contains('\0')) {
        return invalid("must not contain NUL");
    }
    return *text;
}

Result<bool> Node::boolean() const {
    const auto* flag = value_->get_ptr<const Json::boolean_t*>();
    if (flag == nullptr) {
        return invalid("must be true or false");
    }
    return *flag;
}

Result<std::int64_t> Node::integer(std::int64_t min, std::int64_t max) const {
    std::optional<std::int64_t> value;
    if (const auto* natural = value_->get_ptr<const Json::number_unsigned_t*>()) {
        if (std::in_range<std::int64_t>(*natural)) {
            value = static_cast<std::int64_t>(*natural);
        }
    } else if (const auto* number = value_->get_ptr<const Json::number_integer_t*>()) {
        value = *number;
    }
    if (!value || *value < min || *value > max) {
        return invalid("must be a whole number from " + std::to_string(min) + " to " +
                       std::to_string(max));
    }
    return *value;
}

Result<std::uint64_t> Node::natural(std::uint64_t max) const {
    const auto* value = value_->get_ptr<const Json::number_unsigned_t*>();
    if (value == nullptr || *value > max) {
        return invalid("must be a whole number from 0 to " + std::to_string(max));
    }
    return *value;
}

Result<std::vector<Node>> Node::elements() const {
    const auto* array = value_->get_ptr<const Json::array_t*>();
    if (array == nullptr) {
        return invalid("must be an array");
    }
    std::vector<Node> out;
    out.reserve(array->size());
    for (const Json& element : *array) {
        out.emplace_back(element, path_ + "[" + std::to_string(out.size()) + "]");
    }
    return out;
}

Result<std::vector<std::string>> Node::texts() const {
    std::vector<std::string> out;
    for (const Node& element : TRY(elements())) {
        out.push_back(TRY(element.text()));
    }
    return out;
}

Result<Object> Node::object() const {
    if (!value_->is_object()) {
        return invalid("must be an object");
    }
    return Object(*this, *value_);
}

Result<std::vector<std::pair<std::string, Node>>> Node::members() const {
    const auto* object = value_->get_ptr<const Json::object_t*>();
    if (object == nullptr) {
        return invalid("must be an object");
    }
    std::vector<std::pair<std::string, Node>> out;
    out.reserve(object->size());
    for (const auto& [name, value] : *object) {
        Node node(value, path_ + "[" + in_quotes(name) + "]");
        if (name.empty() || name.contains('\0')) {
            return node.invalid("must have a name, without NUL");
        }
        out.emplace_back(name, std::move(node));
    }
    return out;
}

bool Node::asks_nothing() const { return oci::asks_nothing(*value_); }

std::optional<Node> Object::find(std::string_view name) const {
    const auto member = value_->find(name);
    if (member == value_->end() || member->is_null()) {
        return std::nullopt;
    }
    const std::string& path = node_.path();
    return Node(*member, path.empty() ? std::string(name) : path + "." + std::string(name));
}

Result<Node> Object::require(std::string_view name) const {
    std::optional<Node> member = find(name);
    if (!member) {
        return Node(*value_, node_.path().empty() ? std::string(name)
                                                  : node_.path() + "." + std::string(name))
            .invalid("is missing");
    }
    return *std::move(member);
}

Result<std::string> Object::text_or_empty(std::string_view name) const {
    const std::optional<Node> member = find(name);
    return member ? member->text() : std::string();
}

Result<bool> Object::boolean_or_false(std::string_view name) const {
    const std::optional<Node> member = find(name);
    return member ? member->boolean() : false;
}

Result<Object> Object::object_or_empty(std::string_view name) const {
    static const Json empty = Json::object();
    const std::optional<Node> member = find(name);
    return member ? member->object() : Object(node_, empty);
}

Result<std::vector<std::string>> Object::texts_or_empty(std::string_view name) const {
    const std::optional<Node> member = find(name);
    return member ? member->texts() : std::vector<std::string>();
}

Result<void> Object::refuse(std::initializer_list<std::string_view> names) const {
    for (const std::string_view name : names) {
        const std::optional<Node> member = find(name);
        if (member && !member->asks_nothing()) {
            return member->unsupported();
        }
    }
    return {};
}

}  // namespace pepita::runtime::oci
