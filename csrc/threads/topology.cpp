#include "threads/topology.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <thread>
#include <tuple>
#include <utility>

#include "threads/affinity.h"
#include "threads/cgroup.h"

namespace imagine_deblur {
namespace {

// Version 1 writes "no limit" as the largest multiple of a page that fits; nobody has this much.
constexpr std::int64_t kNoLimit = std::int64_t{1} << 60;

template <typename Number>
void keep_smaller(std::optional<Number>& kept, std::optional<Number> candidate) {
  if (candidate && (!kept || *candidate < *kept)) kept = candidate;
}

std::string processor_folder(const std::string& root, int processor) {
  return root + "/sys/devices/system/cpu/cpu" + std::to_string(processor);
}

// What the order of processors is made of. The siblings list is the same text for all threads of a
// core and for no other; core_id repeats between clusters on some ARM machines.
struct Place {
  int processor;
  std::string core;
  std::int64_t capacity;
};

Place find_place(const std::string& root, int processor) {
  const std::string folder = processor_folder(root, processor);
  return {processor, read_small_file(folder + "/topology/thread_siblings_list"),
          parse_number(read_small_file(folder + "/cpu_capacity")).value_or(0)};
}

std::optional<std::int64_t> cache_bytes(const std::string& root, int processor, int level) {
  for (int index = 0; index < 8; ++index) {
    const std::string folder =
        processor_folder(root, processor) + "/cache/index" + std::to_string(index);
    if (parse_number(read_small_file(folder + "/level")) != level) continue;
    if (read_small_file(folder + "/type").starts_with("Instruction")) continue;
    const std::string size = read_small_file(folder + "/size");
    const std::optional<std::int64_t> number = parse_number(size);
    if (!number) return std::nullopt;
    const bool mega = size.find('M') != std::string::npos;
    const bool kilo = size.find('K') != std::string::npos;
    return *number * (mega ? 1 << 20 : kilo ? 1 << 10 : 1);
  }
  return std::nullopt;
}

std::optional<double> quota_of(const ControlGroup& group) {
  std::optional<std::int64_t> quota;
  std::optional<std::int64_t> period;
  if (group.version == 2) {
    const std::string limit = read_small_file(group.folder + "/cpu.max");  // "150000 100000"
    quota = parse_number(limit);
    period = parse_number(std::string_view(limit).substr(limit.find(' ') + 1));
  } else {
    quota = parse_number(read_small_file(group.folder + "/cpu.cfs_quota_us"));
    period = parse_number(read_small_file(group.folder + "/cpu.cfs_period_us"));
  }
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;  // "max" or -1
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

struct GroupMemory {
  std::optional<std::int64_t> limit;
  std::optional<std::int64_t> room;
};

GroupMemory memory_of(const ControlGroup& group) {
  const auto number = [&group](const char* file) {
    return parse_number(read_small_file(group.folder + "/" + file));
  };
  const bool newer = group.version == 2;
  GroupMemory found;
  keep_smaller(found.limit, number(newer ? "memory.max" : "memory.limit_in_bytes"));
  if (newer) keep_smaller(found.limit, number("memory.high"));
  if (!found.limit || *found.limit >= kNoLimit) return {};
  const std::optional<std::int64_t> usage =
      number(newer ? "memory.current" : "memory.usage_in_bytes");
  if (!usage) return found;
  const std::int64_t reclaimable = find_number(read_small_file(group.folder + "/memory.stat"),
                                               newer ? "inactive_file" : "total_inactive_file")
                                       .value_or(0);
  const std::int64_t used = std::max<std::int64_t>(*usage - reclaimable, 0);
  found.room = std::max<std::int64_t>(*found.limit - used, 0);
  return found;
}

std::optional<std::int64_t> meminfo_bytes(const std::string& meminfo, const char* key) {
  const std::optional<std::int64_t> kibibytes = find_number(meminfo, key);
  if (!kibibytes) return std::nullopt;
  return *kibibytes * 1024;
}

}  // namespace

int usable_threads(int processors, std::optional<double> quota) noexcept {
  const int present = std::max(processors, 1);
  if (!quota || *quota >= present) return present;
  const int rounded = static_cast<int>(std::ceil(*quota - 0.5));
  return std::clamp(rounded, 1, present);
}

Topology discover_topology(const std::string& root) {
  std::vector<int> processors = allowed_processors();
  if (processors.empty()) {
    const int count = static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U));
    for (int i = 0; i < count; ++i) processors.push_back(i);
  }
  return discover_topology(root, processors);
}

Topology discover_topology(const std::string& root, const std::vector<int>& processors) {
  Topology found;
  // Sorted by: how many threads of the same core came before, then speed, then number.
  std::vector<std::tuple<int, std::int64_t, int>> order;
  std::map<std::string, int> named;
  bool known = !processors.empty();
  for (const int processor : processors) {
    const Place place = find_place(root, processor);
    known = known && !place.core.empty();
    const int before = place.core.empty() ? 0 : named[place.core]++;
    order.emplace_back(before, -place.capacity, processor);
  }
  std::ranges::sort(order);
  for (const auto& entry : order) found.processors.push_back(std::get<2>(entry));
  if (known) found.cores = static_cast<int>(named.size());
  if (!found.processors.empty()) {
    found.l2_bytes = cache_bytes(root, found.processors.front(), 2);
    found.l3_bytes = cache_bytes(root, found.processors.front(), 3);
  }
  found.quota = cgroup_cpu_quota(root);
  found.usable_threads = usable_threads(static_cast<int>(processors.size()), found.quota);
  return found;
}

std::optional<double> cgroup_cpu_quota(const std::string& root) {
  std::optional<double> smallest;
  for (const ControlGroup& group : control_groups(root, "cpu")) {
    keep_smaller(smallest, quota_of(group));
  }
  return smallest;
}

MemoryLimits discover_memory_limits(const std::string& root) {
  MemoryLimits limits;
  const std::string meminfo = read_small_file(root + "/proc/meminfo");
  limits.machine_bytes = meminfo_bytes(meminfo, "MemTotal:");
  limits.available_bytes = meminfo_bytes(meminfo, "MemAvailable:");
  for (const ControlGroup& group : control_groups(root, "memory")) {
    const GroupMemory memory = memory_of(group);
    keep_smaller(limits.cgroup_limit_bytes, memory.limit);
    keep_smaller(limits.cgroup_room_bytes, memory.room);
  }
  return limits;
}

std::optional<std::int64_t> MemoryLimits::room_bytes() const noexcept {
  std::optional<std::int64_t> room = available_bytes;
  keep_smaller(room, cgroup_room_bytes);
  return room;
}

}  // namespace imagine_deblur
