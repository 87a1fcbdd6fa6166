#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "cri/api/cri.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

using Labels = google::protobuf::Map<std::string, std::string>;

/// Whether `id` is meant by a filter: by its beginning, and always by "".
inline bool has_id(std::string_view id, std::string_view filter) { return id.starts_with(filter); }

inline bool has_labels(const Labels& labels, const Labels& selector) {
    return std::ranges::all_of(selector, [&labels](const auto& wanted) {
        const auto found = labels.find(wanted.first);
        return found != labels.end() && found->second == wanted.second;
    });
}

/// A text as clients want the values of `info`: JSON.
inline std::string in_json(std::string_view text) {
    return runtime::oci::dump(runtime::oci::OrderedJson(text));
}

}  // namespace pepita::cri
