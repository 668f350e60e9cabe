// Finding the control groups this process is in. Used by topology.cpp only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace imagine_deblur {

// One group on the way from the process's own to the top of what is visible here.
struct ControlGroup {
  std::string folder;
  int version = 2;
};

// The groups that `controller` ("cpu", "memory") may be limited by, innermost first, of every
// hierarchy that is mounted: version 1 ones that carry the controller, and the version 2 one.
// Empty where there are none.
std::vector<ControlGroup> control_groups(const std::string& root, std::string_view controller);

// The content of a small file; empty where it cannot be read.
std::string read_small_file(const std::string& path);

// The number that `text` begins with.
std::optional<std::int64_t> parse_number(std::string_view text);

// The number after `key` and a space at the beginning of a line.
std::optional<std::int64_t> find_number(std::string_view text, std::string_view key);

}  // namespace imagine_deblur
