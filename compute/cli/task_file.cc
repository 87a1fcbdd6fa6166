#include "compute/cli/task_file.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::compute::cli {
namespace {

using runtime::oci::Json;
using runtime::oci::Node;

/// FNV-1a: it tells a changed file from the same one, and keeps no secret.
std::uint64_t fingerprint(std::string_view bytes) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char byte : bytes) {
        hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
    }
    return hash;
}

/// A member that is an option: a text, a number, or an array of them for one that may be repeated.
Result<void> apply_member(TaskOptions& options, const std::string& name, const Json& value) {
    if (value.is_array()) {
        for (const Json& element : value) {
            if (element.is_array()) {
                return Node(element, name).invalid("must be a string");
            }
            TRY(apply_member(options, name, element));
        }
        return {};
    }
    const Node node(value, name);
    const std::string text = value.is_number_unsigned()
                                 ? std::to_string(TRY(node.natural(UINT64_MAX)))
                                 : TRY(node.text());
    TRY(apply_task_option(options, name, text), "member ", runtime::oci::in_quotes(name));
    return {};
}

Result<TaskLine> parse_line(std::string_view text, std::uint32_t number,
                            const TaskOptions& options) {
    TaskLine line{.line = number, .name = {}, .command = {}, .input = {}, .options = options};
    const Json document = TRY(runtime::oci::parse_json(text));
    const auto object = TRY(Node(document, "").object());
    line.command = TRY(TRY(object.require("command")).texts());
    if (line.command.empty() || line.command.front().empty()) {
        return Error(Code::InvalidArgument, "command: must name a program");
    }
    line.name = TRY(object.text_or_empty("name"));
    if (const auto input = document.find("input"); input != document.end()) {
        const auto* bytes = input->get_ptr<const Json::string_t*>();  // which may have zero bytes
        if (bytes == nullptr) {
            return Error(Code::InvalidArgument, "input: must be a string");
        }
        line.input = *bytes;
    }
    for (const auto& [name, value] : document.items()) {
        if (name != "command" && name != "name" && name != "input") {
            TRY(apply_member(line.options, name, value));
        }
    }
    return line;
}

/// The message of a line has the line and column of its own text: "line 1, column 9: not JSON".
Error at_line(const Error& error, std::uint32_t number) {
    constexpr std::string_view first = "line 1, ";
    const std::string_view message = error.message();
    const std::string line = "line " + std::to_string(number);
    if (message.starts_with(first)) {
        return {Code::InvalidArgument, line + ", " + std::string(message.substr(first.size()))};
    }
    return {Code::InvalidArgument, line + ": " + std::string(message)};
}

}  // namespace

Result<TaskFile> parse_task_file(std::string_view text, const TaskOptions& options) {
    TaskFile file;
    file.fingerprint = fingerprint(text);
    std::uint32_t number = 0;
    while (!text.empty()) {
        const std::size_t length = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, length);
        text.remove_prefix(std::min(length + 1, text.size()));
        ++number;
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
            continue;
        }
        if (file.tasks.size() == TaskFile::kTasksMax) {
            return Error(Code::InvalidArgument,
                         "more than " + std::to_string(TaskFile::kTasksMax) + " tasks");
        }
        Result<TaskLine> task = parse_line(line, number, options);
        if (!task) {
            return at_line(task.error(), number);
        }
        file.tasks.push_back(*std::move(task));
    }
    return file;
}

std::vector<TaskLine> tasks_of(std::vector<TaskLine> tasks, const Shard& shard) {
    std::vector<TaskLine> own;
    for (std::size_t i = shard.index; i < tasks.size(); i += shard.count) {
        own.push_back(std::move(tasks[i]));
    }
    return own;
}

}  // namespace pepita::compute::cli
