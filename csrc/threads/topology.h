// Which cores and how much memory this process may really use: affinity and control groups, not the
// number of cores in the machine. "Unknown" (std::nullopt) is a normal answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace imagine_deblur {

struct Topology {
  // Processors the calling thread may run on, best first: one of each core before the siblings of
  // a core that was already named, and faster cores (ARM's cpu_capacity) before slower ones.
  std::vector<int> processors;
  std::optional<int> cores;              // distinct cores among them
  std::optional<double> quota;           // processor time per second allowed by control groups
  std::optional<std::int64_t> l2_bytes;  // per instance, of the first processor
  std::optional<std::int64_t> l3_bytes;
  int usable_threads = 1;
};

// Threads to run: the processors there are, or the quota rounded to the nearest number of threads,
// halves down, at least one. A quota of 0.5 or 1.5 gives one thread, 1.6 two, 2.5 two. Rounding up
// from small rests would have all threads stopped by the kernel for the rest of each period.
int usable_threads(int processors, std::optional<double> quota) noexcept;

// `root` is put before every path read (/proc, /sys, control group mounts): tests pass a made tree,
// and the processors allowed. Otherwise these are the calling thread's (allowed_processors).
Topology discover_topology(const std::string& root = "");
Topology discover_topology(const std::string& root, const std::vector<int>& processors);

// The smallest quota from the process's control group up to the root of its hierarchy: v1
// cpu.cfs_quota_us / cpu.cfs_period_us, v2 cpu.max, or both. In processors.
std::optional<double> cgroup_cpu_quota(const std::string& root = "");

struct MemoryLimits {
  std::optional<std::int64_t> machine_bytes;    // MemTotal
  std::optional<std::int64_t> available_bytes;  // MemAvailable
  // The tightest limit of the control groups (v1 memory.limit_in_bytes, v2 memory.max and
  // memory.high), and the least room left under any of them: limit less usage, where file pages
  // the kernel can take back (inactive_file) do not count as usage.
  std::optional<std::int64_t> cgroup_limit_bytes;
  std::optional<std::int64_t> cgroup_room_bytes;
  // What may be used now: the smaller of available_bytes and cgroup_room_bytes.
  std::optional<std::int64_t> room_bytes() const noexcept;
};

MemoryLimits discover_memory_limits(const std::string& root = "");

}  // namespace imagine_deblur
