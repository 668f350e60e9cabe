#include "threads/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

namespace imagine_deblur {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool lists(std::string_view text, std::string_view word) {
  const std::vector<std::string_view> words = split(text, ',');
  return std::ranges::find(words, word) != words.end();
}

// mountinfo writes blanks and backslashes in paths as three octal digits.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr ==
            text.data() + i + 4) {
      plain.push_back(static_cast<char>(code));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

struct Mount {
  std::string shows;  // the part of the hierarchy that is mounted, "/" for all of it
  std::string point;
};

// Where a hierarchy is mounted: proc(5), /proc/PID/mountinfo. For version 1 the mount's own options
// name its controllers.
std::optional<Mount> find_mount(std::string_view mounts, int version, std::string_view controller) {
  for (const std::string_view line : split(mounts, '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const std::vector<std::string_view> before = split(line.substr(0, dash), ' ');
    const std::vector<std::string_view> after = split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    const bool matches =
        version == 2 ? after[0] == "cgroup2" : after[0] == "cgroup" && lists(after[2], controller);
    if (matches) return Mount{unescape(before[3]), unescape(before[4])};
  }
  return std::nullopt;
}

// The group's path below the mount point. A group that lies outside what is mounted here (seen from
// a container) has the mount point itself as its innermost visible group.
std::string below_mount(const std::string& shows, std::string_view group) {
  const std::string_view prefix = shows == "/" ? std::string_view() : std::string_view(shows);
  if (!group.starts_with(prefix) || group.find("/..") != std::string_view::npos) return "";
  group.remove_prefix(prefix.size());
  if (group == "/" || (!group.empty() && group.front() != '/')) return "";
  return std::string(group);
}

}  // namespace

std::string read_small_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream content;
  if (file) content << file.rdbuf();
  return content.str();
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc()) return std::nullopt;
  return number;
}

std::optional<std::int64_t> find_number(std::string_view text, std::string_view key) {
  for (const std::string_view line : split(text, '\n')) {
    if (!line.starts_with(key)) continue;
    const std::string_view rest = line.substr(key.size());
    const std::size_t digit = rest.find_first_not_of(' ');
    if (digit != 0 && digit != std::string_view::npos) return parse_number(rest.substr(digit));
  }
  return std::nullopt;
}

std::vector<ControlGroup> control_groups(const std::string& root, std::string_view controller) {
  const std::string memberships = read_small_file(root + "/proc/self/cgroup");
  const std::string mounts = read_small_file(root + "/proc/self/mountinfo");
  std::vector<ControlGroup> groups;
  for (const std::string_view line : split(memberships, '\n')) {
    // number:controllers:path, where the path may hold colons; version 2 is 0::path
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const int version = controllers.empty() ? 2 : 1;
    if (version == 1 && !lists(controllers, controller)) continue;
    const std::optional<Mount> mount = find_mount(mounts, version, controller);
    if (!mount) continue;
    std::string path = below_mount(mount->shows, line.substr(second + 1));
    while (true) {
      groups.push_back({root + mount->point + path, version});
      if (path.empty()) break;
      path.erase(path.rfind('/'));
    }
  }
  return groups;
}

}  // namespace imagine_deblur
