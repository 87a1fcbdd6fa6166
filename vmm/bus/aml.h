#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

/// Builds ACPI Machine Language: each function gives one encoded term, and terms nest by being
/// arguments. Only what our tables use. Source: ACPI 6.5 §20.2, resources §6.4.
namespace pepita::vmm::aml {

using Term = std::vector<std::byte>;
using Terms = std::initializer_list<Term>;

Term integer(std::uint64_t value);
Term string(std::string_view text);
Term buffer(std::span<const std::byte> bytes);
Term package(Terms elements);

/// Names have four letters, padded with '_'; a path is segments with dots, "\\" first where
/// absolute.
Term name(std::string_view path, const Term& value);
Term scope(std::string_view path, Terms body);
Term device(std::string_view path, Terms body);
Term method(std::string_view path, unsigned arguments, Terms body);

Term argument(unsigned index);
Term is_equal(const Term& a, const Term& b);
Term if_true(const Term& condition, Terms body);
Term give_back(const Term& value);

/// "PNP0A08" as the number that _HID holds for such ids.
Term eisa_id(std::string_view id);
/// "e5c937d0-3553-..." in the mixed byte order of ToUUID.
Term uuid(std::string_view text);

/// A resource template, as _CRS gives it: descriptors and the end tag.
Term resources(Terms descriptors);
Term bus_numbers(std::uint16_t first, std::uint16_t last);
Term memory_window_32(std::uint32_t start, std::uint32_t size);
Term memory_window_64(std::uint64_t start, std::uint64_t size);
Term fixed_memory_32(std::uint32_t start, std::uint32_t size);
Term io_ports(std::uint16_t start, std::uint8_t count);
/// Edge-triggered, active-high, not shared.
Term edge_interrupt(std::uint32_t number);

}  // namespace pepita::vmm::aml
