// What registries and files say in text: manifests, configs, references, challenges, hosts.toml,
// docker's config.json. The first byte chooses.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "storage/image/credentials.h"
#include "storage/image/hosts.h"
#include "storage/image/manifest.h"
#include "storage/image/reference.h"
#include "storage/image_pull.h"

namespace {

namespace image = pepita::storage::image;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

/// A reference that was read is read to the same from what it prints.
void check_reference(std::string_view text) {
    const auto reference = image::parse_reference(text);
    if (!reference) {
        return;
    }
    const std::string printed =
        reference->digest ? reference->with(*reference->digest) : reference->tagged();
    const auto again = image::parse_reference(printed);
    require(again && again->name() == reference->name());
    require(printed.find_first_of(" \n?#%") == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 6) {
        case 0:
            (void)image::parse_manifest(text).has_value();
            break;
        case 1:
            (void)image::parse_image_config(text).has_value();
            break;
        case 2:
            check_reference(text);
            break;
        case 3:
            (void)image::parse_challenge(text).has_value();
            break;
        case 4:
            if (const auto endpoints = image::parse_hosts(text, "registry.example", "/d")) {
                require(!endpoints->empty() && endpoints->back().name_space.empty());
            }
            break;
        default:
            (void)pepita::storage::read_docker_config(text, "registry.example").has_value();
            break;
    }
    return 0;
}
