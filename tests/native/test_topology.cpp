// Processors, quotas and memory limits, from made trees of /proc and /sys and from this machine.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "check.h"
#include "threads/affinity.h"
#include "threads/topology.h"

using namespace imagine_deblur;

namespace {

// A tree of small files that stands for a machine.
class Tree {
 public:
  Tree() : root_(std::filesystem::temp_directory_path() / "test-threads-XXXXXX") {
    CHECK(mkdtemp(root_.data()) != nullptr);
  }
  ~Tree() { std::filesystem::remove_all(root_); }
  Tree& with(const std::string& path, const std::string& content) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content;
    return *this;
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

constexpr const char* kMountV2 =
    "22 1 8:1 / / rw,relatime - ext4 /dev/root rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kMountV1 =
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

void test_usable_threads() {
  struct Row {
    int processors;
    std::optional<double> quota;
    int threads;
  };
  const std::array<Row, 13> rows{{{4, {}, 4},
                                  {0, {}, 1},
                                  {4, 0.1, 1},
                                  {4, 0.5, 1},
                                  {4, 1.0, 1},
                                  {4, 1.5, 1},
                                  {4, 1.6, 2},
                                  {4, 2.0, 2},
                                  {4, 2.5, 2},
                                  {4, 3.9, 4},
                                  {4, 4.0, 4},
                                  {4, 64.0, 4},
                                  {2, 1e30, 2}}};
  for (const Row& row : rows) CHECK(usable_threads(row.processors, row.quota) == row.threads);
}

void test_quota_version_2() {
  Tree tree;
  CHECK(!cgroup_cpu_quota(tree.root()));  // no /proc at all
  tree.with("/proc/self/cgroup", "0::/system.slice/watch.service\n");
  CHECK(!cgroup_cpu_quota(tree.root()));  // not mounted
  tree.with("/proc/self/mountinfo", kMountV2);
  CHECK(!cgroup_cpu_quota(tree.root()));  // no limit files
  const std::string leaf = "/sys/fs/cgroup/system.slice/watch.service/cpu.max";
  tree.with(leaf, "max 100000\n");
  CHECK(!cgroup_cpu_quota(tree.root()));
  tree.with(leaf, "150000 100000\n");
  CHECK(cgroup_cpu_quota(tree.root()) == 1.5);
  // A tighter limit farther up counts, a looser one does not.
  tree.with("/sys/fs/cgroup/system.slice/cpu.max", "25000 50000\n");
  CHECK(cgroup_cpu_quota(tree.root()) == 0.5);
  tree.with("/sys/fs/cgroup/system.slice/cpu.max", "400000 100000\n");
  CHECK(cgroup_cpu_quota(tree.root()) == 1.5);
  tree.with(leaf, "gibberish\n");
  CHECK(cgroup_cpu_quota(tree.root()) == 4.0);
  const Topology found = discover_topology(tree.root(), {0, 1, 2});
  CHECK(found.quota == 4.0 && found.usable_threads == 3);
}

void test_quota_version_1_and_both() {
  Tree tree;
  tree.with("/proc/self/mountinfo", kMountV1)
      .with("/proc/self/cgroup", "4:memory:/a\n2:cpu,cpuacct:/pods/p1/c:1\n0::/\n")
      .with("/sys/fs/cgroup/cpu,cpuacct/pods/p1/c:1/cpu.cfs_quota_us", "-1\n")
      .with("/sys/fs/cgroup/cpu,cpuacct/pods/p1/c:1/cpu.cfs_period_us", "100000\n");
  CHECK(!cgroup_cpu_quota(tree.root()));
  tree.with("/sys/fs/cgroup/cpu,cpuacct/pods/p1/c:1/cpu.cfs_quota_us", "250000\n");
  CHECK(cgroup_cpu_quota(tree.root()) == 2.5);
  tree.with("/sys/fs/cgroup/cpu,cpuacct/pods/cpu.cfs_quota_us", "120000\n")
      .with("/sys/fs/cgroup/cpu,cpuacct/pods/cpu.cfs_period_us", "100000\n");
  CHECK(cgroup_cpu_quota(tree.root()) == 1.2);
  tree.with("/sys/fs/cgroup/unified/cpu.max", "70000 100000\n");
  CHECK(cgroup_cpu_quota(tree.root()) == 0.7);
}

// In a container the mount shows only the container's part, and paths may lie outside it.
void test_quota_inside_containers() {
  Tree docker;
  docker
      .with("/proc/self/mountinfo",
            "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu\\040set ro - cgroup cgroup rw,cpu\n")
      .with("/proc/self/cgroup", "2:cpu:/docker/abc/inner\n")
      .with("/sys/fs/cgroup/cpu set/inner/cpu.cfs_quota_us", "300000")
      .with("/sys/fs/cgroup/cpu set/inner/cpu.cfs_period_us", "100000")
      .with("/sys/fs/cgroup/cpu set/cpu.cfs_quota_us", "200000")
      .with("/sys/fs/cgroup/cpu set/cpu.cfs_period_us", "100000");
  CHECK(cgroup_cpu_quota(docker.root()) == 2.0);
  for (const char* outside : {"0::/../../elsewhere\n", "0::/docker/abcdef\n", "0::/\n"}) {
    Tree tree;
    tree.with("/proc/self/mountinfo", "30 22 0:26 /docker/abc /cg rw - cgroup2 cgroup2 rw\n")
        .with("/proc/self/cgroup", outside)
        .with("/cg/cpu.max", "50000 100000\n");
    CHECK(cgroup_cpu_quota(tree.root()) == 0.5);
  }
}

void test_memory_limits() {
  Tree tree;
  CHECK(!discover_memory_limits(tree.root()).room_bytes());
  tree.with("/proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n");
  CHECK(discover_memory_limits(tree.root()).machine_bytes == 1000 * 1024);
  CHECK(discover_memory_limits(tree.root()).room_bytes() == 600 * 1024);
  tree.with("/proc/self/cgroup", "0::/app\n")
      .with("/proc/self/mountinfo", kMountV2)
      .with("/sys/fs/cgroup/app/memory.max", "max\n")
      .with("/sys/fs/cgroup/app/memory.current", "100000\n");
  CHECK(!discover_memory_limits(tree.root()).cgroup_limit_bytes);
  tree.with("/sys/fs/cgroup/app/memory.max", "300000\n")
      .with("/sys/fs/cgroup/app/memory.stat", "anon 5\ninactive_file 40000\nfile 50000\n");
  MemoryLimits limits = discover_memory_limits(tree.root());
  CHECK(limits.cgroup_limit_bytes == 300000 && limits.cgroup_room_bytes == 240000);
  CHECK(limits.room_bytes() == 240000);
  tree.with("/sys/fs/cgroup/app/memory.high", "250000\n");
  CHECK(discover_memory_limits(tree.root()).cgroup_limit_bytes == 250000);
  // A parent with a larger limit can still have less room.
  tree.with("/sys/fs/cgroup/memory.max", "500000\n")
      .with("/sys/fs/cgroup/memory.current", "490000\n");
  limits = discover_memory_limits(tree.root());
  CHECK(limits.cgroup_limit_bytes == 250000 && limits.cgroup_room_bytes == 10000);

  Tree older;
  older.with("/proc/self/cgroup", "4:memory:/app\n")
      .with("/proc/self/mountinfo", kMountV1)
      .with("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
      .with("/sys/fs/cgroup/memory/memory.usage_in_bytes", "777\n")
      .with("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "314572800\n")
      .with("/sys/fs/cgroup/memory/app/memory.usage_in_bytes", "14572800\n")
      .with("/sys/fs/cgroup/memory/app/memory.stat",
            "inactive_file 1\ntotal_inactive_file 72800\n");
  limits = discover_memory_limits(older.root());
  CHECK(limits.cgroup_limit_bytes == 314572800 && limits.cgroup_room_bytes == 300072800);
}

void test_processors_are_ordered_by_core_and_speed() {
  Tree unknown;
  const Topology plain = discover_topology(unknown.root(), {3, 5});
  CHECK((plain.processors == std::vector{3, 5}));
  CHECK(!plain.cores && !plain.quota && !plain.l2_bytes && plain.usable_threads == 2);

  Tree siblings;  // 0 and 2 share a core, 1 and 3 share a core
  const std::string cpu = "/sys/devices/system/cpu/cpu";
  for (const int i : {0, 1, 2, 3}) {
    siblings.with(cpu + std::to_string(i) + "/topology/thread_siblings_list",
                  i % 2 == 0 ? "0,2\n" : "1,3\n");
  }
  siblings.with(cpu + "0/cache/index0/level", "1\n")
      .with(cpu + "0/cache/index0/type", "Data\n")
      .with(cpu + "0/cache/index0/size", "32K\n")
      .with(cpu + "0/cache/index2/level", "2\n")
      .with(cpu + "0/cache/index2/type", "Unified\n")
      .with(cpu + "0/cache/index2/size", "1024K\n")
      .with(cpu + "0/cache/index3/level", "3\n")
      .with(cpu + "0/cache/index3/size", "32M\n");
  const Topology threads = discover_topology(siblings.root(), {0, 1, 2, 3});
  CHECK((threads.processors == std::vector{0, 1, 2, 3}) && threads.cores == 2);
  CHECK(threads.l2_bytes == 1 << 20 && threads.l3_bytes == 32 << 20);
  CHECK((discover_topology(siblings.root(), {0, 2, 3}).processors == std::vector{0, 3, 2}));

  Tree mixed;  // four slow cores, then two fast ones, as on ARM
  for (int i = 0; i < 6; ++i) {
    mixed.with(cpu + std::to_string(i) + "/topology/thread_siblings_list", std::to_string(i) + "\n")
        .with(cpu + std::to_string(i) + "/cpu_capacity", i < 4 ? "446\n" : "1024\n");
  }
  const Topology arm = discover_topology(mixed.root(), {0, 1, 2, 3, 4, 5});
  CHECK((arm.processors == std::vector{4, 5, 0, 1, 2, 3}) && arm.cores == 6);
}

void test_this_machine() {
  const std::vector<int> allowed = allowed_processors();
  const Topology here = discover_topology();
  CHECK(here.usable_threads >= 1);
  CHECK(here.usable_threads <= static_cast<int>(here.processors.size()));
  if (!allowed.empty()) {
    std::vector<int> sorted = here.processors;
    std::ranges::sort(sorted);
    CHECK(sorted == allowed);
  }
  const MemoryLimits limits = discover_memory_limits();
  if (limits.machine_bytes) CHECK(*limits.machine_bytes > (1 << 20));
}

}  // namespace

int main() {
  test_usable_threads();
  test_quota_version_2();
  test_quota_version_1_and_both();
  test_quota_inside_containers();
  test_memory_limits();
  test_processors_are_ordered_by_core_and_speed();
  test_this_machine();
  return 0;
}
