#include "kernel-abi/sys/log.h"

#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pepita::log {
namespace {

bool needs_quotes(std::string_view value) {
    return value.empty() || std::ranges::any_of(value, [](char c) {
               return c <= ' ' || c == '"' || c == '=' || c == '\\' || c == '\x7f';
           });
}

/// Control characters never reach a terminal or split a line: values come from guests and files.
void append_value(std::string& line, std::string_view value) {
    if (!needs_quotes(value)) {
        line += value;
        return;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    line += '"';
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            line += '\\';
            line += c;
        } else if (c == '\n') {
            line += "\\n";
        } else if (byte < ' ' || c == '\x7f') {
            line += "\\x";
            line += digits[byte >> 4U];
            line += digits[byte & 0xfU];
        } else {
            line += c;
        }
    }
    line += '"';
}

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): as is standard error.
Format used = format;
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): likewise.
std::vector<Field> of_all;

void write_line(std::string_view level, std::string_view text,
                std::initializer_list<Field> fields) {
    std::vector<Field> all = fields;
    all.insert(all.end(), of_all.begin(), of_all.end());
    const std::string line = used(level, text, all);
    // Nowhere to report to if this fails.
    (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

std::string format(std::string_view level, std::string_view text,
                   const std::vector<Field>& fields) {
    std::string line = "level=";
    line += level;
    line += " msg=";
    append_value(line, text);
    for (const Field& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        append_value(line, field.value);
    }
    line += '\n';
    return line;
}

void use(Format chosen) { used = chosen; }

void add_to_all(Field field) { of_all.push_back(std::move(field)); }

void error(std::string_view text, std::initializer_list<Field> fields) {
    write_line("error", text, fields);
}

void warn(std::string_view text, std::initializer_list<Field> fields) {
    write_line("warn", text, fields);
}

void info(std::string_view text, std::initializer_list<Field> fields) {
    write_line("info", text, fields);
}

}  // namespace pepita::log
