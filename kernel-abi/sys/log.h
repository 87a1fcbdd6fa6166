#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"

namespace pepita::log {

/// What varies in a line; the text itself is fixed.
struct Field {
    template <typename Text>
        requires std::convertible_to<Text, std::string_view>
    Field(std::string_view name, const Text& text) : key(name), value(std::string_view(text)) {}
    template <std::integral Number>
    Field(std::string_view name, Number number) : key(name), value(std::to_string(number)) {}

    std::string_view key;
    std::string value;
};

/// error: we gave up. warn: we went on, and the text says so. info: a change of state that an
/// operator needs. One line to standard error, written whole. Thread: any.
void error(std::string_view text, std::initializer_list<Field> fields = {});
void warn(std::string_view text, std::initializer_list<Field> fields = {});
void info(std::string_view text, std::initializer_list<Field> fields = {});

/// level=warn msg="guest link lost" pod=web-1, with a newline. Values are quoted where they need
/// it.
std::string format(std::string_view level, std::string_view text, const std::vector<Field>& fields);

/// How lines look from here on; format() until then. Before a second thread writes any.
using Format = std::string (*)(std::string_view level, std::string_view text,
                               const std::vector<Field>& fields);
void use(Format chosen);

/// Has every line from here on end with `field`: what this process is for. As use(). The key is
/// borrowed.
void add_to_all(Field field);

}  // namespace pepita::log
