#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

/// One definition of a struct's members that serves both directions of a protocol.
///
/// PEPITA_MESSAGE(Rlimit, pb::Rlimit, resource, soft, hard) in namespace pepita::runtime::api makes
/// `write_message(value, message)` and `read_message(message, value)`. The struct and the message
/// have the same member names. A member that the list lacks, has twice, or that the message lacks
/// does not compile: the list's names initialise a structured binding of the struct.

namespace pepita::runtime::api {

/// The functions that protoc generates for one field. Only those that exist for its type may be
/// called.
template <typename Get, typename Has, typename Set, typename Mutable, typename Add>
struct Field {
    Get get;
    Has has;
    Set set;
    Mutable get_mutable;
    Add add;
};
template <typename... Parts>
Field(Parts...) -> Field<Parts...>;

template <typename T>
struct MessageOf;  // specialised by PEPITA_MESSAGE

template <typename T>
concept HasMessage = requires { typename MessageOf<T>::Message; };

/// An enumeration on the wire. Specialise `kLast` for each enumeration that is sent.
template <typename T>
    requires std::is_enum_v<T>
inline constexpr T kLastOf = T{};
template <typename T>
concept Enumeration = std::is_enum_v<T>;

class MessageWriter {
public:
    template <typename T, typename M, typename F>
    void member(const T& value, M& message, const F& field) const {
        if constexpr (HasMessage<T>) {
            MessageOf<T>::pass(*this, value, *field.get_mutable(message));
        } else if constexpr (Enumeration<T>) {
            field.set(message, static_cast<std::underlying_type_t<T>>(value));
        } else if constexpr (std::same_as<T, char>) {
            field.set(message, std::string(1, value));
        } else {
            field.set(message, value);
        }
    }
    template <typename T, typename M, typename F>
    void member(const std::optional<T>& value, M& message, const F& field) const {
        if (value) {
            member(*value, message, field);
        }
    }
    template <typename T, typename M, typename F>
    void member(const std::vector<T>& values, M& message, const F& field) const {
        for (const T& value : values) {
            if constexpr (HasMessage<T>) {
                MessageOf<T>::pass(*this, value, *field.add(message));
            } else {
                field.get_mutable(message)->Add(T(value));
            }
        }
    }
};

/// Counts the values that no sender of ours writes.
class MessageReader {
public:
    bool is_valid() const { return is_valid_; }

    template <typename T, typename M, typename F>
    void member(T& value, const M& message, const F& field) {
        if constexpr (HasMessage<T>) {
            MessageOf<T>::pass(*this, value, field.get(message));
        } else if constexpr (Enumeration<T>) {
            const auto number = field.get(message);
            is_valid_ &= number <= static_cast<std::underlying_type_t<T>>(kLastOf<T>);
            value = static_cast<T>(number);
        } else if constexpr (std::same_as<T, char>) {
            const std::string& text = field.get(message);
            is_valid_ &= text.size() == 1;
            value = text.size() == 1 ? text.front() : value;
        } else {
            value = field.get(message);
        }
    }
    template <typename T, typename M, typename F>
    void member(std::optional<T>& value, const M& message, const F& field) {
        if (field.has(message)) {
            member(value.emplace(), message, field);
        }
    }
    template <typename T, typename M, typename F>
    void member(std::vector<T>& values, const M& message, const F& field) {
        for (const auto& from : field.get(message)) {
            if constexpr (HasMessage<T>) {
                MessageOf<T>::pass(*this, values.emplace_back(), from);
            } else {
                values.emplace_back(from);
            }
        }
    }

private:
    bool is_valid_ = true;
};

/// The message of a value. T: a struct with a PEPITA_MESSAGE.
template <HasMessage T>
typename MessageOf<T>::Message to_message(const T& value) {
    typename MessageOf<T>::Message message;
    const MessageWriter writer;
    MessageOf<T>::pass(writer, value, message);
    return message;
}

/// The value of a message; nullopt where a field has a value that its type does not.
template <HasMessage T>
std::optional<T> from_message(const typename MessageOf<T>::Message& message) {
    std::optional<T> value(std::in_place);
    MessageReader reader;
    MessageOf<T>::pass(reader, *value, message);
    return reader.is_valid() ? std::move(value) : std::nullopt;
}

}  // namespace pepita::runtime::api

// A macro for each of up to 64 arguments: __VA_OPT__ recursion, one more round for each level.
#define PEPITA_PARENTHESES ()
#define PEPITA_ROUNDS_4(...) __VA_ARGS__
#define PEPITA_ROUNDS_3(...) \
    PEPITA_ROUNDS_4(PEPITA_ROUNDS_4(PEPITA_ROUNDS_4(PEPITA_ROUNDS_4(__VA_ARGS__))))
#define PEPITA_ROUNDS_2(...) \
    PEPITA_ROUNDS_3(PEPITA_ROUNDS_3(PEPITA_ROUNDS_3(PEPITA_ROUNDS_3(__VA_ARGS__))))
#define PEPITA_ROUNDS(...) \
    PEPITA_ROUNDS_2(PEPITA_ROUNDS_2(PEPITA_ROUNDS_2(PEPITA_ROUNDS_2(__VA_ARGS__))))
#define PEPITA_FOR_EACH(macro, ...) \
    __VA_OPT__(PEPITA_ROUNDS(PEPITA_FOR_EACH_STEP(macro, __VA_ARGS__)))
#define PEPITA_FOR_EACH_STEP(macro, first, ...) \
    macro(first) __VA_OPT__(PEPITA_FOR_EACH_AGAIN PEPITA_PARENTHESES(macro, __VA_ARGS__))
#define PEPITA_FOR_EACH_AGAIN() PEPITA_FOR_EACH_STEP

#define PEPITA_FIELD(name)                                                                     \
    ::pepita::runtime::api::Field {                                                            \
        [](const auto& m) -> decltype(auto) { return m.name(); },                              \
            [](const auto& m) { return m.has_##name(); },                                      \
            [](auto& m, auto&& v) { m.set_##name(std::forward<decltype(v)>(v)); },             \
            [](auto& m) { return m.mutable_##name(); }, [](auto& m) { return m.add_##name(); } \
    }

#define PEPITA_PASS_MEMBER(name) pass_.member(value_.name, message_, PEPITA_FIELD(name));

#define PEPITA_MESSAGE(Struct, MessageType, first, ...)                             \
    template <>                                                                     \
    struct MessageOf<Struct> {                                                      \
        using Message = MessageType;                                                \
        static void pass(auto& pass_, auto& value_, auto& message_) {               \
            { [[maybe_unused]] auto& [first __VA_OPT__(, ) __VA_ARGS__] = value_; } \
            PEPITA_FOR_EACH(PEPITA_PASS_MEMBER, first __VA_OPT__(, ) __VA_ARGS__)   \
        }                                                                           \
    };
