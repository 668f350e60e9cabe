// Worker threads started once and, where permitted, each kept on its own processor.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "threads/affinity.h"
#include "threads/executor.h"

namespace imagine_deblur {

struct PinnedPoolOptions {
  int threads = 1;  // workers, the calling thread among them
  bool pin = true;
  std::vector<int> processors = {};  // to pin to, best first (Topology::processors); empty: none
  Politeness politeness = {};  // of the started workers; the calling thread is the caller's own
};

// The thread that calls parallel_for takes part as worker 0; it belongs to the caller, so it is
// neither pinned nor made polite. Workers 1, 2, ... are started at construction, pinned to
// processors[1], processors[2], ..., deaf to signals (which so reach the caller's threads), and
// asleep between calls.
//
// Threads: calls of parallel_for from several threads take turns. Calling it from inside one of its
// own tasks would wait for itself and ends the program. Throws kOptions for fewer than one thread,
// kIo when the system has no more threads to give. Threads do not survive fork().
class PinnedPool final : public Executor {
 public:
  explicit PinnedPool(const PinnedPoolOptions& options);
  PinnedPool(const PinnedPool&) = delete;
  PinnedPool& operator=(const PinnedPool&) = delete;
  ~PinnedPool() override;

  int worker_count() const noexcept override { return static_cast<int>(threads_.size()) + 1; }
  void parallel_for(int count, const Task& task) override;

  // Of the started workers: how many sit on their own processor, and how many are as polite as
  // asked. worker_count() - 1 when everything was permitted.
  int pinned_count() const noexcept { return pinned_; }
  int polite_count() const noexcept { return polite_; }

 private:
  void work(int worker, const PinnedPoolOptions& options);
  void run_indices(int worker) noexcept;
  void wait_until_started();
  void stop() noexcept;

  std::mutex turn_;  // held by the thread whose parallel_for runs

  std::mutex mutex_;                  // guards everything down to the blank line
  std::condition_variable wake_;      // a new call, or stopping
  std::condition_variable finished_;  // busy_ or starting_ reached 0
  std::uint64_t call_ = 0;            // counts calls of parallel_for
  int busy_ = 0;                      // started workers that have not finished the current call
  int starting_ = 0;                  // started workers that are not ready yet
  bool stopping_ = false;
  std::exception_ptr first_error_;
  int pinned_ = 0;  // not changed after construction
  int polite_ = 0;  // not changed after construction

  // Set before a call is announced, read by workers after they have seen it.
  const Task* task_ = nullptr;
  int count_ = 0;
  std::atomic<int> next_{0};         // the next index to begin
  std::atomic<bool> failed_{false};  // an index has thrown: begin no more

  std::vector<std::thread> threads_;
};

}  // namespace imagine_deblur
