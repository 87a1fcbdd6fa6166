#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/grpc_client.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri::cli {

/// CRI's methods, as far as they are needed here.
class Node {
public:
    static constexpr std::chrono::minutes kPatience{10};  // for a pull

    explicit Node(const std::string& socket) : client_(socket) {}

    template <typename Response, typename Request>
    Result<Response> ask(std::string_view method, const Request& request) {
        const std::string answer = TRY(client_.call("/runtime.v1." + std::string(method),
                                                    request.SerializeAsString(), kPatience));
        Response response;
        if (!response.ParseFromString(answer)) {
            return Error(Code::DataLoss, "the answer to " + std::string(method) + " is damaged");
        }
        return response;
    }

    Result<std::vector<v1::PodSandbox>> pods() {
        const auto list = TRY(ask<v1::ListPodSandboxResponse>("RuntimeService/ListPodSandbox",
                                                              v1::ListPodSandboxRequest()));
        return std::vector<v1::PodSandbox>(list.items().begin(), list.items().end());
    }
    Result<std::vector<v1::Container>> containers() {
        const auto list = TRY(ask<v1::ListContainersResponse>("RuntimeService/ListContainers",
                                                              v1::ListContainersRequest()));
        return std::vector<v1::Container>(list.containers().begin(), list.containers().end());
    }

    /// By its name, or by the beginning of its id. Errors: InvalidArgument where several are meant.
    template <typename Item>
    static Result<std::optional<Item>> find(const std::vector<Item>& items,
                                            const std::string& name) {
        std::vector<Item> found;
        std::ranges::copy_if(items, std::back_inserter(found), [&name](const Item& item) {
            return item.metadata().name() == name || item.id().starts_with(name);
        });
        if (found.size() > 1) {
            return Error(Code::InvalidArgument, "'" + name + "' is " +
                                                    std::to_string(found.size()) +
                                                    " of them; name it by its id");
        }
        return found.empty() ? std::nullopt : std::optional(std::move(found.front()));
    }
    Result<v1::Container> container(const std::string& name) {
        const auto found = TRY(find(TRY(containers()), name));
        if (!found) {
            return Error(Code::NotFound, "there is no such container");
        }
        return *found;
    }

private:
    GrpcClient client_;
};

/// To a standard stream, whole.
Result<void> print(std::string_view text, int number = STDOUT_FILENO);

using Row = std::vector<std::string>;

/// Columns as wide as what is in them.
std::string table(const std::vector<Row>& rows);

}  // namespace pepita::cri::cli
