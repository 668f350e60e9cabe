// Topology from made trees of /proc and /sys, affinity that is refused, executors and the pool.
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "threads/affinity.h"
#include "threads/executor.h"
#include "threads/pinned_pool.h"
#include "threads/topology.h"

using namespace imagine_deblur;

namespace {

int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// ---- Topology.

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

// ---- Affinity and politeness.

void test_affinity_in_a_thread_of_its_own() {
  std::thread([] {
    const std::vector<int> allowed = allowed_processors();
    if (allowed.empty()) return;
    const bool pinned = pin_this_thread(allowed.back());
    if (pinned) CHECK((allowed_processors() == std::vector{allowed.back()}));
    CHECK(!pin_this_thread(-1));
    CHECK(!pin_this_thread(60000));
    CHECK(!pin_this_thread(1 << 30));
    if (pinned) CHECK((allowed_processors() == std::vector{allowed.back()}));
  }).join();
}

void test_politeness_is_per_thread() {
  const int before = getpriority(PRIO_PROCESS, 0);
  std::thread([before] {
    CHECK(make_this_thread_polite({}));
    if (!make_this_thread_polite({.nice = 3, .scheduling = Scheduling::kBatch})) return;
    const auto thread = static_cast<id_t>(syscall(SYS_gettid));
    CHECK(getpriority(PRIO_PROCESS, thread) == std::min(before + 3, 19));
    CHECK(sched_getscheduler(0) == SCHED_BATCH);
    CHECK(make_this_thread_polite({.nice = 40}));
    CHECK(getpriority(PRIO_PROCESS, thread) == 19);
    if (make_this_thread_polite({.scheduling = Scheduling::kIdle})) {
      CHECK(sched_getscheduler(0) == SCHED_IDLE);
    }
  }).join();
  CHECK(getpriority(PRIO_PROCESS, 0) == before);
}

// ---- Executors.

void check_every_index_once(Executor& executor, int count) {
  std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
  std::vector<std::atomic<int>> inside(static_cast<std::size_t>(executor.worker_count()));
  executor.parallel_for(count, [&](int index, int worker) {
    CHECK(worker >= 0 && worker < executor.worker_count());
    auto& busy = inside[static_cast<std::size_t>(worker)];
    CHECK(busy.fetch_add(1) == 0);  // one call at a time for each worker
    seen[static_cast<std::size_t>(index)].fetch_add(1);
    busy.fetch_sub(1);
  });
  for (const std::atomic<int>& times : seen) CHECK(times.load() == 1);
}

// `pause_us` holds up the other indices, so that they cannot all be over before index 7 throws.
void check_first_error_comes_back(Executor& executor, unsigned pause_us = 0) {
  std::atomic<int> begun{0};
  bool caught = false;
  try {
    executor.parallel_for(10000, [&begun, pause_us](int index, int) {
      begun.fetch_add(1);
      if (index == 7) throw Error(ErrorKind::kEngine, "tile seven");
      if (pause_us > 0) usleep(pause_us);
    });
  } catch (const Error& error) {
    caught = error.kind() == ErrorKind::kEngine && std::string(error.what()) == "tile seven";
  }
  CHECK(caught);
  CHECK(begun.load() < 10000);  // the rest was skipped
  bool other = false;
  try {
    executor.parallel_for(4, [](int, int) { throw std::runtime_error("every one of them"); });
  } catch (const std::runtime_error&) {
    other = true;
  }
  CHECK(other);
  check_every_index_once(executor, 100);  // and it works on as before
}

void test_every_executor() {
  SerialExecutor serial;
  std::vector<int> order;
  serial.parallel_for(5, [&order](int index, int) { order.push_back(index); });
  CHECK((order == std::vector{0, 1, 2, 3, 4}));
  for (const int threads : {1, 2, 3, 8}) {
    PinnedPool pool({.threads = threads});
    CHECK(pool.worker_count() == threads);
    for (const int count : {0, 1, 2, 7, 500}) check_every_index_once(pool, count);
    pool.parallel_for(-3, [](int, int) { CHECK(false); });
    check_first_error_comes_back(pool, 2000);
  }
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    ShuffledExecutor shuffled(3, seed);
    for (const int count : {0, 1, 2, 7, 500}) check_every_index_once(shuffled, count);
    check_first_error_comes_back(shuffled);
  }
  check_every_index_once(serial, 100);
  check_first_error_comes_back(serial);
}

void test_shuffled_is_random_but_repeatable() {
  const auto run = [](std::uint64_t seed) {
    ShuffledExecutor executor(4, seed);
    std::vector<std::pair<int, int>> calls;
    executor.parallel_for(50, [&calls](int i, int worker) { calls.emplace_back(i, worker); });
    return calls;
  };
  CHECK(run(1) == run(1));
  CHECK(run(1) != run(2));
  std::set<int> workers;
  bool in_order = true;
  const auto calls = run(3);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    workers.insert(calls[i].second);
    in_order = in_order && calls[i].first == static_cast<int>(i);
  }
  CHECK(workers.size() == 4 && !in_order);
}

// ---- The pool.

void test_all_workers_take_part() {
  PinnedPool pool({.threads = 4});
  std::atomic<int> inside{0};
  std::array<std::thread::id, 4> who{};
  // Each index waits until all four have begun: only four threads at once can finish this.
  pool.parallel_for(4, [&](int, int worker) {
    who[static_cast<std::size_t>(worker)] = std::this_thread::get_id();
    inside.fetch_add(1);
    while (inside.load() < 4) std::this_thread::yield();
  });
  CHECK(who[0] == std::this_thread::get_id());
  CHECK((std::set<std::thread::id>(who.begin(), who.end()).size() == 4));
}

void test_results_written_by_workers_are_seen() {
  PinnedPool pool({.threads = 4});
  std::vector<int> values(1000, 0);  // plain ints: the thread sanitizer watches this
  for (int round = 1; round <= 200; ++round) {
    pool.parallel_for(1000, [&values](int i, int) { ++values[static_cast<std::size_t>(i)]; });
    CHECK(std::accumulate(values.begin(), values.end(), 0) == 1000 * round);
  }
}

void test_callers_take_turns() {
  PinnedPool pool({.threads = 3});
  std::atomic<int> total{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&pool, &total] {
      for (int i = 0; i < 50; ++i) {
        pool.parallel_for(10, [&total](int, int) { total.fetch_add(1); });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(total.load() == 4 * 50 * 10);
}

void test_pinning_is_reported_and_refusal_harmless() {
  const std::vector<int> allowed = allowed_processors();
  if (allowed.size() < 2) return;
  PinnedPool pinned({.threads = 2, .processors = allowed, .politeness = {.nice = 1}});
  CHECK(pinned.pinned_count() <= 1 && pinned.polite_count() <= 1);
  std::atomic<int> inside{0};
  pinned.parallel_for(2, [&](int, int worker) {
    inside.fetch_add(1);
    while (inside.load() < 2) std::this_thread::yield();
    if (worker == 1 && pinned.pinned_count() == 1) {
      CHECK((allowed_processors() == std::vector{allowed[1]}));
    }
    if (worker == 0) CHECK(allowed_processors() == allowed);  // the caller's thread is its own
  });

  // Processors that do not exist: nothing is pinned, everything runs.
  PinnedPool refused({.threads = 3, .processors = {0, 50000, 50001}});
  CHECK(refused.pinned_count() == 0);
  check_every_index_once(refused, 100);
  PinnedPool too_few({.threads = 3, .processors = {allowed[0]}});
  CHECK(too_few.pinned_count() == 0);
  PinnedPool off({.threads = 3, .pin = false, .processors = allowed});
  CHECK(off.pinned_count() == 0);
}

double process_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void test_idle_workers_sleep() {
  PinnedPool pool({.threads = 8});
  check_every_index_once(pool, 100);
  const double before = process_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(process_seconds() - before < 0.1);  // eight spinning workers would use 0.3 s each
}

std::atomic<int> signal_seen_by_main{0};  // without a lock, so a handler may touch it
pthread_t main_thread;

void test_signals_reach_the_caller() {
  main_thread = pthread_self();
  PinnedPool pool({.threads = 4});
  struct sigaction action {};
  action.sa_handler = [](int) {
    if (pthread_equal(pthread_self(), main_thread) != 0) signal_seen_by_main.fetch_add(1);
  };
  sigaction(SIGUSR1, &action, nullptr);
  // While the caller has the signal blocked, only a worker could take it: none does.
  sigset_t user;
  sigemptyset(&user);
  sigaddset(&user, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &user, nullptr);
  kill(getpid(), SIGUSR1);
  usleep(20000);
  sigset_t pending;
  sigpending(&pending);
  CHECK(sigismember(&pending, SIGUSR1) == 1);
  pthread_sigmask(SIG_UNBLOCK, &user, nullptr);
  CHECK(signal_seen_by_main == 1);
}

// A child of its own, so that no threads of this process are around when it forks.
void test_misuse_and_scarcity() {
  CHECK_THROWS(PinnedPool({.threads = 0}), ErrorKind::kOptions);
  CHECK(in_child([] {
          if (std::freopen("/dev/null", "w", stderr) == nullptr) return 1;
          PinnedPool pool({.threads = 2});
          pool.parallel_for(2, [&pool](int, int) { pool.parallel_for(1, [](int, int) {}); });
          return 0;
        }) == -SIGABRT);
  // A pool inside a task of another pool is fine.
  CHECK(in_child([] {
          PinnedPool outer({.threads = 2});
          std::atomic<int> total{0};
          outer.parallel_for(3, [&total](int, int) {
            PinnedPool inner({.threads = 2});
            inner.parallel_for(5, [&total](int, int) { total.fetch_add(1); });
          });
          return total.load() == 15 ? 0 : 1;
        }) == 0);
}

// No more threads: the pool says so, and those that were started have ended.
void test_thread_limit() {
  const int status = in_child([] {
    if (geteuid() == 0 && setuid(65534) != 0) return 77;
    const rlimit limit{1, 1};
    if (setrlimit(RLIMIT_NPROC, &limit) != 0) return 77;
    try {
      PinnedPool pool({.threads = 4});
    } catch (const Error& error) {
      return error.kind() == ErrorKind::kIo && error.context().code == EAGAIN ? 0 : 1;
    }
    return 77;  // the limit is not enforced here
  });
  if (status == 77) std::printf("thread limit: not enforced here, skipped\n");
  CHECK(status == 0 || status == 77);
}

}  // namespace

int main() {
  test_misuse_and_scarcity();
  test_thread_limit();
  test_usable_threads();
  test_quota_version_2();
  test_quota_version_1_and_both();
  test_quota_inside_containers();
  test_memory_limits();
  test_processors_are_ordered_by_core_and_speed();
  test_this_machine();
  test_affinity_in_a_thread_of_its_own();
  test_politeness_is_per_thread();
  test_every_executor();
  test_shuffled_is_random_but_repeatable();
  test_all_workers_take_part();
  test_results_written_by_workers_are_seen();
  test_callers_take_turns();
  test_pinning_is_reported_and_refusal_harmless();
  test_idle_workers_sleep();
  test_signals_reach_the_caller();
  return 0;
}
