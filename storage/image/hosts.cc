// hosts.toml, with as much of TOML as it is written in: tables, strings, booleans, arrays. No
// dates, numbers, inline tables and multi-line strings.
#include "storage/image/hosts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "storage/image/http.h"

namespace pepita::storage::image {
namespace {

constexpr std::size_t kHostsMax = std::size_t{256} << 10U;
constexpr std::size_t kEndpointsMax = 64;
constexpr int kNestingMax = 2;

/// A string, a boolean or an array of such.
struct Value {
    enum class Type { Text, Boolean, Array };
    Type type = Type::Text;
    std::string text;
    bool boolean = false;
    std::vector<Value> elements;
};

bool is_bare(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    Error invalid(std::string_view why) const {
        return {Code::InvalidArgument, "line " + std::to_string(line_) + ": " + std::string(why)};
    }
    bool at_end() const { return text_.empty(); }

    /// Blanks, comments and, where they mean nothing, ends of lines.
    void skip(bool lines) {
        while (!text_.empty()) {
            const char c = text_.front();
            if (c == '#') {
                text_.remove_prefix(std::min(text_.find('\n'), text_.size()));
            } else if (c == ' ' || c == '\t' || c == '\r' || (lines && c == '\n')) {
                line_ += c == '\n' ? 1 : 0;
                text_.remove_prefix(1);
            } else {
                return;
            }
        }
    }
    bool take(char c) {
        if (!text_.starts_with(c)) {
            return false;
        }
        text_.remove_prefix(1);
        return true;
    }
    Result<void> end_line() {
        skip(false);
        if (!text_.empty() && !text_.starts_with('\n')) {
            return invalid("something stands behind the value");
        }
        return {};
    }

    /// host."https://x".header
    Result<std::vector<std::string>> path() {
        std::vector<std::string> parts;
        for (;;) {
            skip(false);
            if (text_.starts_with('"') || text_.starts_with('\'')) {
                parts.push_back(TRY(string()));
            } else {
                const auto end = std::ranges::find_if_not(text_, is_bare);
                const std::string_view word =
                    text_.substr(0, static_cast<std::size_t>(end - text_.begin()));
                if (word.empty()) {
                    return invalid("a name is expected");
                }
                parts.emplace_back(word);
                text_.remove_prefix(word.size());
            }
            skip(false);
            if (!take('.')) {
                return parts;
            }
        }
    }

    Result<Value> value(int nesting = 0) {
        skip(false);
        Value value;
        if (text_.starts_with('"') || text_.starts_with('\'')) {
            value.text = TRY(string());
            return value;
        }
        for (const bool boolean : {true, false}) {
            const std::string_view word = boolean ? "true" : "false";
            if (text_.starts_with(word)) {
                text_.remove_prefix(word.size());
                value.type = Value::Type::Boolean;
                value.boolean = boolean;
                return value;
            }
        }
        if (nesting == kNestingMax || !take('[')) {
            return invalid("a string, true, false or an array is expected");
        }
        value.type = Value::Type::Array;
        for (skip(true); !take(']'); skip(true)) {
            value.elements.push_back(TRY(this->value(nesting + 1)));
            skip(true);
            if (!take(',') && !text_.starts_with(']')) {
                return invalid("',' or ']' is expected");
            }
        }
        return value;
    }

private:
    Result<std::string> string() {
        const char quote = text_.front();
        std::string read;
        for (std::size_t i = 1; i < text_.size() && text_[i] != '\n'; ++i) {
            char c = text_[i];
            if (c == quote) {
                text_.remove_prefix(i + 1);
                return read;
            }
            if (c == '\\' && quote == '"') {
                ++i;
                c = i < text_.size() ? text_[i] : '\0';
                if (c != '"' && c != '\\') {
                    return invalid("an escape that is not known");
                }
            }
            read.push_back(c);
        }
        return invalid("a string has no end");
    }

    std::string_view text_;
    std::size_t line_ = 1;
};

Result<std::vector<std::string>> texts(const Reader& reader, const Value& value) {
    std::vector<std::string> found;
    if (value.type == Value::Type::Text) {
        found.push_back(value.text);
        return found;
    }
    for (const Value& element : value.elements) {
        if (element.type != Value::Type::Text) {
            return reader.invalid("strings are expected");
        }
        found.push_back(element.text);
    }
    return found;
}

/// `url` as containerd completes it.
Result<std::string> completed(const Reader& reader, std::string url, bool override_path) {
    if (!url.starts_with("http://") && !url.starts_with("https://")) {
        url.insert(0, "https://");
    }
    if (url.find("://", url.find("://") + 1) != std::string::npos) {
        return reader.invalid("'" + printable(url) + "' is neither HTTP nor HTTPS");
    }
    while (url.ends_with('/')) {
        url.pop_back();
    }
    if (origin_of(url).empty() || url.find_first_of("?#@ ") != std::string::npos) {
        return reader.invalid("'" + printable(url) + "' is no URL of a registry");
    }
    return override_path || url.ends_with("/v2") ? url : url + "/v2";
}

/// One endpoint while its table is read.
struct Draft {
    Endpoint endpoint;
    bool override_path = false;
    bool pulls = true;
};

class HostsReader {
public:
    HostsReader(std::string_view text, const std::string& registry, const std::string& directory)
        : reader_(text), registry_(registry), directory_(directory) {}

    Result<std::vector<Endpoint>> read() {
        std::vector<std::string> table;
        for (reader_.skip(true); !reader_.at_end(); reader_.skip(true)) {
            if (reader_.take('[')) {
                table = TRY(reader_.path());
                if (!reader_.take(']')) {
                    return reader_.invalid("']' is expected");
                }
                (void)TRY(open(table));
            } else {
                std::vector<std::string> key = TRY(reader_.path());
                if (!reader_.take('=')) {
                    return reader_.invalid("'=' is expected");
                }
                const Value value = TRY(reader_.value());
                key.insert(key.begin(), table.begin(), table.end());
                TRY(set(key, value));
            }
            TRY(reader_.end_line());
        }
        return finish();
    }

private:
    Result<Draft*> open(const std::vector<std::string>& table) {
        if (table.size() < 2 || table[0] != "host") {
            return table == std::vector<std::string>{"header"} ? Result<Draft*>(&server_)
                                                               : unknown(table);
        }
        auto host = std::ranges::find(hosts_, table[1],
                                      [](const Draft& draft) { return draft.endpoint.url; });
        if (host == hosts_.end()) {
            if (hosts_.size() == kEndpointsMax) {
                return Error(Code::ResourceExhausted, "there are too many hosts");
            }
            Draft draft;
            draft.endpoint.url = table[1];
            host = hosts_.insert(hosts_.end(), std::move(draft));
        }
        return &*host;
    }

    Error unknown(const std::vector<std::string>& key) const {
        std::string name;
        for (const std::string& part : key) {
            name += (name.empty() ? "" : ".") + part;
        }
        return {Code::Unsupported,
                reader_.invalid("'" + printable(name) + "' is not known").message()};
    }

    Result<void> set(const std::vector<std::string>& key, const Value& value) {
        if (key == std::vector<std::string>{"server"}) {
            server_.endpoint.url = value.text;
            return {};
        }
        const bool is_host = key[0] == "host" && key.size() >= 3;
        Draft* const draft = is_host ? TRY(open(key)) : &server_;
        const std::size_t at = is_host ? 2 : 0;
        if (key.size() == at + 2 && key[at] == "header") {
            for (const std::string& text : TRY(texts(reader_, value))) {
                if (text.find_first_of("\r\n") != std::string::npos) {
                    return reader_.invalid("a header has an end of line");
                }
                draft->endpoint.headers.push_back(key[at + 1] + ": " + text);
            }
            return {};
        }
        return key.size() == at + 1 ? set_one(*draft, key, value) : unknown(key);
    }

    Result<void> set_one(Draft& draft, const std::vector<std::string>& path, const Value& value) {
        const std::string& key = path.back();
        if (key == "capabilities") {
            const std::vector<std::string> all = TRY(texts(reader_, value));
            draft.pulls = std::ranges::find(all, "pull") != all.end();
            draft.endpoint.resolves = std::ranges::find(all, "resolve") != all.end();
        } else if (key == "skip_verify" || key == "override_path") {
            if (value.type != Value::Type::Boolean) {
                return reader_.invalid("'" + key + "' must be true or false");
            }
            (key == "skip_verify" ? draft.endpoint.tls.skip_verify : draft.override_path) =
                value.boolean;
        } else if (key == "ca") {
            for (const std::string& file : TRY(texts(reader_, value))) {
                draft.endpoint.tls.authorities.push_back(whole(file));
            }
        } else if (key == "client") {
            return set_client(draft, value);
        } else {
            return unknown(path);
        }
        return {};
    }

    /// "file", or [["certificate", "key"]].
    Result<void> set_client(Draft& draft, const Value& value) {
        const Value* pair = &value;
        if (value.type == Value::Type::Array && !value.elements.empty()) {
            if (value.elements.size() != 1) {
                return Error(Code::Unsupported,
                             reader_.invalid("more than one client certificate").message());
            }
            pair = &value.elements[0];
        }
        const std::vector<std::string> files = TRY(texts(reader_, *pair));
        if (files.empty() || files.size() > 2) {
            return reader_.invalid("'client' must be a certificate and its key");
        }
        draft.endpoint.tls.certificate = whole(files[0]);
        draft.endpoint.tls.key = whole(files.back());
        return {};
    }

    std::string whole(const std::string& file) const {
        return file.starts_with('/') ? file : directory_ + "/" + file;
    }

    Result<std::vector<Endpoint>> finish() {
        std::vector<Endpoint> endpoints;
        for (Draft& host : hosts_) {
            if (!host.pulls) {
                continue;
            }
            host.endpoint.url =
                TRY(completed(reader_, std::move(host.endpoint.url), host.override_path));
            host.endpoint.name_space = registry_;
            endpoints.push_back(std::move(host.endpoint));
        }
        const bool is_named = !server_.endpoint.url.empty();
        const std::string own = own_url(registry_);
        server_.endpoint.url =
            is_named
                ? TRY(completed(reader_, std::move(server_.endpoint.url), server_.override_path))
                : own;
        server_.endpoint.is_registry = origin_of(server_.endpoint.url) == origin_of(own);
        endpoints.push_back(std::move(server_.endpoint));
        return endpoints;
    }

public:
    /// docker.io is a name, not a host; a registry on the loopback has no certificate.
    static std::string own_url(const std::string& registry) {
        const std::string host = registry == "docker.io" ? "registry-1.docker.io" : registry;
        const std::string_view name = std::string_view(host).substr(0, host.find(':'));
        const bool is_loopback = name == "localhost" || host.starts_with("[::1]") ||
                                 (name.starts_with("127.") &&
                                  name.find_first_not_of("0123456789.") == std::string_view::npos);
        return (is_loopback ? "http://" : "https://") + host + "/v2";
    }

private:
    Reader reader_;
    const std::string& registry_;
    const std::string& directory_;
    std::vector<Draft> hosts_;
    Draft server_;
};

}  // namespace

Result<std::vector<Endpoint>> parse_hosts(std::string_view text, const std::string& registry,
                                          const std::string& directory) {
    return HostsReader(text, registry, directory).read();
}

Result<std::vector<Endpoint>> endpoints_of(const std::string& registry,
                                           const std::string& directory) {
    std::string with_port = registry;
    if (const std::size_t colon = registry.rfind(':'); colon != std::string::npos) {
        with_port = registry.substr(0, colon) + "_" + registry.substr(colon + 1) + "_";
    }
    for (const std::string& name : {registry, with_port, std::string("_default")}) {
        std::string folder = directory;
        folder.append("/").append(name);
        const std::string path = folder + "/hosts.toml";
        if (directory.empty() || (::access(path.c_str(), F_OK) != 0 && errno == ENOENT)) {
            continue;
        }
        const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
        const std::string text = TRY(read_all(file.ref(), kHostsMax, path));
        return TRY(parse_hosts(text, registry, folder), "'", path, "'");
    }
    Endpoint endpoint;
    endpoint.url = HostsReader::own_url(registry);
    endpoint.is_registry = true;
    return std::vector<Endpoint>{std::move(endpoint)};
}

}  // namespace pepita::storage::image
