// Cni by hand, for cni_test.py.
//
//   cni_probe CONFIG_DIRECTORY PLUGIN_DIRECTORY[:…] CACHE_DIRECTORY TIMEOUT_MS
//
// Reads one JSON object per line: {"do":"add|remove|check|status|collect|cached","id":…,"netns":…,
// "ports":[[host,container],…],"valid":[id,…]}. Answers with one: {"error":{"code":…,"message":…}}
// or
// {"interfaces":[…],"ips":[…],"routes":[…],"nameservers":[…]}.
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/cni.h"
#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"
#include "test/cri/input_lines.h"

namespace pepita::cri {
namespace {

using runtime::oci::OrderedJson;

void print(const OrderedJson& json) {
    CHECK(write_all(FdRef(1), runtime::oci::dump(json) + "\n", "standard output").has_value());
}

void print_error(const Error& error) {
    OrderedJson json = OrderedJson::object();
    json["error"]["code"] = std::string(to_string(error.code()));
    json["error"]["message"] = error.message();
    print(json);
}

void print_done(const Result<void>& done) {
    if (!done) {
        return print_error(done.error());
    }
    print(OrderedJson::object());
}

void print_result(const Result<CniResult>& result) {
    if (!result) {
        return print_error(result.error());
    }
    OrderedJson json = OrderedJson::object();
    json["interfaces"] = OrderedJson::array();
    json["ips"] = OrderedJson::array();
    json["routes"] = OrderedJson::array();
    for (const CniInterface& one : result->interfaces) {
        json["interfaces"].push_back({one.name, one.mac, one.sandbox});
    }
    for (const CniAddress& one : result->ips) {
        json["ips"].push_back({one.address, one.gateway});
    }
    for (const CniRoute& one : result->routes) {
        json["routes"].push_back({one.destination, one.gateway});
    }
    json["nameservers"] = result->dns.name_servers;
    print(json);
}

class Commands {
public:
    explicit Commands(Cni& cni) : cni_(cni) {}

    void on_line(const std::string& line) {
        if (const Result<void> run = command(line); !run) {
            print_error(run.error());
        }
    }

private:
    Result<void> command(const std::string& line) {
        const runtime::oci::Json json = TRY(runtime::oci::parse_json(line));
        const runtime::oci::Object object = TRY(runtime::oci::Node(json, "command").object());
        const std::string verb = TRY(object.text_or_empty("do"));
        CniAttachment attachment;
        attachment.container_id = TRY(object.text_or_empty("id"));
        attachment.netns = TRY(object.text_or_empty("netns"));
        attachment.args = kubernetes_args("default", "web", "u-1", attachment.container_id);
        attachment.capabilities.dns.name_servers = {"10.96.0.10"};
        attachment.capabilities.bandwidth = {{.ingress_rate = 8'000'000,
                                              .ingress_burst = 8'000'000,
                                              .egress_rate = 8'000'000,
                                              .egress_burst = 8'000'000}};
        for (const std::string& port : TRY(object.texts_or_empty("ports"))) {
            const std::size_t colon = port.find(':');
            CniPortMapping mapping;
            std::from_chars(port.data(), port.data() + colon, mapping.host_port);
            std::from_chars(port.data() + colon + 1, port.data() + port.size(),
                            mapping.container_port);
            attachment.capabilities.port_mappings.push_back(mapping);
        }
        if (verb == "add") {
            cni_.add(attachment, [](Result<CniResult> result) { print_result(result); });
        } else if (verb == "remove") {
            cni_.remove(attachment, [](Result<void> done) { print_done(done); });
        } else if (verb == "check") {
            cni_.check(attachment, [](Result<void> done) { print_done(done); });
        } else if (verb == "status") {
            cni_.status([](Result<void> done) { print_done(done); });
        } else if (verb == "cached") {
            print_result(cni_.cached(attachment.container_id, attachment.interface));
        } else {
            std::vector<std::pair<std::string, std::string>> valid;
            for (std::string& id : TRY(object.texts_or_empty("valid"))) {
                valid.emplace_back(std::move(id), "eth0");
            }
            cni_.collect(std::move(valid), [](Result<void> done) { print_done(done); });
        }
        return {};
    }

    Cni& cni_;
};

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const std::size_t colon = std::min(text.find(':'), text.size());
        parts.emplace_back(text.substr(0, colon));
        text.remove_prefix(std::min(colon + 1, text.size()));
    }
    return parts;
}

Result<void> run(char** arguments) {
    int timeout_ms = 0;
    const std::string_view timeout = arguments[4];
    std::from_chars(timeout.data(), timeout.data() + timeout.size(), timeout_ms);
    auto loop = TRY(EventLoop::create());
    Cni cni(*loop, {.config_directory = arguments[1],
                    .plugin_directories = split(arguments[2]),
                    .cache_directory = arguments[3],
                    .plugin_timeout = std::chrono::milliseconds(timeout_ms)});
    Commands commands(cni);
    InputLines lines(*loop, [&commands](const std::string& line) { commands.on_line(line); });
    TRY(lines.start());
    return loop->run();
}

}  // namespace
}  // namespace pepita::cri

int main(int count, char** arguments) {
    ::signal(SIGPIPE, SIG_IGN);
    if (count != 5) {
        std::fprintf(stderr, "usage: cni_probe CONFIGS PLUGINS CACHE TIMEOUT_MS\n");
        return 2;
    }
    const auto ran = pepita::cri::run(arguments);
    if (!ran) {
        std::fprintf(stderr, "cni_probe: %s\n", ran.error().message().c_str());
        return 1;
    }
    return 0;
}
