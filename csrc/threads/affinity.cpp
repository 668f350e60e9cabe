#include "threads/affinity.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace imagine_deblur {
namespace {

constexpr int kMostProcessors = 1 << 16;

// A set of processors of any size; cpu_set_t alone ends at 1024.
struct ProcessorSet {
  explicit ProcessorSet(int capacity)
      : bytes(CPU_ALLOC_SIZE(static_cast<std::size_t>(capacity))),
        set(CPU_ALLOC(static_cast<std::size_t>(capacity))) {
    if (set) CPU_ZERO_S(bytes, set.get());
  }
  struct Free {
    void operator()(cpu_set_t* s) const noexcept { CPU_FREE(s); }
  };
  std::size_t bytes;
  std::unique_ptr<cpu_set_t, Free> set;
};

}  // namespace

std::vector<int> allowed_processors() {
  for (int capacity = 1024; capacity <= kMostProcessors; capacity *= 4) {
    const ProcessorSet allowed(capacity);
    if (!allowed.set) return {};
    if (sched_getaffinity(0, allowed.bytes, allowed.set.get()) != 0) {
      if (errno == EINVAL) continue;  // the kernel's set is larger
      return {};
    }
    std::vector<int> processors;
    for (int i = 0; i < capacity; ++i) {
      const auto processor = static_cast<std::size_t>(i);
      if (CPU_ISSET_S(processor, allowed.bytes, allowed.set.get())) processors.push_back(i);
    }
    return processors;
  }
  return {};
}

bool pin_this_thread(int processor) noexcept {
  if (processor < 0 || processor >= kMostProcessors) return false;
  const ProcessorSet one(processor + 1);
  if (!one.set) return false;
  CPU_SET_S(static_cast<std::size_t>(processor), one.bytes, one.set.get());
  return sched_setaffinity(0, one.bytes, one.set.get()) == 0;
}

bool make_this_thread_polite(const Politeness& politeness) noexcept {
  bool granted = true;
  if (politeness.scheduling != Scheduling::kNormal) {
    const sched_param none{};
    const int policy = politeness.scheduling == Scheduling::kBatch ? SCHED_BATCH : SCHED_IDLE;
    granted = sched_setscheduler(0, policy, &none) == 0;
  }
  if (politeness.nice != 0) {
    // Linux takes a thread's number where POSIX has the process's.
    const auto thread = static_cast<id_t>(syscall(SYS_gettid));
    errno = 0;
    const int now = getpriority(PRIO_PROCESS, thread);
    const int wanted = std::min(now + politeness.nice, 19);
    granted = errno == 0 && setpriority(PRIO_PROCESS, thread, wanted) == 0 && granted;
  }
  return granted;
}

}  // namespace imagine_deblur
