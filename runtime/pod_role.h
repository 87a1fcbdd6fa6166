#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace pepita::runtime {

/// What a bundle is in a pod of several containers, as the annotations of containerd's and of
/// CRI-O's CRI say it.
struct PodRole {
    enum class Kind : std::uint8_t {
        Alone,   // a pod of its own
        Pod,     // the "sandbox": the pod itself, whose program (pause) does nothing
        Member,  // a container of the pod `pod`
    };
    Kind kind = Kind::Alone;
    std::string pod;  // the pod's id, of a Member

    friend bool operator==(const PodRole&, const PodRole&) = default;
};

/// Without both annotations of one caller, or with a type that is not known: Alone.
PodRole pod_role(const std::map<std::string, std::string>& annotations);

}  // namespace pepita::runtime
