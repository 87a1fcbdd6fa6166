#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "storage/digest.h"

namespace pepita::storage::image {

/// The name of an image at a registry: "registry.example:5000/team/app:1.2@sha256:…".
struct Reference {
    std::string registry;    // host, and its port where one is said
    std::string repository;  // "library/busybox"
    std::string tag;         // empty: none
    std::optional<Digest> digest;

    /// "registry/repository".
    std::string name() const { return registry + "/" + repository; }
    /// "registry/repository:tag"; empty without a tag.
    std::string tagged() const { return tag.empty() ? "" : name() + ":" + tag; }
    std::string with(const Digest& of) const { return name() + "@" + of.text(); }
    /// What a registry is asked for: the digest, where there is one.
    std::string manifest_reference() const { return digest ? digest->text() : tag; }
};

/// As docker writes it: without a registry it is of docker.io, there without a slash of library/;
/// without tag and digest it is "latest".
/// Errors: InvalidArgument. Source: distribution/reference.
Result<Reference> parse_reference(std::string_view text);

}  // namespace pepita::storage::image
