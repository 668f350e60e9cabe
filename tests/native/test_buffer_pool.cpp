// The buffer pool: random leases against a model, known answers, misuse and many threads.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "memory/buffer_pool.h"
#include "memory/mapped_file.h"
#include "support.h"

using namespace imagine_deblur;
using test_support::aborts;
using test_support::pick;
using test_support::Random;

namespace {

constexpr std::size_t kMiB = 1024 * 1024;

struct LiveLease {
  Lease lease;
  unsigned char pattern = 0;
};

class PoolRules {
 public:
  PoolRules(const PoolOptions& options, unsigned seed) : pool_(options), random_(seed) {
    const Lease first = pool_.lease("first", 1);
    base_ = first.data();
    high_water_ = BufferPool::footprint(1);
  }

  void run(int steps) {
    for (int step = 0; step < steps; ++step) {
      const int rule = pick(random_, 0, 9);
      if (rule < 5) {
        lease_something();
      } else if (rule < 8) {
        release_something();
      } else if (rule == 8) {
        move_something();
      } else {
        drop_something();
      }
      check_statistics();
    }
    while (!live_.empty()) release_something();
    check_statistics();
    CHECK(pool_.statistics().largest_free == pool_.capacity());
  }

 private:
  std::size_t begin_of(const Lease& lease) const {
    return static_cast<std::size_t>(lease.data() - base_);
  }

  // Would any gap between the live leases, found without the pool's help, hold `bytes`?
  bool some_gap_holds(std::size_t bytes) const {
    std::map<std::size_t, std::size_t> taken;
    for (const LiveLease& live : live_) {
      taken[begin_of(live.lease)] = BufferPool::footprint(live.lease.bytes());
    }
    taken[pool_.capacity()] = 0;
    const std::size_t step = bytes >= 64 * 1024 ? page_bytes() : 64;
    std::size_t at = 0;
    for (const auto& [begin, size] : taken) {
      const std::size_t aligned = (at + step - 1) / step * step;
      if (aligned + BufferPool::footprint(bytes) <= begin) return true;
      at = begin + size;
    }
    return false;
  }

  void lease_something() {
    const int kind = pick(random_, 0, 5);
    const auto bytes = static_cast<std::size_t>(kind < 3   ? pick(random_, 1, 5000)
                                                : kind < 5 ? pick(random_, 60000, 400000)
                                                           : pick(random_, 1, 6 << 20));
    const bool fits = some_gap_holds(bytes);
    try {
      LiveLease made{pool_.lease("some", bytes), static_cast<unsigned char>(pick(random_, 1, 255))};
      CHECK(fits);
      CHECK(made.lease.bytes() == bytes && made.lease.name() == "some");
      const auto address = reinterpret_cast<std::uintptr_t>(made.lease.data());
      CHECK(address % (bytes >= 64 * 1024 ? page_bytes() : 64) == 0);
      CHECK(begin_of(made.lease) + bytes <= pool_.capacity());
      std::memset(made.lease.data(), made.pattern, bytes);
      in_use_ += BufferPool::footprint(bytes);
      high_water_ = std::max(high_water_, in_use_);
      live_.push_back(std::move(made));
    } catch (const Error& error) {
      CHECK(!fits);
      CHECK(error.kind() == ErrorKind::kMemoryBudget);
      CHECK(error.context().wanted == static_cast<std::int64_t>(bytes));
      CHECK(error.context().allowed <= static_cast<std::int64_t>(pool_.capacity()));
      ++refused_;
    }
  }

  std::size_t any() {
    return static_cast<std::size_t>(pick(random_, 0, static_cast<int>(live_.size()) - 1));
  }

  // Nobody else has written into it.
  static void check_content(const LiveLease& live) {
    const auto* bytes = live.lease.as<unsigned char>();
    for (std::size_t i = 0; i < live.lease.bytes(); ++i) CHECK(bytes[i] == live.pattern);
  }

  void release_something() {
    if (live_.empty()) return;
    const auto at = live_.begin() + static_cast<std::ptrdiff_t>(any());
    check_content(*at);
    in_use_ -= BufferPool::footprint(at->lease.bytes());
    live_.erase(at);  // moves the later ones down, so move assignment is exercised as well
  }

  void move_something() {
    if (live_.empty()) return;
    LiveLease& live = live_[any()];
    Lease other = std::move(live.lease);
    CHECK(other && other.name() == "some");
    live.lease = std::move(other);
    check_content(live);
  }

  // Drops one and releases it; its neighbours keep their content.
  void drop_something() {
    if (live_.empty()) return;
    const std::size_t at = any();
    const Lease& lease = live_[at].lease;
    const auto offset =
        static_cast<std::size_t>(pick(random_, 0, static_cast<int>(lease.bytes()) - 1));
    pool_.advise_dropped(lease, offset, lease.bytes() - offset);
    in_use_ -= BufferPool::footprint(lease.bytes());
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(at));
    for (const LiveLease& live : live_) check_content(live);
  }

  void check_statistics() const {
    const PoolStatistics now = pool_.statistics();
    CHECK(now.in_use == in_use_ && now.high_water == high_water_);
    CHECK(now.leases == std::ssize(live_) && now.refused == refused_);
    CHECK(now.capacity == pool_.capacity() && now.largest_free <= now.capacity - now.in_use);
  }

  BufferPool pool_;
  Random random_;
  std::byte* base_ = nullptr;
  std::vector<LiveLease> live_;
  std::size_t in_use_ = 0;
  std::size_t high_water_ = 0;
  std::int64_t refused_ = 0;
};

void test_random_leases() {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    PoolRules({.bytes = 4 * kMiB, .anonymous = true}, seed).run(400);
  }
  PoolRules({.bytes = 3 * kMiB}, 5).run(300);
  if (access("/dev/shm", W_OK) == 0) {
    PoolRules({.bytes = 3 * kMiB, .folder = "/dev/shm"}, 6).run(300);
  }
}

void test_sized_by_footprints_a_pool_never_refuses() {
  const std::vector<std::size_t> sizes{2048 * 1536, 64, 70000, 3 * 300 * 300 * 4, 1};
  std::size_t total = 0;
  for (const std::size_t bytes : sizes) total += BufferPool::footprint(bytes);
  // Big buffers first, so that small ones put no gap before a page.
  std::vector<std::size_t> order = sizes;
  std::ranges::sort(order, std::greater<>());
  BufferPool pool({.bytes = total, .anonymous = true});
  std::vector<Lease> leases;
  for (const std::size_t bytes : order) leases.push_back(pool.lease("plane", bytes));
  CHECK(pool.statistics().in_use == total && pool.statistics().refused == 0);
  CHECK_THROWS(static_cast<void>(pool.lease("one more", 2 * kMiB)), ErrorKind::kMemoryBudget);
  CHECK_THROWS(static_cast<void>(pool.lease("absurd", SIZE_MAX)), ErrorKind::kMemoryBudget);
  CHECK(pool.statistics().refused == 2 && pool.statistics().in_use == total);
  leases.clear();
  CHECK(pool.statistics().in_use == 0 && pool.statistics().high_water == total);
}

void test_refusal_says_what_was_wanted() {
  BufferPool pool({.bytes = kMiB, .anonymous = true});
  const Lease held = pool.lease("held", kMiB / 2);
  try {
    const Lease refused = pool.lease("wiener plane 2", kMiB);
    CHECK(false);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kMemoryBudget);
    CHECK(error.context().field == "wiener plane 2");
    CHECK(error.context().wanted == static_cast<std::int64_t>(kMiB));
    CHECK(error.context().allowed == static_cast<std::int64_t>(kMiB / 2));
    CHECK(std::string(error.what()).find("wiener plane 2") != std::string::npos);
  }
}

void test_dropping_gives_memory_back(const PoolOptions& options, Backing backing) {
  BufferPool pool(options);
  CHECK(pool.statistics().backing == backing);
  const std::int64_t before = pool.statistics().resident;
  Lease dead = pool.lease("dead", 4 * kMiB);
  Lease alive = pool.lease("alive", 2 * kMiB);
  std::memset(dead.data(), 7, dead.bytes());
  std::memset(alive.data(), 9, alive.bytes());
  const std::int64_t full = pool.statistics().resident;
  CHECK(full >= static_cast<std::int64_t>(6 * kMiB));
  CHECK(before <= full);
  pool.advise_dropped(dead);
  CHECK(pool.statistics().resident <= full - static_cast<std::int64_t>(4 * kMiB));
  for (std::size_t i = 0; i < alive.bytes(); ++i) CHECK(alive.as<unsigned char>()[i] == 9);
  dead.release();
  const Lease again = pool.lease("again", 4 * kMiB);
  CHECK(again.as<unsigned char>()[4 * kMiB - 1] == 0);
  std::memset(again.data(), 3, again.bytes());
  CHECK(alive.as<unsigned char>()[0] == 9);
}

void test_misuse_ends_the_program() {
  BufferPool pool({.bytes = kMiB, .anonymous = true});
  BufferPool other({.bytes = kMiB, .anonymous = true});
  Lease lease = pool.lease("plane", 1000);
  CHECK(aborts([&] { static_cast<void>(pool.lease("none", 0)); }));
  CHECK(aborts([&] { pool.advise_dropped(lease, 500, 501); }));
  CHECK(aborts([&] { pool.advise_dropped(lease, 1001, 0); }));
  CHECK(aborts([&] { other.advise_dropped(lease); }));
  CHECK(aborts([] {
    Lease survivor;
    BufferPool gone({.bytes = kMiB, .anonymous = true});
    survivor = gone.lease("plane", 10);
  }));
  CHECK(!aborts([&] { pool.advise_dropped(lease, 500, 500); }));
  lease.release();
  lease.release();  // an empty lease is released as often as you like
  CHECK(!lease && lease.data() == nullptr);
}

void test_many_threads_lease_at_once() {
  BufferPool pool({.bytes = 8 * kMiB, .anonymous = true});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      Random random(static_cast<unsigned>(t));
      for (int i = 0; i < 200; ++i) {
        const auto bytes = static_cast<std::size_t>(pick(random, 1, 200000));
        const Lease lease = pool.lease("tile", bytes);
        std::memset(lease.data(), t, bytes);
        if (i % 20 == 0) CHECK(pool.statistics().leases >= 1);
        for (std::size_t k = 0; k < bytes; k += 997) CHECK(lease.as<unsigned char>()[k] == t);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(pool.statistics().leases == 0 && pool.statistics().largest_free == pool.capacity());
}

}  // namespace

int main() {
  test_misuse_ends_the_program();
  test_random_leases();
  test_sized_by_footprints_a_pool_never_refuses();
  test_refusal_says_what_was_wanted();
  test_dropping_gives_memory_back({.bytes = 8 * kMiB, .anonymous = true}, Backing::kAnonymous);
  for (const std::string& folder : {default_folder(), std::string("/dev/shm")}) {
    if (access(folder.c_str(), W_OK) != 0) continue;
    const Backing backing = MappedFile::in_folder(1, folder).backing();
    test_dropping_gives_memory_back({.bytes = 8 * kMiB, .folder = folder}, backing);
  }
  test_many_threads_lease_at_once();
  return 0;
}
