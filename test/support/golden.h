#pragma once

#include <string>
#include <string_view>

namespace pepita::test {

/// Compares `text` with test/golden/<name>, and fails the running test with the first line that
/// differs. With PEPITA_UPDATE_GOLDEN=1 in the environment it writes the file instead; the change
/// then shows in the diff.
void expect_golden(std::string_view name, const std::string& text);

}  // namespace pepita::test
