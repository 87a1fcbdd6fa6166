#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::runtime {

// The one option grammar. A program has a table of rules; the parser, the printer and the help text
// read the same table, so that what is printed is parsed to an equal value.
//
//   constexpr auto kRules = std::to_array<OptionRule<Options>>({
//       option<&Options::id, Text>({.name = "id", .value_name = "ID", .help = "its name",
//                                   .occurs = Occurs::Required}),
//       option<&Options::vcpus, Number<1, Options::kVcpusMax>>({.name = "vcpus", ...}),
//       option<&Options::disks, List<Fields<kDiskRules>>>({.name = "disk", ...}),
//   });
//
// A codec such as Number has two static functions:
//   Result<void> parse(T& into, std::string_view text);   the error says what the text must be
//   void print(const T& from, std::vector<std::string>& values);   one value, or none if absent
//
// Fields is the codec of a struct: "key=value,flag,key=value", by a table of the same rules. A
// comma in a value is written twice.

/// How often an option is given.
enum class Occurs : std::uint8_t {
    Any,       // the last one wins, or each one adds to a list
    Once,      // a second one is an error
    Required,  // exactly once
};

/// The part of a rule that a reader sees.
struct OptionText {
    // NOLINTBEGIN(readability-redundant-string-init): designated initializers may omit them.
    std::string_view name = "";        // after "--", or the key of a field
    char letter = 0;                   // after "-"; 0: none
    std::string_view value_name = "";  // empty: a flag
    std::string_view help = "";
    // NOLINTEND(readability-redundant-string-init)
    std::uint32_t verbs = 1;  // a bit for each verb that has it
    Occurs occurs = Occurs::Any;
};

/// One option: its text, and what it does to the Options.
template <typename Options>
struct OptionRule : OptionText {
    Result<void> (*apply)(Options& options, std::string_view value) = nullptr;
    /// Appends one value for each time that the option is to be written. Null: never written.
    void (*print)(const Options& options, std::vector<std::string>& values) = nullptr;
};

namespace detail {

template <typename Object, typename Pointer, typename... Rest>
constexpr auto& follow(Object& object, Pointer pointer, Rest... rest) {
    if constexpr (sizeof...(rest) == 0) {
        return object.*pointer;
    } else {
        return follow(object.*pointer, rest...);
    }
}

template <typename Class, typename T>
Class class_of(T Class::* pointer);

}  // namespace detail

/// A member, or a member of a member: Member<&Outer::inner, &Inner::x>.
template <auto First, auto... Rest>
struct Member {
    using Options = decltype(detail::class_of(First));
    static auto& of(Options& object) { return detail::follow(object, First, Rest...); }
    static const auto& of(const Options& object) { return detail::follow(object, First, Rest...); }
};

/// A rule for one member, by a codec.
template <typename Which, typename Codec>
constexpr OptionRule<typename Which::Options> option(const OptionText& text) {
    using Options = typename Which::Options;
    OptionRule<Options> rule;
    static_cast<OptionText&>(rule) = text;
    rule.apply = [](Options& options, std::string_view value) {
        return Codec::parse(Which::of(options), value);
    };
    rule.print = [](const Options& options, std::vector<std::string>& values) {
        Codec::print(Which::of(options), values);
    };
    return rule;
}

template <auto Pointer, typename Codec>
constexpr auto option(const OptionText& text) {
    return option<Member<Pointer>, Codec>(text);
}

/// A rule that acts on the options as a whole, such as --help. Never printed.
template <typename Options>
constexpr OptionRule<Options> action(const OptionText& text,
                                     Result<void> (*apply)(Options&, std::string_view)) {
    OptionRule<Options> rule;
    static_cast<OptionText&>(rule) = text;
    rule.apply = apply;
    return rule;
}

inline Error usage_error(std::string message) {
    return {Code::InvalidArgument, std::move(message)};
}

/// Errors: InvalidArgument "must be a whole number from ... to ...".
inline Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t least,
                                          std::uint64_t most) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
        return usage_error("must be a whole number from " + std::to_string(least) + " to " +
                           std::to_string(most));
    }
    return value;
}

/// A text that is not empty. An empty one is not printed.
struct Text {
    static Result<void> parse(std::string& into, std::string_view text) {
        if (text.empty()) {
            return usage_error("must not be empty");
        }
        into = text;
        return {};
    }
    static void print(const std::string& from, std::vector<std::string>& values) {
        if (!from.empty()) {
            values.push_back(from);
        }
    }
};

/// A bool that is false unless the option is given.
struct Flag {
    static Result<void> parse(bool& into, std::string_view /*none*/) {
        into = true;
        return {};
    }
    static void print(bool from, std::vector<std::string>& values) {
        if (from) {
            values.emplace_back();
        }
    }
};

namespace detail {

template <typename T>
constexpr T from_number(std::uint64_t value) {
    if constexpr (std::integral<T>) {
        return static_cast<T>(value);
    } else if constexpr (std::is_enum_v<T>) {
        return static_cast<T>(static_cast<std::underlying_type_t<T>>(value));
    } else {
        return T(value);
    }
}

template <typename T>
constexpr std::uint64_t to_number(const T& value) {
    if constexpr (std::integral<T>) {
        return static_cast<std::uint64_t>(value);
    } else if constexpr (std::is_enum_v<T>) {
        return static_cast<std::uint64_t>(std::to_underlying(value));
    } else if constexpr (requires { value.value(); }) {
        return value.value();
    } else {
        return static_cast<std::uint64_t>(value.count());
    }
}

}  // namespace detail

/// Integers, enumerators, counts and durations, written as the number they are.
template <std::uint64_t Least, std::uint64_t Most>
struct Number {
    template <typename T>
    static Result<void> parse(T& into, std::string_view text) {
        into = detail::from_number<T>(TRY(parse_number(text, Least, Most)));
        return {};
    }
    template <typename T>
    static void print(const T& from, std::vector<std::string>& values) {
        values.push_back(std::to_string(detail::to_number(from)));
    }
};

constexpr std::uint64_t to_mebibytes(Bytes bytes) { return bytes.value() >> 20U; }

/// Bytes, written in MiB. The limits are in MiB: to_mebibytes(limit).
template <std::uint64_t Least, std::uint64_t Most>
struct Mebibytes {
    static Result<void> parse(Bytes& into, std::string_view text) {
        into = Bytes(TRY(parse_number(text, Least, Most)) << 20U);
        return {};
    }
    static void print(Bytes from, std::vector<std::string>& values) {
        values.push_back(std::to_string(to_mebibytes(from)));
    }
};

/// What `Codec` reads, or 0.
template <typename Codec>
struct OrZero {
    template <typename T>
    static Result<void> parse(T& into, std::string_view text) {
        if (text == "0") {
            into = T{};
            return {};
        }
        if (Result<void> done = Codec::parse(into, text); !done) {
            return usage_error(done.error().message() + ", or 0");
        }
        return {};
    }
    template <typename T>
    static void print(const T& from, std::vector<std::string>& values) {
        Codec::print(from, values);
    }
};

/// A value that has a name, for a table of Choice.
template <typename T>
struct Named {
    std::string_view name;
    T value;
};

/// One of a table of names: static constexpr std::array<Named<T>, N>.
template <const auto& Names>
struct Choice {
    template <typename T>
    static Result<void> parse(T& into, std::string_view text) {
        const auto found = std::ranges::find_if(
            Names, [text](const auto& candidate) { return candidate.name == text; });
        if (found == Names.end()) {
            return usage_error("must be " + list());
        }
        into = T(found->value);
        return {};
    }
    template <typename T>
    static void print(const T& from, std::vector<std::string>& values) {
        for (const auto& [name, value] : Names) {
            if (from == value) {
                values.emplace_back(name);
                return;
            }
        }
    }

private:
    static std::string list() {
        std::string text;
        for (std::size_t i = 0; i < Names.size(); ++i) {
            if (i != 0) {
                text.append(i + 1 == Names.size() ? " or " : ", ");
            }
            text.append(Names[i].name);
        }
        return text;
    }
};

/// A std::optional that is absent unless the option is given.
template <typename Codec>
struct Maybe {
    template <typename T>
    static Result<void> parse(std::optional<T>& into, std::string_view text) {
        T value{};
        TRY(Codec::parse(value, text));
        into = std::move(value);
        return {};
    }
    template <typename T>
    static void print(const std::optional<T>& from, std::vector<std::string>& values) {
        if (from) {
            Codec::print(*from, values);
        }
    }
};

/// A std::vector: one element for each time that the option is given.
template <typename Codec, std::size_t CountMax = SIZE_MAX>
struct List {
    template <typename T>
    static Result<void> parse(std::vector<T>& into, std::string_view text) {
        if (into.size() >= CountMax) {
            return usage_error("is given more than " + std::to_string(CountMax) + " times");
        }
        T value{};
        TRY(Codec::parse(value, text));
        into.push_back(std::move(value));
        return {};
    }
    template <typename T>
    static void print(const std::vector<T>& from, std::vector<std::string>& values) {
        for (const T& value : from) {
            Codec::print(value, values);
        }
    }
};

/// Counts how often each rule of a table was applied.
template <typename Options>
class OccurrenceCheck {
public:
    explicit OccurrenceCheck(std::span<const OptionRule<Options>> rules)
        : rules_(rules), is_given_(rules.size()) {}

    /// Errors: InvalidArgument, if `rule` is given a second time and may not be.
    Result<void> count(const OptionRule<Options>& rule) {
        const auto index = static_cast<std::size_t>(&rule - rules_.data());
        if (is_given_[index] && rule.occurs != Occurs::Any) {
            return usage_error("is given twice");
        }
        is_given_[index] = true;
        return {};
    }
    /// The first rule of `verbs` that is required and was not given; null if there is none.
    const OptionRule<Options>* missing(std::uint32_t verbs) const {
        for (std::size_t i = 0; i < rules_.size(); ++i) {
            if (rules_[i].occurs == Occurs::Required && (rules_[i].verbs & verbs) != 0 &&
                !is_given_[i]) {
                return &rules_[i];
            }
        }
        return nullptr;
    }

private:
    std::span<const OptionRule<Options>> rules_;
    std::vector<bool> is_given_;
};

/// The text up to a lone comma, with double ones made single; `text` begins after it then.
/// `is_last`: there was none.
std::string take_field(std::string_view& text, bool& is_last);

/// A struct as "key=value,flag": each key at most once, in any order, and known ones only. `Check`
/// looks at the whole.
template <const auto& Rules, auto Check = nullptr>
struct Fields {
    template <typename T>
    static Result<void> parse(T& into, std::string_view text) {
        const std::span<const OptionRule<T>> rules = Rules;
        OccurrenceCheck<T> given(rules);
        for (bool is_last = text.empty(); !is_last;) {
            const std::string field = take_field(text, is_last);
            const std::string_view whole = field;
            const std::size_t equals = whole.find('=');
            const std::string_view key = whole.substr(0, equals);
            const auto rule = std::ranges::find(rules, key, &OptionRule<T>::name);
            if (rule == rules.end()) {
                return usage_error("unknown key '" + std::string(key) + "'");
            }
            const bool has_value = equals != std::string_view::npos;
            if (has_value == rule->value_name.empty()) {
                return usage_error("'" + std::string(key) +
                                   (has_value ? "' takes no value" : "' needs a value"));
            }
            TRY(given.count(*rule), "'", std::string(key), "'");
            TRY(rule->apply(into, has_value ? whole.substr(equals + 1) : std::string_view()), "'",
                std::string(key), "'");
        }
        if (const OptionRule<T>* const rule = given.missing(~0U)) {
            return usage_error("'" + std::string(rule->name) + "' is missing");
        }
        if constexpr (!std::is_same_v<decltype(Check), std::nullptr_t>) {
            TRY(Check(into));
        }
        return {};
    }

    template <typename T>
    static void print(const T& from, std::vector<std::string>& out) {
        std::string text;
        const std::span<const OptionRule<T>> rules = Rules;
        for (const OptionRule<T>& rule : rules) {
            std::vector<std::string> values;
            rule.print(from, values);
            for (const std::string& value : values) {
                text.append(text.empty() ? "" : ",").append(rule.name);
                text.append(rule.value_name.empty() ? "" : "=");
                for (const char c : value) {
                    text.append(c == ',' ? 2 : 1, c);
                }
            }
        }
        out.push_back(std::move(text));
    }
};

inline std::string take_field(std::string_view& text, bool& is_last) {
    std::string field;
    std::size_t i = 0;
    for (; i < text.size(); ++i) {
        if (text[i] == ',') {
            if (i + 1 == text.size() || text[i + 1] != ',') {
                break;
            }
            ++i;
        }
        field.push_back(text[i]);
    }
    is_last = i == text.size();
    text.remove_prefix(is_last ? i : i + 1);
    return field;
}

/// Whether a word is an option, and not an argument or the "-" that stands for one.
inline bool is_option(std::string_view word) { return word.size() > 1 && word.front() == '-'; }

/// Applies the option at the front of `arguments`, one that a verb of `verbs` has, and drops it
/// there with its value. Returns its rule. Errors: InvalidArgument, in one line.
template <typename Options>
Result<const OptionRule<Options>*> apply_option(std::span<const std::string>& arguments,
                                                std::span<const OptionRule<Options>> rules,
                                                std::uint32_t verbs, Options& options) {
    const std::string& argument = arguments.front();
    arguments = arguments.subspan(1);
    const std::size_t equals = argument.find('=');
    const std::string word = argument.substr(0, equals);
    const auto rule = std::ranges::find_if(rules, [&](const OptionRule<Options>& candidate) {
        const bool is_long = word.starts_with("--") && candidate.name == word.substr(2);
        const bool is_short =
            candidate.letter != 0 && word.size() == 2 && word.back() == candidate.letter;
        return (candidate.verbs & verbs) != 0 && (is_long || is_short);
    });
    if (rule == rules.end()) {
        return usage_error("unknown option '" + word + "'");
    }
    std::string value;
    if (rule->value_name.empty()) {
        if (equals != std::string::npos) {
            return usage_error("option '" + word + "' takes no value");
        }
    } else if (equals != std::string::npos) {
        value = argument.substr(equals + 1);
    } else if (arguments.empty()) {
        return usage_error("option '" + word + "' needs a value");
    } else {
        value = arguments.front();
        arguments = arguments.subspan(1);
    }
    TRY(rule->apply(options, value), "option '", word, "'");
    return &*rule;
}

/// Applies all options among `arguments`, and returns the other words in order. Words after "--"
/// are not options. Errors: InvalidArgument, in one line.
template <typename Options>
Result<std::vector<std::string>> apply_options(std::span<const std::string> arguments,
                                               std::span<const OptionRule<Options>> rules,
                                               std::uint32_t verbs, Options& options,
                                               std::size_t words_max = SIZE_MAX) {
    std::vector<std::string> rest;
    OccurrenceCheck<Options> given(rules);
    while (!arguments.empty() && arguments.front() != "--" && rest.size() < words_max) {
        if (is_option(arguments.front())) {
            const auto* const rule = TRY(apply_option(arguments, rules, verbs, options));
            TRY(given.count(*rule), "option '--", std::string(rule->name), "'");
        } else {
            rest.push_back(arguments.front());
            arguments = arguments.subspan(1);
        }
    }
    if (!arguments.empty() && arguments.front() == "--") {
        arguments = arguments.subspan(1);
    }
    rest.insert(rest.end(), arguments.begin(), arguments.end());
    if (const auto* const rule = given.missing(verbs)) {
        return usage_error("option '--" + std::string(rule->name) + "' is missing");
    }
    return rest;
}

/// Reads a command line that has options only, as one program writes it for another.
/// Errors: InvalidArgument, in one line.
template <typename Options>
Result<void> parse_options(std::span<const std::string> arguments,
                           std::span<const OptionRule<Options>> rules, Options& options) {
    const auto rest = TRY(apply_options(arguments, rules, ~0U, options));
    if (!rest.empty()) {
        return usage_error("unexpected argument '" + rest.front() + "'");
    }
    return {};
}

/// The command line that parse_options() reads to an equal value: "--name", "value", ...
template <typename Options>
std::vector<std::string> print_options(std::span<const OptionRule<Options>> rules,
                                       const Options& options) {
    std::vector<std::string> arguments;
    for (const OptionRule<Options>& rule : rules) {
        std::vector<std::string> values;
        if (rule.print != nullptr) {
            rule.print(options, values);
        }
        for (std::string& value : values) {
            arguments.push_back("--" + std::string(rule.name));
            if (!rule.value_name.empty()) {
                arguments.push_back(std::move(value));
            }
        }
    }
    return arguments;
}

/// One option as a line of a control socket, "--disk id=a,fd=3", to the words of a command line.
inline std::vector<std::string> words_of_line(std::string_view line) {
    const std::size_t space = line.find(' ');
    std::vector<std::string> words{std::string(line.substr(0, space))};
    if (space != std::string_view::npos) {
        words.emplace_back(line.substr(space + 1));
    }
    return words;
}

/// One line of a help text: what is written, and what it does.
inline void append_help(std::string& text, std::string left, std::string_view help) {
    constexpr std::size_t column = 28;
    left.resize(std::max(column, left.size() + 2), ' ');
    text.append("  ").append(left).append(help).append("\n");
}

/// A line for each option of `verbs`.
template <typename Options>
void append_help(std::string& text, std::span<const OptionRule<Options>> rules,
                 std::uint32_t verbs) {
    for (const OptionRule<Options>& rule : rules) {
        if ((rule.verbs & verbs) != 0) {
            std::string left = rule.letter == 0 ? "    --" : std::string{'-', rule.letter} + ", --";
            left.append(rule.name).append(rule.value_name.empty() ? "" : " ");
            append_help(text, left.append(rule.value_name), rule.help);
        }
    }
}

}  // namespace pepita::runtime
