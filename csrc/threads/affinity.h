// Where and how politely the calling thread runs. Everything here answers false for "not permitted
// or not possible here" and never fails.
#pragma once

#include <vector>

namespace imagine_deblur {

// Processors the calling thread may run on, in order of number; empty when the kernel will not say.
std::vector<int> allowed_processors();

// From now on the calling thread runs on this processor only.
bool pin_this_thread(int processor) noexcept;

enum class Scheduling {
  kNormal,
  kBatch,  // SCHED_BATCH: as normal, but never preempts others on waking up
  kIdle,   // SCHED_IDLE: only when nobody else wants the core
};

// How polite the threads of a pool are to other tenants of the cores. Linux keeps both per thread.
struct Politeness {
  int nice = 0;  // added to the thread's nice value: 0 to 19
  Scheduling scheduling = Scheduling::kNormal;
};

// Lowers the calling thread's priority. False when any part of it was refused.
bool make_this_thread_polite(const Politeness& politeness) noexcept;

}  // namespace imagine_deblur
