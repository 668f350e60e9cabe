// Runs the same function over many indices, on however many workers there are.
#pragma once

#include <cstdint>
#include <functional>

namespace imagine_deblur {

class Executor {
 public:
  // `index` in [0, count); `worker` in [0, worker_count()). Two calls running at the same time have
  // different workers, so per-worker buffers need no lock.
  using Task = std::function<void(int index, int worker)>;

  virtual ~Executor() = default;
  virtual int worker_count() const noexcept = 0;

  // Calls `task` once for every index and returns when all calls have returned. Indices are begun
  // in increasing order unless the class says otherwise. When a call throws, indices not yet begun
  // are skipped and the first exception is rethrown here.
  virtual void parallel_for(int count, const Task& task) = 0;
};

// Everything on the calling thread, in order: one worker.
class SerialExecutor final : public Executor {
 public:
  int worker_count() const noexcept override { return 1; }
  void parallel_for(int count, const Task& task) override;
};

// For tests: one thread that pretends to be `workers`, in a random order that `seed` fixes.
class ShuffledExecutor final : public Executor {
 public:
  ShuffledExecutor(int workers, std::uint64_t seed);
  int worker_count() const noexcept override { return workers_; }
  void parallel_for(int count, const Task& task) override;

 private:
  std::uint64_t next() noexcept;  // splitmix64, the same on every platform

  int workers_;
  std::uint64_t state_;
};

}  // namespace imagine_deblur
